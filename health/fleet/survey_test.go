package fleet

import (
	"strings"
	"testing"
)

func TestSurveyMessage(t *testing.T) {
	for _, text := range []string{"", "what", strings.Repeat("x", maxSurvey)} {
		kind, number, from, got, ok := parseSurvey(surveyMessage(kindAsk, 7, "fra1", text))
		if !ok || kind != kindAsk || number != 7 || from != "fra1" || got != text {
			t.Errorf("%q comes back as %d, %d, %q, %q, %v", text, kind, number, from, got, ok)
		}
	}
	long := surveyMessage(kindAnswer, 7, "fra1", strings.Repeat("x", 2*maxSurvey))
	if _, _, _, got, ok := parseSurvey(long); !ok || len(got) != maxSurvey {
		t.Errorf("a long text comes back with %d octets, %v", len(got), ok)
	}
	for what, b := range map[string][]byte{
		"empty":         {},
		"short":         make([]byte, 9),
		"another kind":  surveyMessage(0x22, 7, "fra1", "x"),
		"cut in a name": surveyMessage(kindAsk, 7, "fra1", "")[:12],
		"too long":      append(long, 'x'),
	} {
		if _, _, _, _, ok := parseSurvey(b); ok {
			t.Errorf("%s: taken", what)
		}
	}
}

func FuzzSurvey(f *testing.F) {
	f.Add(surveyMessage(kindAsk, 7, "fra1", "x"))
	f.Add([]byte{kindAnswer})
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, number, from, text, ok := parseSurvey(b)
		if !ok {
			return
		}
		if again := surveyMessage(kind, number, from, text); string(again) != string(b) {
			t.Errorf("%x is written back as %x", b, again)
		}
	})
}
