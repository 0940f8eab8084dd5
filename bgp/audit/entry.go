package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Entry is one line of the log: one change, or what an operator did.
type Entry struct {
	Seq      uint64    `json:"seq"`  // counts the node's entries, from 1; given by the log
	Prev     string    `json:"prev"` // the hash of the entry before; empty for the first; given by the log
	Time     time.Time `json:"time"` // by the node's clock; zero: when it is appended
	Actor    string    `json:"actor"`
	Cause    string    `json:"cause"`
	Plan     string    `json:"plan,omitempty"` // ID
	Node     string    `json:"node,omitempty"`
	VIP      string    `json:"vip,omitempty"`
	Before   string    `json:"before,omitempty"`
	After    string    `json:"after,omitempty"`
	Evidence string    `json:"evidence,omitempty"` // what it rests on: promises, checks, what peers were sent
}

const (
	maxText = 2 << 10   // of one text of an entry, in octets; what is longer is cut
	maxLine = 128 << 10 // of a line, in octets: more than an entry can have
)

// Head says how far a log is.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"` // of the last entry
}

const (
	hashMark = `,"hash":"`
	hashEnd  = `"}`
	tailSize = len(hashMark) + 2*sha256.Size + len(hashEnd)
)

// line returns the entry as a line without its end, and its hash: the SHA-256 of
// all that stands before the hash.
func (e Entry) line() (line []byte, hash string) {
	e.Time = e.Time.UTC()
	for _, s := range []*string{&e.Actor, &e.Cause, &e.Plan, &e.Node, &e.VIP, &e.Before, &e.After, &e.Evidence} {
		*s = cut(*s)
	}
	b, err := json.Marshal(e)
	if err != nil {
		// A year beyond 9999 is all that can fail.
		e.Time = time.Time{}
		b, _ = json.Marshal(e)
	}
	b = b[:len(b)-1]
	hash = hashOf(b)
	return append(b, hashMark+hash+hashEnd...), hash
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
