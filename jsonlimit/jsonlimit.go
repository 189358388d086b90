// Package jsonlimit owns the look that JSON from outside is given before
// anything else reads it. Readers of JSON recurse (gjson as of 1.20 until the
// stack overflows, which ends the process), and what they build can be a hundred
// times as large as the text: so depth and number of values are bounded first,
// in linear passes that neither recurse nor allocate. It must not know what
// the JSON means, nor whether it is well-formed.
package jsonlimit

import "errors"

// Why a text is refused.
var (
	ErrTooDeep       = errors.New("nested too deeply")
	ErrTooManyValues = errors.New("too many values")
)

// Check refuses a text that nests arrays and objects deeper than depth, or that
// opens them and separates what they hold more than values times: a text that
// passes holds at most values + 1 values. A text that is no JSON may pass; what
// follows then refuses it after as little work.
func Check[T ~string | ~[]byte](text T, depth, values int) error {
	open, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString:
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
		case c == '"':
			inString = true
		case c == '[', c == '{':
			if open++; open > depth {
				return ErrTooDeep
			}
			values--
		case c == ']', c == '}':
			open--
		case c == ',':
			values--
		}
		if values < 0 {
			return ErrTooManyValues
		}
	}
	return nil
}

// Blanks counts the bytes between values that mean nothing.
func Blanks[T ~string | ~[]byte](text T) (blanks int) {
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && c <= ' ':
			blanks++
		}
	}
	return blanks
}
