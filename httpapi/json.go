package httpapi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// readJSON reads a value that is within the limits of JSON as encoding/json does, numbers as
// json.Number, in a third of the time. It refuses what readers understand each in their
// own way.
func readJSON(part string, text []byte) (any, *badRequest) {
	switch {
	case !utf8.Valid(text):
		return nil, badParameters("the " + part + " is not UTF-8")
	case !gjson.ValidBytes(text):
		return nil, badParameters("the " + part + " is no JSON")
	}
	r := jsonReader{text: text}
	value := r.value()
	switch {
	case r.twice: // some take the first, some the last
		return nil, badParameters("the " + part + " has a member twice in one object")
	case r.lone: // many put one and the same mark for each
		return nil, badParameters("the " + part + ` has an escape from \ud800 to \udfff that is no half of a pair: alone it is no character`)
	}
	return value, nil
}

// jsonReader reads JSON that is valid: what is between two values needs no look.
type jsonReader struct {
	text  []byte
	at    int
	twice bool // an object has two members of one name
	lone  bool // half of a surrogate pair was met (RFC 8259 section 8.2)
}

// next skips to the next value, or the end of a list or an object.
func (r *jsonReader) next() byte {
	for bytes.IndexByte([]byte(" \t\r\n,:"), r.text[r.at]) >= 0 {
		r.at++
	}
	return r.text[r.at]
}

func (r *jsonReader) value() any {
	switch r.next() {
	case '{':
		object := map[string]any{}
		for r.at++; r.next() != '}'; {
			name := r.string()
			_, given := object[name]
			r.twice = r.twice || given
			object[name] = r.value()
		}
		r.at++
		return object
	case '[':
		list := []any{}
		for r.at++; r.next() != ']'; {
			list = append(list, r.value())
		}
		r.at++
		return list
	case '"':
		return r.string()
	case 't':
		r.at += len("true")
		return true
	case 'f':
		r.at += len("false")
		return false
	case 'n':
		r.at += len("null")
		return nil
	}
	begin := r.at
	for r.at < len(r.text) && bytes.IndexByte([]byte("0123456789+-.eE"), r.text[r.at]) >= 0 {
		r.at++
	}
	return json.Number(r.text[begin:r.at])
}

// escaped is what stands behind a backslash, but for u.
var escaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (r *jsonReader) string() string {
	rest := r.text[r.at+1:]
	end := bytes.IndexByte(rest, '"')
	if bytes.IndexByte(rest[:end], '\\') < 0 {
		r.at += 1 + end + 1
		return string(rest[:end])
	}
	text, i := make([]byte, 0, end), 0
	for rest[i] != '"' {
		switch {
		case rest[i] != '\\':
			text = append(text, rest[i])
			i++
		case rest[i+1] != 'u':
			text = append(text, escaped[rest[i+1]])
			i += 2
		default:
			unit := codeUnit(rest[i:])
			i += 6
			if utf16.IsSurrogate(unit) {
				if unit = utf16.DecodeRune(unit, codeUnit(rest[i:])); unit == unicode.ReplacementChar {
					r.lone = true
				} else {
					i += 6
				}
			}
			text = utf8.AppendRune(text, unit)
		}
	}
	r.at += 1 + i + 1
	return string(text)
}

// codeUnit is the one of UTF-16 that an escape at the beginning of a text stands for; 0
// where there is no escape.
func codeUnit(text []byte) rune {
	if !bytes.HasPrefix(text, []byte(`\u`)) {
		return 0
	}
	var unit [2]byte
	_, _ = hex.Decode(unit[:], text[2:6]) // the text is valid
	return rune(binary.BigEndian.Uint16(unit[:]))
}

// writeJSON writes a value as encoding/json does, but for <, > and &, which stay as they
// are: no answer is HTML, and each of them would take six bytes.
func writeJSON(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}
