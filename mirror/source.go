package mirror

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"patientgraph/jsonlimit"
)

const (
	// maxDepth bounds a Bundle; what it holds of patients, fhir bounds again.
	maxDepth = 110
	// maxAhead is how far a look ahead goes to tell what a line holds.
	maxAhead = 64 << 10
	// maxWord is longer than any key or code that matters here, with its quotes.
	maxWord = 64
)

// Why what spans lines cannot be read on.
var (
	errNotJSON = errors.New("no well-formed JSON")
	errEnds    = errors.New("the file ends in it")
)

func isBroken(err error) bool {
	return errors.Is(err, errNotJSON) || errors.Is(err, errEnds) || errors.Is(err, jsonlimit.ErrTooDeep)
}

// readError is a failure of the file and not of what stands in it.
type readError struct{ error }

// Unwrap returns the cause.
func (e *readError) Unwrap() error { return e.error }

func cannotRead(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the compressed file is cut off: %w", err)
	}
	return &readError{err}
}

// source reads lines and JSON values of any length in bounded memory. Of JSON it
// looks at the structure alone: whoever uses a value parses it.
type source struct {
	r     *bufio.Reader
	line  int  // of the next byte, from 1
	fresh bool // nothing but blanks was read of that line
}

func newSource(r io.Reader) *source {
	return &source{r: bufio.NewReaderSize(r, maxAhead), line: 1, fresh: true}
}

// peek returns the next byte. Where the input ends it is io.EOF.
func (s *source) peek() (byte, error) {
	next, err := s.r.Peek(1)
	switch {
	case len(next) == 1:
		return next[0], nil
	case errors.Is(err, io.EOF):
		return 0, io.EOF
	default:
		return 0, cannotRead(err)
	}
}

// skip passes over the byte that peek returned.
func (s *source) skip(b byte) {
	_, _ = s.r.Discard(1) // it is in the buffer
	if b == '\n' {
		s.line, s.fresh = s.line+1, true
	} else if !isBlank(b) {
		s.fresh = false
	}
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' || b == '\r' || b == '\n' }

const byteOrderMark = "\ufeff"

// blanks passes over blanks, line breaks and byte order marks (files that were
// joined have several), and returns the byte that comes next.
func (s *source) blanks() (byte, error) {
	for {
		b, err := s.peek()
		if err != nil {
			return 0, err
		}
		if b == byteOrderMark[0] && s.fresh {
			if mark, _ := s.r.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
				_, _ = s.r.Discard(len(byteOrderMark))
				continue
			}
		}
		if !isBlank(b) {
			return b, nil
		}
		s.skip(b)
	}
}

// readLine reads up to a line break. Of a longer line it keeps nothing.
func (s *source) readLine(limit int) (line []byte, whole bool, err error) {
	whole = true
	for {
		part, err := s.r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			line, whole = nil, false
		}
		if whole {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil:
			s.line, s.fresh = s.line+1, true
		case !errors.Is(err, io.EOF):
			return nil, true, cannotRead(err)
		}
		return bytes.TrimSpace(line), whole, nil
	}
}

// ahead tells the resourceType of the object that comes next, as far as it can
// be seen, and whether the object leaves its line at once, as printed ones do. What
// has entries is a Bundle: its keys may be in any order.
func (s *source) ahead() (kind string, multiline bool) {
	// Most files say it in the first bytes, and to look far costs time for each line.
	for far := 256; far <= maxAhead; far *= 16 {
		head, err := s.r.Peek(far)
		after := strings.TrimLeft(string(head[1:min(len(head), maxWord)]), " \t\r")
		multiline = strings.HasPrefix(after, "\n")
		look := &source{r: bufio.NewReaderSize(bytes.NewReader(head), 16), fresh: true}
		look.skip('{')
		ended := look.members(func(key string) error {
			switch key {
			case "entry":
				kind = "Bundle"
				return errFound
			case "resourceType":
				text, _, err := look.value(maxWord)
				kind = strings.Trim(string(text), `"`)
				return errors.Join(err, errFound)
			}
			_, _, err := look.value(0)
			return err
		})
		if !errors.Is(ended, errEnds) || err != nil {
			break
		}
	}
	return kind, multiline
}

// errFound ends a look ahead.
var errFound = errors.New("found")
