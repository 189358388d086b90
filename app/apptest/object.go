package apptest

import (
	"encoding/json"
	"strings"
	"testing"
)

// Object is a JSON object.
type Object map[string]any

// At follows a path of keys; nil where it leads nowhere.
func (o Object) At(path ...string) any {
	var here any = map[string]any(o)
	for _, key := range path {
		m, ok := here.(map[string]any)
		if !ok {
			return nil
		}
		here = m[key]
	}
	return here
}

// ErrorCode is extensions.code of an answer's first error; "" when there is none.
func (o Object) ErrorCode() string {
	errors, _ := o["errors"].([]any)
	if len(errors) == 0 {
		return ""
	}
	first, _ := errors[0].(map[string]any)
	code, _ := Object(first).At("extensions", "code").(string)
	return code
}

// Want fails unless the values at these paths ("patient.phone") are equal as JSON.
func Want(t testing.TB, o Object, expected Object) {
	t.Helper()
	for path, value := range expected {
		got, wanted := JSON(t, o.At(strings.Split(path, ".")...)), JSON(t, value)
		if got != wanted {
			t.Errorf("%s is %s, want %s (in %v)", path, got, wanted, o)
		}
	}
}

// JSON returns a value as JSON.
func JSON(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// WithoutMeta returns a resource with its keys sorted and without meta; see
// DecodeWithoutMeta.
func WithoutMeta(t testing.TB, resource string) string {
	t.Helper()
	return JSON(t, DecodeWithoutMeta(t, resource))
}

// DecodeWithoutMeta returns a resource without meta, which is the server's own;
// numbers keep their digits.
func DecodeWithoutMeta(t testing.TB, resource string) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(resource))
	decoder.UseNumber()
	var decoded map[string]any
	if err := decoder.Decode(&decoded); err != nil {
		t.Fatal(err)
	}
	delete(decoded, "meta")
	return decoded
}
