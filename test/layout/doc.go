// Package layout holds the rules that the repository keeps about itself, as
// tests: which package may import which, which modules are used and why, that
// links in documents lead somewhere, that the commands in them exist, and that
// no file is too large or names the machine it was written on.
//
// It has no code of its own. A rule that changes is changed here first, with
// its reason, and then followed.
package layout
