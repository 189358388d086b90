package fhirsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/uuid"
)

// What of PHP shows in OpenEMR's answers: how it writes JSON, what it takes
// for empty, and how it makes a text of anything.

// property and object are a JSON object whose members keep their order.
type property struct {
	key   string
	value any
}

type object []property

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, encode(m.key)...), ':'), encode(m.value)...)
	}
	return append(out, '}'), nil
}

// phpJSON encodes as PHP's json_encode does: every character outside ASCII by
// its number. Symfony, which OpenEMR answers through from 7.0.4 on, escapes
// slashes and what HTML knows as well.
func phpJSON(v any, symfony bool) []byte {
	var out bytes.Buffer
	for text := encode(v); len(text) > 0; {
		char, size := utf8.DecodeRune(text)
		switch {
		case char == '\\' && symfony && text[1] == '"':
			out.WriteString(`\u0022`)
			size = 2
		case char == '\\':
			out.Write(text[:2])
			size = 2
		case char == '/' && symfony:
			out.WriteString(`\/`)
		case symfony && strings.ContainsRune(`<>&'`, char):
			fmt.Fprintf(&out, `\u%04X`, char)
		case char >= utf8.RuneSelf:
			for _, unit := range utf16.Encode([]rune{char}) {
				fmt.Fprintf(&out, `\u%04x`, unit)
			}
		default:
			out.WriteRune(char)
		}
		text = text[size:]
	}
	return out.Bytes()
}

// empty is PHP's empty() for a text.
func empty(text string) bool { return text == "" || text == "0" }

// phpText is PHP's (string) of a decoded JSON value.
func phpText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "1"
		}
		return ""
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return v.String()
		}
		f, _ := v.Float64() // what does not fit is infinite, as in PHP
		return strings.ToUpper(strconv.FormatFloat(f, 'g', 14, 64))
	}
	return "Array"
}

// phpType is the name that PHP's gettype has for a decoded JSON value.
func phpType(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "double"
		}
		return "integer"
	}
	return "array"
}

// items are the values of what PHP calls an array: of a list or of an object.
func items(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case map[string]any:
		var list []any
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = append(list, v[key])
		}
		return list
	}
	return nil
}

// at is an element of an array by its key; nil where there is none.
func at(v any, key string) any {
	m, _ := v.(map[string]any)
	return m[key]
}

// nth is an element of an array by its index; nil where there is none.
func nth(v any, index int) any {
	list := items(v)
	if index >= len(list) {
		return nil
	}
	return list[index]
}

// isUUID reports whether PHP's library takes a text for a UUID.
func isUUID(text string) bool { return len(text) == 36 && uuid.Validate(text) == nil }
