package fhir

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"slices"
)

// errSurplus ends a connection on which came more than the answer that was
// asked for.
var errSurplus = errors.New("bytes that belong to no answer")

// maxHead bounds the copy of an answer's head; net/http gives up before
// (MaxResponseHeaderBytes), so this is only what one read may bring on top.
const maxHead = maxHeader + 64<<10

// framing follows the answers on a connection, to tell where each one ends
// (RFC 9112 section 6.3). Where it cannot tell, the answer has no end, and the
// connection is not used again.
type framing struct {
	state part
	head  []byte
	left  int64 // of a body or chunk with a length
	line  int   // bytes of the line under way in head, size or trailer
	last  byte  // the byte before
	size  []byte
}

type part int

const (
	ended       part = iota // between answers
	inHead                  // of an interim answer as well
	inBody                  // with a Content-Length
	inChunkSize             // with its extensions
	inChunk
	afterChunk // the line end behind a chunk
	inTrailer
	untilClose // or not understood
)

// begin expects an answer.
func (f *framing) begin() { *f = framing{state: inHead, head: f.head[:0], size: f.size[:0]} }

// take follows b and gives how much of it belongs to the answer.
func (f *framing) take(b []byte) int {
	for at := 0; at < len(b); {
		switch f.state {
		case ended:
			return at
		case untilClose:
			return len(b)
		case inBody, inChunk:
			n := int(min(f.left, int64(len(b)-at)))
			f.left -= int64(n)
			at += n
			if f.left > 0 {
				continue
			}
			if f.state == inBody {
				f.state = ended
			} else {
				f.next(afterChunk)
			}
		default:
			f.takeByte(b[at])
			at++
		}
	}
	return len(b)
}

func (f *framing) next(s part) {
	f.state, f.line, f.last, f.size = s, 0, 0, f.size[:0]
}

// takeByte follows what is read by lines. They end with LF, with or without CR
// before it.
func (f *framing) takeByte(c byte) {
	switch f.state {
	case inHead:
		f.head = append(f.head, c)
		if len(f.head) > maxHead {
			f.state = untilClose
			return
		}
	case inChunkSize:
		f.size = append(f.size, c)
		if len(f.size) > maxChunkLine {
			f.state = untilClose
			return
		}
	case afterChunk:
		if c != '\n' && (c != '\r' || f.line > 0) {
			f.state = untilClose
			return
		}
	}
	if c != '\n' {
		f.line, f.last = f.line+1, c
		return
	}
	empty := f.line == 0 || f.line == 1 && f.last == '\r'
	f.line, f.last = 0, 0
	switch {
	case f.state == inHead && empty:
		f.readHead()
	case f.state == inChunkSize:
		f.readChunkSize()
	case f.state == afterChunk:
		f.next(inChunkSize)
	case f.state == inTrailer && empty:
		f.state = ended
	}
}

// readHead lets net/http itself say how the body is delimited.
func (f *framing) readHead() {
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(f.head)), nil)
	f.head = f.head[:0]
	switch {
	case err != nil, res.StatusCode == http.StatusSwitchingProtocols, res.StatusCode < 100:
		f.state = untilClose
	case res.StatusCode < 200:
		f.next(inHead)
	case res.Body == http.NoBody:
		f.state = ended
	case slices.Contains(res.TransferEncoding, "chunked"):
		f.next(inChunkSize)
	case res.ContentLength > 0:
		f.state, f.left = inBody, res.ContentLength
	default:
		f.state = untilClose
	}
}

// maxChunkLine is what net/http (Go 1.26) allows as well.
const maxChunkLine = 4096

// readChunkSize takes only hexadecimal digits, and blanks behind them.
func (f *framing) readChunkSize() {
	digits, _, _ := bytes.Cut(f.size, []byte(";"))
	digits = bytes.TrimRight(digits, " \t\r\n")
	if len(digits) == 0 || len(digits) > 15 {
		f.state = untilClose
		return
	}
	var size int64
	for _, c := range digits {
		value := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
		if value < 0 || c < '0' {
			f.state = untilClose
			return
		}
		size = size<<4 | int64(value)
	}
	if size == 0 {
		f.next(inTrailer)
		return
	}
	f.next(inChunk)
	f.left = size
}
