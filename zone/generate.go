package zone

import (
	"fmt"
	"strconv"
	"strings"
)

// maxGenerate is how many records one $GENERATE may make.
const maxGenerate = 65536

// generate obeys BIND's "$GENERATE first-last[/step] owner [ttl] [class] type
// data": the line is read once for each number, with the number put in for each
// "$", "${offset,width,base}" formatted, and "$$" or "\$" a dollar.
func (l *loader) generate(rest string, at position, s *scope) error {
	rest = strings.TrimLeft(rest, " \t")
	i := strings.IndexAny(rest, " \t")
	if i < 0 {
		return fmt.Errorf(`$GENERATE needs a range and a record: "$GENERATE 1-9 host-$ A 192.0.2.$"`)
	}
	span, err := parseSpan(rest[:i])
	if err != nil {
		return err
	}
	template := strings.TrimLeft(rest[i:], " \t") + "\n"
	if template[0] == '$' && strings.HasPrefix(strings.ToUpper(template), "$GENERATE") {
		return fmt.Errorf("$GENERATE within $GENERATE")
	}
	for n := span.first; n <= span.last; n += span.step {
		text, err := expand(template, n)
		if err != nil {
			return err
		}
		if !l.spend(int64(len(text))) {
			return errTooLarge
		}
		where := at
		if err := l.entry(text, &where, s); err != nil {
			return fmt.Errorf("$GENERATE at %d: %w", n, err) // the others would say the same
		}
	}
	return nil
}

// span is the range of a $GENERATE.
type span struct{ first, last, step int64 }

func parseSpan(word string) (span, error) {
	bad := fmt.Errorf("$GENERATE range %q: want first-last or first-last/step, of at most %d numbers", word, maxGenerate)
	bounds, step, hasStep := strings.Cut(word, "/")
	first, last, _ := strings.Cut(bounds, "-")
	sp := span{step: 1}
	var err1, err2, err3 error
	sp.first, err1 = strconv.ParseInt(first, 10, 32)
	sp.last, err2 = strconv.ParseInt(last, 10, 32)
	if hasStep {
		sp.step, err3 = strconv.ParseInt(step, 10, 32)
	}
	if err1 != nil || err2 != nil || err3 != nil || sp.first < 0 || sp.last < sp.first || sp.step < 1 {
		return span{}, bad
	}
	if (sp.last-sp.first)/sp.step >= maxGenerate {
		return span{}, bad
	}
	return sp, nil
}

// expand puts a number into a template.
func expand(template string, n int64) (string, error) {
	var out strings.Builder
	for i := 0; i < len(template); i++ {
		c := template[i]
		next := byte(0)
		if i+1 < len(template) {
			next = template[i+1]
		}
		switch {
		case c == '\\' && next == '$', c == '$' && next == '$':
			out.WriteByte('$')
			i++
		case c == '\\':
			out.WriteByte(c)
			if next != 0 && next != '\n' {
				out.WriteByte(next)
				i++
			}
		case c == '$' && next == '{':
			form, _, closed := strings.Cut(template[i+2:], "}")
			if !closed {
				return "", fmt.Errorf(`$GENERATE: "${" is never closed`)
			}
			text, err := format(form, n)
			if err != nil {
				return "", err
			}
			out.WriteString(text)
			i += 2 + len(form)
		case c == '$':
			out.WriteString(strconv.FormatInt(n, 10))
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), nil
}

// format gives a number in the form "offset[,width[,base]]": base d, o, x or X,
// or n or N for hexadecimal digits from the last to the first with dots between,
// as ip6.arpa names need them, where the width counts the dots too.
func format(form string, n int64) (string, error) {
	parts := strings.Split(form, ",")
	offset, err := strconv.ParseInt(parts[0], 10, 32)
	width := 0
	if err == nil && len(parts) > 1 {
		width, err = strconv.Atoi(parts[1])
	}
	base := "d"
	if len(parts) > 2 {
		base = parts[2]
	}
	if err != nil || len(parts) > 3 || width < 0 || width > 255 || n+offset < 0 {
		return "", fmt.Errorf(`$GENERATE form "${%s}": want ${offset,width,base} with width 0 to 255 and no number below 0`, form)
	}
	n += offset
	switch base {
	case "d", "o", "x", "X":
		return fmt.Sprintf("%0*"+base, width, n), nil
	case "n":
		return nibbles(n, width, "0123456789abcdef"), nil
	case "N":
		return nibbles(n, width, "0123456789ABCDEF"), nil
	}
	return "", fmt.Errorf("$GENERATE base %q: want d, o, x, X, n or N", base)
}

// nibbles writes the last digit first, for at least width octets of text.
func nibbles(n int64, width int, digits string) string {
	var out []byte
	for {
		out = append(out, digits[n&15])
		if n >>= 4; n == 0 && len(out) >= width {
			return string(out)
		}
		out = append(out, '.')
	}
}
