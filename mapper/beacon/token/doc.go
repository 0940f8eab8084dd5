// Package token makes and checks the tokens of beacon sessions.
//
// A token is one DNS label: it stands in the unique name that a page's browser
// resolves, and in the page's report. It says which session it is for, until
// when, for which client block and for which PoPs, and ends with an HMAC over all
// of that, so any node that has the keys can check it without asking another.
// docs/format/beacon-token.md draws it.
//
// Make and Parse are pure. Whether a report may use a token is for Token.Check,
// which takes the time as an argument. Used remembers what was reported, within a
// fixed memory.
package token
