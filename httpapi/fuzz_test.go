package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/coder/websocket"
)

// FuzzBody: what is taken of a body is what encoding/json reads in it.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"query":"{ viewer { role } }"}`,
		` {"operationName":"A","query":"query A($x: Int) { viewer { role } }","variables":{"x":1e400,"y":["\ud800",null]},"extensions":{"persistedQuery":{"version":1,"sha256Hash":"h"}}}`,
		`{"documentId":"d","Query":"x"}`,
		`{"query":"a","\u0071uery":"b"}`,
		`[{"query":"{ viewer { role } }"}]`,
		"{\"query\":\"\xff\"}",
		`{"query":"x","variables":{"\u0061\ud83d\ude00":"\"\\\/\b\f\n\r\t","b" : [ ] ,"c":[-0.5E+7,0,true,false,null,{}]}, "documentId":"sha256:x","doc_id":7}`,
		`{"query":"x","variables":{"a":{"b":1,"b":2}},"extensions":null}`,
		`{"query":"x","variables":{"a":"\ud800\u0041","\ude00":"\ud83d"}}`, `{"query":"x","variables":{"a":01}}`, `{"query":7}`, `null`, `{"query":"x"} {}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if checkBody(body) != nil {
			return
		}
		taken, bad := readParameters(body)
		if bad != nil {
			return
		}
		var said graphql.RawParams
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		if err := decoder.Decode(&said); err != nil || !json.Valid(body) {
			t.Fatalf("%q is taken: %v", body, err)
		}
		if taken.Query != said.Query || taken.OperationName != said.OperationName {
			t.Errorf("%q is read as %q, operation %q", body, taken.Query, taken.OperationName)
		}
		if !reflect.DeepEqual(taken.Variables, said.Variables) {
			t.Errorf("%q: the variables are read as %#v, not as %#v", body, taken.Variables, said.Variables)
		}
	})
}

// FuzzMessage: what is taken of a message can be answered, and is what encoding/json reads
// in it.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		`{"type":"connection_init","payload":{"Authorization":"Bearer x"}}`, `{"type":"ping"}`, `{"id":"1","type":"complete"}`,
		subscribeMessage("1"), `{"id":"1","type":"subscribe","payload":{"query":""}}`, `{"type":"subscribe","id":7,"payload":[]}`,
		`{"id":"1","type":"subscribe","payload":{"query":"x","query":"y"}}`,
		`{"id":"1","type":"complete","\u0069d":"2"}`, "{\"type\":\"ping\",\"payload\":{\"x\":\"\xff\"}}", strings.Repeat("[", 100),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, bad := parseMessage(data)
		switch {
		case !utf8.Valid(data):
			if bad == nil || bad.code != websocket.StatusInvalidFramePayloadData {
				t.Errorf("%q is not UTF-8: %+v", data, bad)
			}
		case bad != nil:
			if m != nil {
				t.Errorf("%q is taken, and refused", data)
			}
		case messages[m.kind] == nil:
			t.Errorf("%q: no client sends %q", data, m.kind)
		case m.kind == "subscribe" && (m.id == "" || len(m.id) > maxOperationID || m.params == nil && m.tooMuch == nil):
			t.Errorf("%q is taken as %+v", data, m)
		case m.tooMuch == nil:
			var said map[string]any // with the last of what is there twice
			if err := json.Unmarshal(data, &said); err != nil || said["type"] != m.kind || m.id != "" && said["id"] != m.id {
				t.Errorf("%q is taken as %s %q", data, m.kind, m.id)
			}
		}
	})
}

// FuzzAccept: a header is split without loss, and nothing is taken twice.
func FuzzAccept(f *testing.F) {
	for _, seed := range []string{"", "*/*;q=0.1, text/event-stream", `application/json;x="a,b\",";q=0.5,text/*`, `x="`, "multipart/mixed;subscriptionSpec=1.0", `\`,
		`text/html;x=", application/json`, `a;x="b,c";;q=0.1,text/*;y="`, "application/json;;q=0.5; ,*/*;q=0", `x="\"`, `;"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		parts := elements(accept, ',')
		if strings.Join(parts, ",") != accept {
			t.Errorf("%q is split into %q", accept, parts)
		}
		if !strings.Contains(accept, `"`) && len(parts) != strings.Count(accept, ",")+1 {
			t.Errorf("%q is split into %q", accept, parts)
		}
		r := httptest.NewRequest(http.MethodGet, "/graphql", nil)
		r.Header["Accept"] = []string{accept}
		taken := map[string]bool{}
		for _, form := range acceptable(r) {
			if taken[form.mediaType] {
				t.Errorf("%q: %s is taken twice", accept, form.mediaType)
			}
			taken[form.mediaType] = true
		}
	})
}
