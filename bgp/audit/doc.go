// Package audit keeps a log of what changed on a node, by whom and why: one JSON
// object a line, each with a hash of its own and that of the line before. Who
// edits, removes or adds a line in it is found out by [Verify], which names the
// first line that is wrong.
//
// A line is on disk when [Log.Append] returns. What a crash leaves of a line that
// was being written is no fault of the log: it is put aside when the log is
// opened next, and an entry says so. A line that is whole and wrong is
// tampering: the log goes on in a new file, and [VerifyDir] names the line for
// as long as its file is kept, as [Log.Verify] does whenever the log was opened.
//
// What a chain without an outside anchor cannot show: that the newest lines were
// cut off at the end of a line, or the oldest once files before them were removed,
// or that somebody computed all hashes anew. Ship [Log.Head] elsewhere to have the
// end and the hashes shown.
//
// A Log is safe for concurrent use. The format is in docs/format/audit.md.
package audit
