package pages

import (
	"testing"
)

func TestMemory(t *testing.T) {
	for _, size := range []int{1, 4096, 5000, 1 << 20, 2 << 20, 2<<20 + 8, 5 << 20} {
		m := New(size)
		if size%2 == 0 {
			m.Populate()
		}
		b := m.Bytes()
		if len(b) != size || cap(b) != size {
			t.Fatalf("%d bytes of capacity %d, want %d of each", len(b), cap(b), size)
		}
		for i := range b {
			if b[i] != 0 {
				t.Fatalf("of %d bytes, byte %d is %d, want 0", size, i, b[i])
			}
			b[i] = byte(i)
		}
		if err := m.Protect(); err != nil {
			t.Fatal(err)
		}
		if last := m.Bytes()[size-1]; last != byte(size-1) {
			t.Errorf("after Protect the last byte is %d, want %d", last, byte(size-1))
		}
	}
}

func TestHeap(t *testing.T) {
	if b := heap(13); len(b) != 13 || cap(b) != 13 {
		t.Errorf("%d bytes of capacity %d, want 13 of each", len(b), cap(b))
	}
}

func TestSlice(t *testing.T) {
	m := New(32)
	copy(Slice[uint32](m, 8, 2), []uint32{1, 1})
	if got := Slice[uint64](m, 8, 1)[0]; got != 1<<32|1 {
		t.Errorf("the two numbers read as one are %#x", got)
	}
	if got := Slice[uint16](m, 32, 0); got != nil {
		t.Errorf("no numbers are %v", got)
	}
	for what, call := range map[string]func(){
		"too many":  func() { Slice[uint64](m, 8, 4) },
		"unaligned": func() { Slice[uint64](m, 4, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			call()
		}()
	}
}
