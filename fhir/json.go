package fhir

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
)

// What JSON from outside may hold. gjson as of 1.20 recurses without a bound,
// and a list that it made takes 80 bytes a value.
const (
	maxDepth         = 100     // real Patients stay below 15
	maxPatientValues = 50_000  // real ones have some hundreds; photos are single values
	maxValues        = 400_000 // of a Bundle or CapabilityStatement; HAPI's has 43,000
)

// Why a body is refused, in words that may be passed on.
var (
	errNotUTF8     = errors.New("not valid UTF-8")
	errNotJSON     = errors.New("not one JSON value")
	errNotObject   = errors.New("not a JSON object")
	errTwice       = errors.New("a key given twice")
	errWrongType   = errors.New("another kind of resource")
	errNotAList    = errors.New("telecom or address not an array")
	errOtherID     = errors.New("another patient")
	errSubsetted   = errors.New("only a part of the resource (SUBSETTED)")
	errContentType = errors.New("another content type than JSON")
)

// parseObject parses a body that must be exactly one JSON object in UTF-8
// without repeated keys, for an edit by bytes could otherwise change one
// occurrence while the server reads the other. The body must have passed
// jsonlimit.
func parseObject(body []byte) (gjson.Result, error) {
	if !utf8.Valid(body) {
		return gjson.Result{}, errNotUTF8
	}
	if !json.Valid(body) {
		return gjson.Result{}, errNotJSON
	}
	doc := gjson.ParseBytes(body)
	if !doc.IsObject() {
		return gjson.Result{}, errNotObject
	}
	if repeatsKey(doc.Raw) {
		return doc, errTwice
	}
	return doc, nil
}

// parseBundle parses a body whose Patients are looked at one by one: one that is
// ambiguous, or not in UTF-8, spoils no other.
func parseBundle(body []byte) (gjson.Result, error) {
	if !json.Valid(body) {
		return gjson.Result{}, errNotJSON
	}
	doc := gjson.ParseBytes(body)
	switch {
	case !doc.IsObject():
		return gjson.Result{}, errNotObject
	case repeatsOwnKey(doc):
		return doc, errTwice
	}
	return doc, nil
}

// repeatsOwnKey is repeatsKey of an object alone, whatever its members hold.
func repeatsOwnKey(object gjson.Result) (twice bool) {
	keys := map[string]bool{}
	object.ForEach(func(key, _ gjson.Result) bool {
		twice = twice || keys[key.Str]
		keys[key.Str] = true
		return !twice
	})
	return twice
}

// repeatsKey reports whether an object in a valid JSON text has a key twice, in
// one pass over the text however deep it is.
func repeatsKey(text string) bool {
	var keys []string // of the objects that are open, the innermost last
	var begin []int   // where among them the keys of each open object or array begin
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			begin = append(begin, len(keys))
		case '}', ']':
			own := keys[begin[len(begin)-1]:]
			slices.Sort(own)
			if len(slices.Compact(own)) < len(own) {
				return true
			}
			keys, begin = keys[:len(keys)-len(own)], begin[:len(begin)-1]
		case '"':
			end := stringEnd(text, i)
			if strings.HasPrefix(strings.TrimLeft(text[end:], " \t\r\n"), ":") {
				keys = append(keys, gjson.Parse(text[i:end]).Str)
			}
			i = end - 1
		}
	}
	return false
}

// stringEnd is where the string ends that begins at from in a valid JSON text.
func stringEnd(text string, from int) int {
	for i := from + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// parsePatient parses a whole Patient, wherever it comes from.
func parsePatient(body []byte) (gjson.Result, error) {
	if err := jsonlimit.Check(body, maxDepth, maxPatientValues); err != nil {
		return gjson.Result{}, err
	}
	doc, err := parseObject(body)
	if err != nil {
		return doc, err
	}
	return doc, checkPatient(doc, "")
}

// checkPatient compares the id unless it is empty.
func checkPatient(doc gjson.Result, id string) error {
	if str(doc, "resourceType") != "Patient" {
		return errWrongType
	}
	if id != "" && str(doc, "id") != id {
		return errOtherID
	}
	for _, tag := range elements(member(member(doc, "meta"), "tag")) {
		// A PUT of such a body would delete what it lacks.
		if str(tag, "code") == "SUBSETTED" {
			return errSubsetted
		}
	}
	for _, key := range []string{"telecom", "address"} {
		if v := member(doc, key); v.Exists() && v.Type != gjson.Null && !v.IsArray() {
			return errNotAList
		}
	}
	return nil
}

// member finds an object's member by its exact name. gjson's path syntax is
// not used anywhere: it gives ".", "#", "@" and others a meaning of their own.
func member(object gjson.Result, name string) gjson.Result {
	var found gjson.Result
	if !object.IsObject() {
		return found
	}
	object.ForEach(func(key, value gjson.Result) bool {
		if key.Str == name {
			found = value
			return false
		}
		return true
	})
	return found
}

// str is a member's value if that is a string, else "".
func str(object gjson.Result, name string) string {
	if v := member(object, name); v.Type == gjson.String {
		return v.Str
	}
	return ""
}

// elements lists what an array holds, nulls included; nil if v is no array.
func elements(v gjson.Result) []gjson.Result {
	var list []gjson.Result
	if v.IsArray() {
		v.ForEach(func(_, value gjson.Result) bool {
			list = append(list, value)
			return true
		})
	}
	return list
}

// strs lists the strings in an array, leaving out everything else.
func strs(v gjson.Result) []string {
	var list []string
	for _, e := range elements(v) {
		if e.Type == gjson.String {
			list = append(list, e.Str)
		}
	}
	return list
}

// span is a child of an object or array as a range of bytes; for an object's
// member it begins at the key.
type span struct{ from, to int }

func children(container gjson.Result) []span {
	var list []span
	isObject := container.IsObject()
	container.ForEach(func(key, value gjson.Result) bool {
		from := value.Index
		if isObject {
			from = key.Index
		}
		list = append(list, span{from, value.Index + len(value.Raw)})
		return true
	})
	return list
}

// splice replaces a range of bytes in a copy of body.
func splice(body []byte, at span, with string) []byte {
	out := make([]byte, 0, len(body)-(at.to-at.from)+len(with))
	out = append(out, body[:at.from]...)
	out = append(out, with...)
	return append(out, body[at.to:]...)
}

// replaceValue puts raw JSON in the place of a value.
func replaceValue(body []byte, value gjson.Result, raw string) []byte {
	return splice(body, span{value.Index, value.Index + len(value.Raw)}, raw)
}

// appendChild adds an array's element or an object's member ("key":value) at
// the end.
func appendChild(body []byte, container gjson.Result, raw string) []byte {
	list := children(container)
	if len(list) == 0 {
		at := container.Index + 1
		return splice(body, span{at, at}, raw)
	}
	at := list[len(list)-1].to
	return splice(body, span{at, at}, ","+raw)
}

// removeChild takes out the i-th child and one comma beside it.
func removeChild(body []byte, container gjson.Result, i int) []byte {
	list := children(container)
	at := list[i]
	switch {
	case i > 0:
		at.from = list[i-1].to
	case len(list) > 1:
		at.to = list[1].from
	}
	return splice(body, at, "")
}

// setMember sets an object's member to raw JSON, at its place or at the end.
func setMember(body []byte, object gjson.Result, name, raw string) []byte {
	if v := member(object, name); v.Exists() {
		return replaceValue(body, v, raw)
	}
	return appendChild(body, object, quote(name)+":"+raw)
}

// removeMember takes a member out, if it is there.
func removeMember(body []byte, object gjson.Result, name string) []byte {
	i, found := 0, -1
	object.ForEach(func(key, _ gjson.Result) bool {
		if key.Str == name {
			found = i
			return false
		}
		i++
		return true
	})
	if found < 0 {
		return body
	}
	return removeChild(body, object, found)
}

func quote(s string) string { return string(gjson.AppendJSONString(nil, s)) }
