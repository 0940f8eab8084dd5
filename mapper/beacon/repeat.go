package beacon

import (
	"cmp"
	"slices"
	"sync"
)

// Repeats is what came again at another node. A page's token reports once at each
// node, for nodes do not ask each other; and a file may have been uploaded to two.
// A reading takes a session from one node: from the one where it began first, and
// of several at that second from the one whose folder's name is the first. So a
// session counts once, however many nodes it was reported to.
type Repeats struct {
	Sessions int // one that reaches over the end of an hour counts in both
	Rows     int
}

// repeatWindow is how far the reports of a session may be apart over the end of an
// hour, in seconds: tokens live for half of it.
const repeatWindow = 600

// repeated is what is known of an hour's repeats.
type repeated struct {
	once   sync.Once
	before map[uint64]began // sessions that other nodes had in the hour before; set by once, as is err
	err    error

	mu  sync.Mutex
	all Repeats // of the last whole reading; guarded by mu
}

// began says where and when a session began.
type began struct {
	at     int64 // Unix time in seconds
	folder string
}

func (a began) compare(b began) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.folder, b.folder))
}

// Repeats returns what was left out of the hours that were read to their ends.
func (s *Set) Repeats() (all Repeats) {
	for _, h := range s.Hours {
		h.repeated.mu.Lock()
		all.Sessions += h.repeated.all.Sessions
		all.Rows += h.repeated.all.Rows
		h.repeated.mu.Unlock()
	}
	return all
}

// apart reports whether the segments are of several nodes.
func apart(segments []*segment) bool {
	return slices.ContainsFunc(segments, func(seg *segment) bool { return seg.folder != segments[0].folder })
}

// once drops rows that came from another node than the first, and counts them.
type once struct {
	before map[uint64]began
	spans  []span // of the session at hand
	found  Repeats
}

// span is rows of a session that lie together, up to an end.
type span struct {
	folder string
	end    int
}

// newOnce returns what drops an hour's repeats; nil when all is of one node.
func (h *Hour) newOnce() (*once, error) {
	r := h.repeated
	if r == nil {
		return nil, nil
	}
	r.once.Do(func() { r.before, r.err = h.begunBefore() })
	if r.err != nil || len(r.before) == 0 && !apart(h.segments) {
		return nil, r.err
	}
	return &once{before: r.before}, nil
}

// begunBefore returns the sessions of the hour's first minutes that began at
// another node in the last minutes of the hour before.
func (h *Hour) begunBefore() (map[uint64]began, error) {
	i := h.index()
	if i == 0 {
		return nil, nil
	}
	last := &h.set.Hours[i-1]
	if h.Start.Sub(last.Start).Seconds() != hourLength || !apart(slices.Concat(h.segments, last.segments)) {
		return nil, nil
	}
	var early []uint64
	err := h.eachBeginning(func(id uint64, b began) {
		if b.at-h.Start.Unix() < repeatWindow {
			early = append(early, id)
		}
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(early)
	before := map[uint64]began{}
	err = last.eachBeginning(func(id uint64, b began) {
		if h.Start.Unix()-b.at > repeatWindow {
			return
		}
		if _, found := slices.BinarySearch(early, id); !found {
			return
		}
		if was, known := before[id]; !known || b.compare(was) < 0 {
			before[id] = b
		}
	})
	return before, err
}

// eachBeginning tells where and when each group of the hour's rows began.
func (h *Hour) eachBeginning(tell func(session uint64, b began)) error {
	from := h.Start.Unix()
	for _, seg := range h.segments {
		c := newCursor(seg)
		for {
			if err := c.next(); err != nil {
				return seg.bad(err)
			}
			if c.done {
				break
			}
			tell(c.group.session, began{from + c.group.first(), seg.folder})
		}
	}
	return nil
}

// note says that rows of the session at hand, up to an end, are of a folder.
func (o *once) note(folder string, end int) {
	if o != nil {
		o.spans = append(o.spans, span{folder, end})
	}
}

// drop leaves the rows of one node, and may leave none.
func (o *once) drop(session uint64, rows []Row) []Row {
	if o == nil {
		return rows
	}
	spans := o.spans
	o.spans = o.spans[:0]
	first, known := o.before[session]
	for i, from := 0, 0; i < len(spans) && !known; i++ {
		b := began{Session{Rows: rows[from:spans[i].end]}.Time(), spans[i].folder}
		if i == 0 || b.compare(first) < 0 {
			first = b
		}
		from = spans[i].end
	}
	kept, from := rows[:0], 0
	for _, s := range spans {
		if s.folder == first.folder {
			kept = append(kept, rows[from:s.end]...)
		}
		from = s.end
	}
	if n := len(rows) - len(kept); n > 0 {
		o.found.Rows += n
		o.found.Sessions++
	}
	return kept
}

// end notes what a whole reading of the hour left out.
func (h *Hour) end(o *once) {
	if o == nil {
		return
	}
	h.repeated.mu.Lock()
	h.repeated.all = o.found
	h.repeated.mu.Unlock()
}
