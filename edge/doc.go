// Package edge holds the nouns that every other package shares: PoP, Family
// and Verdict. They are plain comparable values with a text form and a meaning
// for the zero value. The package imports nothing of ours, so no import circle
// can form above it, and it starts no goroutine: every value is safe to share.
package edge
