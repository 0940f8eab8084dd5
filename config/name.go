package config

import (
	"fmt"
	"strings"
)

// checkLabel reports why s is not a name of ours (node, PoP, pool, map): one to
// 63 of a-z, 0-9 and "-", beginning and ending with a letter or digit, so that
// it also fits a DNS label and a metric's label.
func checkLabel(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("the name is empty")
	case len(s) > 63:
		return fmt.Errorf("name %q is longer than 63 characters", s)
	case s != strings.ToLower(s):
		return fmt.Errorf("name %q must be lower case", s)
	case hasOther(s, "-"):
		return fmt.Errorf("name %q may only have a-z, 0-9 and \"-\"", s)
	case s[0] == '-' || s[len(s)-1] == '-':
		return fmt.Errorf("name %q must begin and end with a letter or digit", s)
	}
	return nil
}

// domain returns the absolute lower-case form of a domain name. It takes every
// name as absolute, with or without the final dot; "*" may only be the whole
// first label.
func domain(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "." {
		return ".", nil
	}
	if name == "" {
		return "", fmt.Errorf("the domain name is empty")
	}
	if len(name) > 253 {
		return "", fmt.Errorf("domain name %q is longer than 253 characters", s)
	}
	for i, label := range strings.Split(name, ".") {
		switch {
		case label == "":
			return "", fmt.Errorf("domain name %q has an empty label", s)
		case len(label) > 63:
			return "", fmt.Errorf("domain name %q has a label longer than 63 characters", s)
		case label == "*" && i == 0:
		case hasOther(label, "-_/"): // "/" stands in RFC 2317 names
			return "", fmt.Errorf("domain name %q may only have letters, digits, \"-\", \"_\", \"/\" and a first label \"*\"", s)
		}
	}
	return name + ".", nil
}

// hasOther reports whether s holds anything but lower-case letters, digits and extra.
func hasOther(s, extra string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte(extra, c) >= 0) {
			return true
		}
	}
	return false
}
