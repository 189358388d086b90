package fhir

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// feed gives the answer to a framing in pieces, and what it took of it.
func feed(f *framing, pieces ...[]byte) int {
	taken := 0
	for _, piece := range pieces {
		n := f.take(piece)
		taken += n
		if n < len(piece) {
			break
		}
	}
	return taken
}

func TestFramingFindsTheEnd(t *testing.T) {
	t.Parallel()
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, answer := range map[string]string{
		"length":              "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab\r\n\n",
		"LF only":             "HTTP/1.1 200 OK\nContent-Length: 2\n\nab",
		"no body":             "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"204":                 "HTTP/1.1 204 No Content\r\n\r\n",
		"204 with a length":   "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
		"304":                 "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
		"interim":             "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
		"chunks":              chunked + "2\r\nab\r\n0A\r\n0123456789\r\n0\r\n\r\n",
		"chunks, LF only":     strings.ReplaceAll(chunked, "\r", "") + "2\nab\n0\n\n",
		"extension, trailers": chunked + "2;a=\"b\" \r\n\r\n\r\n0;x\r\nA: b\r\nC: d\r\n\r\n",
		"a chunk of a line":   chunked + "2 \r\n\r\n\r\n0\r\n\r\n",
		"chunked and length":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for cut := range len(answer) {
				var f framing
				f.begin()
				if n := feed(&f, []byte(answer[:cut])); n != cut || f.state == ended {
					t.Fatalf("the first %d bytes: took %d, state %d", cut, n, f.state)
				}
				if n := feed(&f, []byte(answer[cut:]+"HTTP/1.1 404 Not Found\r\n\r\n")); cut+n != len(answer) || f.state != ended {
					t.Fatalf("cut at %d: took %d of %d, state %d", cut, cut+n, len(answer), f.state)
				}
				if f.take([]byte("x")) != 0 {
					t.Fatal("a byte behind the end is taken")
				}
			}
			var f framing // used again, a byte at a time
			for range 2 {
				f.begin()
				for i := range len(answer) {
					if f.state == ended || f.take([]byte{answer[i]}) != 1 {
						t.Fatalf("byte %d", i)
					}
				}
				if f.state != ended {
					t.Fatalf("state %d", f.state)
				}
			}
		})
	}
}

// What cannot be followed has no end, so nothing follows it on the connection.
func TestFramingThatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, answer := range map[string]string{
		"until close":       "HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.0":          "HTTP/1.0 200 OK\r\n\r\n",
		"no HTTP":           "hello\r\n\r\n",
		"an empty line":     "\r\n",
		"two lengths":       "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"101":               "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"000":               "HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n",
		"two codings":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"no size":           chunked + "\r\n",
		"a size in words":   chunked + "two\r\n",
		"a negative size":   chunked + "-1\r\n",
		"0x":                chunked + "0x2\r\n",
		"a control as size": chunked + "\x11\r\n",
		"an enormous size":  chunked + "8000000000000000\r\n",
		"a long extension":  chunked + "1;" + strings.Repeat("x", 5000),
		"a longer chunk":    chunked + "1\r\nab\r\n",
		"CR CR LF":          chunked + "1\r\na\r\r\n",
		"a long head":       "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", maxHead),
	} {
		var f framing
		f.begin()
		if n := f.take([]byte(answer + "0\r\n\r\nHTTP/1.1 204 x\r\n\r\n")); f.state != untilClose || n <= len(answer) {
			t.Errorf("%s: state %d, took %d", name, f.state, n)
		}
	}
}

// FuzzFraming compares with net/http: an answer that it reads whole and that
// the framing ends, ends at the same byte.
func FuzzFraming(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n"), 9)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\nA: b\r\n\r\nHTTP"), 50)
	f.Add([]byte("HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n1"), 1)
	f.Add([]byte("HTTP/1.1 200 x\nA: b\n c\n\n"), 20)
	f.Fuzz(func(t *testing.T, answer []byte, cut int) {
		cut = min(max(cut, 0), len(answer))
		var follow framing
		follow.begin()
		taken := feed(&follow, answer[:cut], answer[cut:])
		var whole framing
		whole.begin()
		if n := whole.take(answer); n != taken || whole.state != follow.state {
			t.Fatalf("in one piece %d, state %d; cut at %d: %d, state %d", n, whole.state, cut, taken, follow.state)
		}
		source := bytes.NewReader(answer)
		r := bufio.NewReader(source)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode < 200 || follow.state != ended {
			return
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return
		}
		if read := len(answer) - source.Len() - r.Buffered(); read != taken {
			t.Fatalf("net/http read %d bytes, the framing took %d", read, taken)
		}
	})
}
