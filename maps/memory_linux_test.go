package maps

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"
)

// A map that nobody holds any more gives its memory back: a node that reloads
// every minute must not grow.
func TestUnreachableMapIsUnmapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "default.edmap")
	if err := WriteFile(path, encode(t, sample())); err != nil {
		t.Fatal(err)
	}
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Appendf(nil, "%x-", uintptr(unsafe.Pointer(&m.memory.Bytes()[0])))
	if !mapped(t, address) {
		t.Fatalf("no read-only mapping begins at %s", address)
	}
	runtime.KeepAlive(m)
	m = nil
	// The cleanup runs some time after a collection: ask often, not long.
	for range 10_000 {
		runtime.GC()
		if !mapped(t, address) {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("the mapping at %s is still there", address)
}

// mapped reports whether a read-only private mapping begins at an address.
func mapped(t *testing.T, address []byte) bool {
	table, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(table) {
		if bytes.HasPrefix(line, address) {
			return bytes.Contains(line, []byte(" r--p "))
		}
	}
	return false
}
