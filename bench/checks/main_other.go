//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "checks: needs Linux: it pins processes to CPUs and reads /proc")
	os.Exit(1)
}
