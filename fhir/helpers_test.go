package fhir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"testing"
	"time"
)

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// node is a JSON value with the order of its members and the digits of its
// numbers; what is equal here is equal to every reader.
type node struct {
	Key   string
	Value string // literal of a scalar, "{" or "["
	Kids  []node
}

// tree decodes independently of the code under test.
func tree(t checker, body []byte) node {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	n, err := readNode(d)
	if err != nil {
		t.Fatalf("decode: %v in %s", err, body)
	}
	if d.More() {
		t.Fatalf("more than one value in %s", body)
	}
	return n
}

func readNode(d *json.Decoder) (node, error) {
	token, err := d.Token()
	if err != nil {
		return node{}, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return node{Value: fmt.Sprintf("%T:%v", token, token)}, nil
	}
	n := node{Value: delim.String()}
	for d.More() {
		var key string
		if delim == '{' {
			k, err := d.Token()
			if err != nil {
				return n, err
			}
			key = k.(string)
		}
		kid, err := readNode(d)
		if err != nil {
			return n, err
		}
		kid.Key = key
		n.Kids = append(n.Kids, kid)
	}
	_, err = d.Token()
	return n, err
}

// child finds a member by key; nil when absent.
func (n *node) child(key string) *node {
	for i := range n.Kids {
		if n.Kids[i].Key == key {
			return &n.Kids[i]
		}
	}
	return nil
}

func (n *node) drop(keys ...string) {
	var kept []node
	for _, k := range n.Kids {
		if !contains(keys, k.Key) {
			kept = append(kept, k)
		}
	}
	n.Kids = kept
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// lines reads the Patients of an NDJSON file, byte for byte.
func lines(t testing.TB, file string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// asError fails unless err is an *Error of that kind.
func asError(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error of kind %v", err, kind)
	}
	if e.Kind != kind {
		t.Fatalf("got kind %v (%v), want %v", e.Kind, e, kind)
	}
	return e
}

func newTestClient(t *testing.T, base string, change func(*Options)) *Client {
	t.Helper()
	o := Options{BaseURL: base, Timeout: time.Minute} // on a busy machine too
	if change != nil {
		change(&o)
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.transport.CloseIdleConnections)
	return c
}

func patientJSON(id, rest string) []byte {
	if rest != "" && !strings.HasPrefix(rest, ",") {
		rest = "," + rest
	}
	return []byte(`{"resourceType":"Patient","id":"` + id + `"` + rest + `}`)
}

// everybody yields the patients of a listing one by one.
func everybody(ctx context.Context, c *Client) iter.Seq2[Resource, error] {
	return func(yield func(Resource, error) bool) {
		for page, err := range c.List(ctx, "") {
			if err != nil {
				yield(Resource{}, err)
				return
			}
			for _, change := range page.Changes {
				if !yield(change.Patient, change.Err) {
					return
				}
			}
		}
	}
}
