package beacon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// cursor reads the groups of one segment.
type cursor struct {
	segment *segment
	reader  *bufio.Reader
	left    uint32 // groups
	rows    uint32
	pending int // octets of the group, to discard
	group   group
	done    bool
}

func newCursor(seg *segment) *cursor {
	body := io.NewSectionReader(seg.octets, seg.body, seg.end-seg.body)
	return &cursor{segment: seg, reader: bufio.NewReaderSize(body, 64<<10), left: seg.groups}
}

// next steps to the next group, which is good until the one after.
func (c *cursor) next() error {
	if _, err := c.reader.Discard(c.pending); err != nil {
		return short(err)
	}
	c.pending = 0
	before := c.group.session
	if c.left == 0 {
		c.done = true
		if _, err := c.reader.Peek(1); err != io.EOF || c.rows != c.segment.rows {
			return fmt.Errorf("it does not hold the %d rows that it claims", c.segment.rows)
		}
		return nil
	}
	c.left--
	b, err := c.reader.Peek(groupHeader)
	if err != nil {
		return short(err)
	}
	size, err := groupSize(b)
	if err != nil {
		return err
	}
	if b, err = c.reader.Peek(size); err != nil {
		return short(err)
	}
	c.group, c.pending = parseGroup(b), size
	c.rows += uint32(b[8])
	if c.group.session < before {
		return errors.New("its sessions are out of order")
	}
	return nil
}
