// Package config reads the one file that describes a node.
//
// The file is YAML and strict: an unknown key, a duplicate key, a value of the
// wrong type or out of range is an error that names the file, the line and the
// key, and all errors are reported at once ([Problems]). Values arrive as what
// they are (netip.Addr, time.Duration, [Path]), never as text to parse again.
//
// Reading goes in four steps, one file each: tree.go holds the YAML against the
// Go types of [Config] and collects what does not fit; load.go layers defaults,
// file and EDGED_ environment variables with viper, whose key delimiter is a
// control character because names have dots; validate.go and pools.go check the
// values against their ranges and against each other.
//
// The package opens no file but the configuration: whether zones parse and maps
// open is found when a view is built from the Config. A Config is read-only
// after it was loaded and safe to share.
package config
