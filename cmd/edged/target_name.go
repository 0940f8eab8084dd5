package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"edged/health"
	"edged/health/fleet"
)

// targetNames names targets for people. Those that would be called the same have
// the settings of their checks added in which they differ.
func targetNames(targets map[health.TargetID]fleet.Target) map[health.TargetID]string {
	same := map[string][]health.TargetID{}
	for id, t := range targets {
		same[t.String()] = append(same[t.String()], id)
	}
	names := make(map[health.TargetID]string, len(targets))
	for name, ids := range same {
		var checks []health.Check
		for _, id := range ids {
			checks = append(checks, targets[id].Check)
		}
		for i, words := range differences(checks) {
			names[ids[i]] = name + words
		}
	}
	return names
}

// differences returns for each check, as " key=value", the settings that are not
// the same in all of them.
func differences(checks []health.Check) []string {
	words := make([][]string, len(checks))
	t := reflect.TypeFor[health.Check]()
	for field := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(field).Tag.Get("json"), ",")
		values := make([]string, len(checks))
		for i := range checks {
			if v := reflect.ValueOf(checks[i]).Field(field); !v.IsZero() {
				values[i] = fmt.Sprintf(" %s=%v", key, v.Interface())
			}
		}
		if slices.ContainsFunc(values, func(v string) bool { return v != values[0] }) {
			for i := range checks {
				words[i] = append(words[i], values[i])
			}
		}
	}
	out := make([]string, len(checks))
	for i := range words {
		slices.Sort(words[i])
		out[i] = strings.Join(words[i], "")
	}
	return out
}
