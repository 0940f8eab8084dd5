// Package pages provides memory for large tables outside the Go heap: in huge
// pages where the system has them, so that the processor finds any word of a
// table without walking page tables, which costs as much as the word itself.
// The garbage collector neither scans nor moves this memory; it gives it back
// once the [Memory] that stands for it is unreachable.
package pages
