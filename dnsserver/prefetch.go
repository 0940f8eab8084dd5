package dnsserver

// prefetch asks for the memory that answering q will need first: the slot of
// its name.
func (v *View) prefetch(q *query) {
	touch(&v.names.slots[q.hash&v.names.mask])
}
