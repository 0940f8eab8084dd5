#include "textflag.h"

// func touch(slot *nameSlot)
TEXT ·touch(SB), NOSPLIT, $0-8
	MOVD slot+0(FP), R0
	PRFM (R0), PLDL1KEEP
	RET
