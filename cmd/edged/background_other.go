//go:build !linux

package main

// inBackground runs f: on this system, like anything else.
func inBackground(f func()) { f() }

// standBack does nothing here.
func standBack() {}
