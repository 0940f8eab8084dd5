// Package prefetch asks the processor to bring memory closer ahead of its use.
//
// The query path works on batches: it asks for what every packet of a batch will
// need first, and by the time it gets to a packet the memory is there. On
// processors that we have no instruction for, asking does nothing. It is safe
// for concurrent use, and changes nothing but speed.
package prefetch
