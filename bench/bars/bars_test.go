package bars

import (
	"slices"
	"strings"
	"testing"
)

func TestBars(t *testing.T) {
	var bs Bars
	bs.Add("", "ms to answer", 10, 10)
	bs.Add("", "answers lost", 0, 2)
	if got, want := bs.Missed(), []string{"answers lost: 2, want at most 0"}; !slices.Equal(got, want) {
		t.Errorf("missed %q, want %q", got, want)
	}
	var b strings.Builder
	bs.WriteMarkdown(&b)
	if want := "\n| bar | limit | got | |\n|---|---:|---:|---|\n| ms to answer | 10 | 10 | met |\n| answers lost | 0 | 2 | **missed** |\n"; b.String() != want {
		t.Errorf("got %s, want %s", b.String(), want)
	}
	bs = nil
	bs.Add("B5", "queries lost", 2, 4)
	b.Reset()
	bs.WriteMarkdown(&b)
	if want := "| B5 | queries lost | 2 | 4 | **missed** |\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("got %s, want it to end with %s", b.String(), want)
	}
	if got, want := bs.Missed(), []string{"B5 queries lost: 4, want at most 2"}; !slices.Equal(got, want) {
		t.Errorf("missed %q, want %q", got, want)
	}
}
