package mirror

import (
	"errors"
	"io"
	"strings"

	"patientgraph/jsonlimit"
)

// inside turns the end of the input within a value into an error.
func inside(b byte, err error) (byte, error) {
	if errors.Is(err, io.EOF) {
		return 0, errEnds
	}
	return b, err
}

// members reads the object whose brace was read, up to its end. For each key
// the function has to read the value.
func (s *source) members(each func(key string) error) error {
	for first := true; ; first = false {
		b, err := inside(s.blanks())
		switch {
		case err != nil:
			return err
		case b == '}':
			s.skip(b)
			return nil
		case !first && b != ',':
			return errNotJSON
		case !first:
			s.skip(b)
		}
		if b, err = inside(s.blanks()); err != nil || b != '"' {
			return notJSONUnless(err)
		}
		key, _, err := s.value(maxWord)
		if err != nil {
			return err
		}
		if b, err = inside(s.blanks()); err != nil || b != ':' {
			return notJSONUnless(err)
		}
		s.skip(b)
		if err := each(strings.Trim(string(key), `"`)); err != nil {
			return err
		}
	}
}

func notJSONUnless(err error) error {
	if err != nil {
		return err
	}
	return errNotJSON
}

// A token of JSON: one of {}[],: or the first byte of a string or another scalar.
const (
	stringToken = '"'
	scalarToken = 'a'
)

// value reads a JSON value and keeps it, without blanks, unless it is longer
// than the limit. What breaks the structure ends it there: a line that was cut off
// does not swallow the ones after it.
func (s *source) value(limit int) (text []byte, whole bool, err error) {
	kept := capped{limit: limit}
	var open []byte // brackets, the innermost last
	last := byte(':')
	for {
		b, err := inside(s.blanks())
		if err != nil {
			return nil, false, err
		}
		top := byte(0)
		if len(open) > 0 {
			top = open[len(open)-1]
		}
		token := tokenOf(b)
		if !follows(last, token, top) {
			return nil, false, errNotJSON
		}
		switch token {
		case '{', '[':
			if open = append(open, b); len(open) > maxDepth {
				return nil, false, jsonlimit.ErrTooDeep
			}
		case '}', ']':
			open = open[:len(open)-1]
		}
		switch token {
		case stringToken:
			err = s.quoted(&kept)
		case scalarToken:
			err = s.scalar(&kept)
		default:
			s.skip(b)
			kept.add(b)
		}
		if err != nil {
			return nil, false, err
		}
		if len(open) == 0 {
			return kept.text, !kept.over, nil
		}
		last = token
	}
}

// capped is a text with a limit: of one that is longer nothing is kept.
type capped struct {
	text  []byte
	limit int
	over  bool
}

func (c *capped) add(b byte) {
	if c.over = c.over || len(c.text) == c.limit; c.over {
		c.text = nil
		return
	}
	c.text = append(c.text, b)
}

func tokenOf(b byte) byte {
	if strings.IndexByte("{}[],:", b) >= 0 || b == stringToken {
		return b
	}
	return scalarToken
}

// follows reports whether a token may come after another one, in an object ({)
// or in an array ([).
func follows(last, token, top byte) bool {
	afterValue := strings.IndexByte(`}]"a`, last) >= 0
	switch token {
	case '}':
		return top == '{' && (afterValue || last == '{')
	case ']':
		return top == '[' && (afterValue || last == '[')
	case ',':
		return afterValue && top != 0
	case ':':
		return last == stringToken && top == '{'
	case stringToken:
		return !afterValue
	default:
		return last == ':' || top == '[' && !afterValue
	}
}

// quoted reads a string. JSON has no line break in one.
func (s *source) quoted(kept *capped) error {
	escaped := false
	for n := 0; ; n++ {
		b, err := inside(s.peek())
		if err != nil {
			return err
		}
		if b == '\n' {
			return errNotJSON
		}
		s.skip(b)
		kept.add(b)
		switch {
		case escaped:
			escaped = false
		case b == '\\':
			escaped = true
		case b == '"' && n > 0:
			return nil
		}
	}
}

// scalar reads a number or a word, which ends where something else begins.
func (s *source) scalar(kept *capped) error {
	for {
		b, err := inside(s.peek())
		if err != nil {
			return err
		}
		if isBlank(b) || tokenOf(b) != scalarToken {
			return nil
		}
		s.skip(b)
		kept.add(b)
	}
}
