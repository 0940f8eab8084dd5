#include "textflag.h"

// func touch(slot *nameSlot)
TEXT ·touch(SB), NOSPLIT, $0-8
	MOVQ slot+0(FP), AX
	PREFETCHT0 (AX)
	RET
