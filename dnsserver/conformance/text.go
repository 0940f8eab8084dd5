package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteText writes the report as a table for a person, one check a line, and a
// line of sums.
func (r *Report) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "%s, name %s, zone %s\n\n", r.Server, r.Name, r.Zone)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "VERDICT\tCHECK\tREFERENCE\tWHAT\tEVIDENCE")
	for _, res := range r.Results {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", res.Verdict, res.ID, res.Ref, res.What, res.Evidence)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d passed, %d failed, %d warned, %d skipped\n", r.Counts[Pass], r.Counts[Fail], r.Counts[Warn], r.Counts[Skip])
	return err
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
