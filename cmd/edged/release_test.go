package main

import (
	"context"
	"io"
	"runtime"
	"testing"
	"time"
	"weak"
)

// TestReloadLetsGoOfTheMapOfTheStart holds that nothing keeps a map that is not
// served any more: maps are most of a node's memory.
func TestReloadLetsGoOfTheMapOfTheStart(t *testing.T) {
	d := newNodeDir(t)
	n, err := startNode(d.file("edged.yaml"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer n.stop()
	before := weak.Make(n.serving().maps["default"])
	d.write("default.edmap", string(testMap(t, testPoPs, 1)))
	if r := n.Reload(context.Background()); !r.Applied {
		t.Fatal(r.Errors)
	}
	// Workers let go of the old view when they next look.
	for end := time.Now().Add(20 * time.Second); before.Value() != nil; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("the map of the start is still held")
		}
	}
}
