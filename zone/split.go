package zone

import "errors"

// splitter cuts the text of a master file into entries (RFC 1035 §5.1): a line,
// or several within parentheses. It knows just enough for that: quotes, escapes,
// parentheses and comments.
type splitter struct {
	text string
	line int // of the first octet of text
}

var (
	errOpenQuote = errors.New(`quote is not closed on its line`)
	errOpenParen = errors.New(`"(" is never closed`)
	errNoParen   = errors.New(`")" without "("`)
)

// next returns the next entry that is not blank, with its line break, and the
// line that it begins on; "" at the end. After an error it goes on at the next
// line, or with nothing after a "(" that is never closed.
func (s *splitter) next() (entry string, line int, err error) {
	for s.text != "" {
		start := s.line
		n, blank, err := s.measure()
		entry, s.text = s.text[:n], s.text[n:]
		if err != nil {
			return "", start, err
		}
		if !blank {
			if entry[len(entry)-1] != '\n' {
				entry += "\n" // the end of the file ends the last line
			}
			return entry, start, nil
		}
	}
	return "", s.line, nil
}

// measure finds the length of the entry at the start of the text and whether it
// says nothing, and counts its lines.
func (s *splitter) measure() (n int, blank bool, err error) {
	depth, quote, comment := 0, false, false
	blank = true
	for i := 0; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '\n':
			s.line++
			if quote && err == nil {
				err = errOpenQuote
			}
			comment, quote = false, false
			if depth == 0 || err != nil {
				return i + 1, blank, err
			}
		case comment, c == ' ', c == '\t', c == '\r':
		case c == '\\':
			blank = false
			if i+1 < len(s.text) && s.text[i+1] != '\n' {
				i++
			}
		case c == '"':
			blank, quote = false, !quote
		case quote:
		case c == ';':
			comment = true
		case c == '(':
			blank = false
			depth++
		case c == ')':
			if depth--; depth < 0 {
				err, depth = errNoParen, 0
			}
		default:
			blank = false
		}
	}
	switch {
	case quote && err == nil:
		err = errOpenQuote
	case depth > 0 && err == nil:
		err = errOpenParen
	}
	return len(s.text), blank, err
}
