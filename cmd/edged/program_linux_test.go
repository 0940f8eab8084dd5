package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-010ea000 r-xp 00000000 fe:00 12 /usr/bin/edged
Size:              13224 kB
Anonymous:             0 kB
010ea000-01ed2000 r--p 00cea000 fe:00 12 /usr/bin/edged
Anonymous:             4 kB
01ed2000-02078000 rw-p 01ad2000 fe:00 12 /usr/bin/edged
Anonymous:             0 kB
02078000-02079000 r--p 01ad2000 fe:00 12 /usr/bin/edged
Anonymous:             0 kB
7fcd3a200000-7fcd3aa00000 r--p 00000000 00:00 0 
Anonymous:             0 kB
7fcd3b200000-7fcd3ba00000 r--p 00000000 fe:00 13 /usr/lib/locale
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0x10ea000}, {0x2078000, 0x2079000}}
	if got := cleanMappings(strings.NewReader(smaps), "/usr/bin/edged"); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if got := cleanMappings(strings.NewReader("garbage-z r-xp 0 0 0 /usr/bin/edged\nAnonymous: 0 kB\nAnonymous:"), "/usr/bin/edged"); len(got) != 0 {
		t.Errorf("got %x of what is no list", got)
	}
}

// What this program needs of itself it has again afterwards.
func TestUnmapProgram(t *testing.T) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(cleanMappings(f, exe)) == 0 {
		t.Errorf("nothing of %q is found in /proc/self/smaps", exe)
	}
	unmapProgram()
	TestCleanMappings(t)
}
