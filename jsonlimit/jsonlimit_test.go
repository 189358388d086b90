package jsonlimit

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		`{"a":[{}]}`:                   nil,
		`[[[[]]]]`:                     ErrTooDeep,
		`{"a":{"b":{"c":{}}}}`:         ErrTooDeep,
		strings.Repeat("[", 8<<20):     ErrTooDeep,
		`["[[[[[[[","\"[[[[","\\"]`:    nil,
		`["\\",[[[[]]]]]`:              ErrTooDeep,
		`]]]][[[[[[[`:                  nil, // no JSON: it is refused elsewhere
		`[` + strings.Repeat("1,", 99): ErrTooManyValues,
		strings.Repeat("[],", 99):      ErrTooManyValues,
		`"`:                            nil,
		``:                             nil,
	} {
		if err := Check(text, 3, 20); !errors.Is(err, want) {
			t.Errorf("%.30s: %v, want %v", text, err, want)
		}
	}
}

func TestBlanksStandOutsideOfTexts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		``: 0, `{"a b":"c d"}`: 0, " { \"a\" :\n\t1\r} ": 7, `"\" "`: 0, `"\\" `: 1, `" `: 0, `"\`: 0,
	} {
		if got := Blanks(text); got != want {
			t.Errorf("%q: %d blanks, want %d", text, got, want)
		}
	}
}

// TestCheckBoundsEveryDocument holds the depth and the number of values against
// a reader that builds them.
func TestCheckBoundsEveryDocument(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		depth, values := 0, 0
		document := value(t, 0, &depth, &values)
		text, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(text, depth, 2*values); err != nil { // each value at most opens and follows a comma
			t.Errorf("%s with depth %d and %d values: %v", text, depth, values, err)
		}
		if depth > 0 && !errors.Is(Check(text, depth-1, 2*values), ErrTooDeep) {
			t.Errorf("%s passes for depth %d", text, depth-1)
		}
		if values > 2 && !errors.Is(Check(text, depth, values-2), ErrTooManyValues) {
			t.Errorf("%s passes for %d values", text, values-1)
		}
	})
}

// value draws a JSON value and counts what it nests and holds.
func value(t *rapid.T, at int, depth, values *int) any {
	*values++
	kind := rapid.IntRange(0, 2).Draw(t, "kind")
	if kind == 0 || at == 6 {
		return rapid.String().Draw(t, "text")
	}
	*depth = max(*depth, at+1)
	n := rapid.IntRange(0, 4).Draw(t, "size")
	if kind == 1 {
		list := []any{}
		for range n {
			list = append(list, value(t, at+1, depth, values))
		}
		return list
	}
	object := map[string]any{}
	for i := range n {
		object[strconv.Itoa(i)+rapid.String().Draw(t, "key")] = value(t, at+1, depth, values)
	}
	return object
}
