package httpapi

import (
	"context"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/coder/websocket"
	"github.com/tidwall/gjson"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// maxOperationID bounds what each answer repeats, in bytes.
const maxOperationID = 256

// message is one to a client.
type message struct {
	ID      string `json:"id,omitempty"`
	Type    string `json:"type"`
	Payload any    `json:"payload,omitempty"`
}

// received is a message from a client, of a type that clients send.
type received struct {
	kind, id string
	size     int64
	payload  gjson.Result
	params   *graphql.RawParams // of subscribe
	tooMuch  *gqlerror.Error    // the limit that it is over, which is told as the end of its operation
}

// member is a part of a message.
type member struct {
	path   string
	isGood func(gjson.Result) bool
	wanted string
}

// messages are the types that clients send, with what each must hold.
var messages = map[string][]member{
	"connection_init": {{"payload", isObjectOrNull, "must be an object"}},
	"ping":            {{"payload", isObjectOrNull, "must be an object"}},
	"pong":            {{"payload", isObjectOrNull, "must be an object"}},
	"complete":        {{"id", isNotEmpty, "must be a text that is not empty"}, {"id", isShort, "is too long"}},
	"subscribe": {
		{"id", isNotEmpty, "must be a text that is not empty"}, {"id", isShort, "is too long"},
		{"payload", gjson.Result.IsObject, "must be an object"},
		{"payload.query", isTextOrNull, "must be a text"},
		{"payload.operationName", isTextOrNull, "must be a text"},
		{"payload.variables", isObjectOrNull, "must be an object"},
		{"payload.extensions", isObjectOrNull, "must be an object"},
	},
}

func isNotEmpty(value gjson.Result) bool { return value.Type == gjson.String && value.Str != "" }

func isShort(value gjson.Result) bool { return len(value.Str) <= maxOperationID }

func isObjectOrNull(value gjson.Result) bool { return value.Type == gjson.Null || value.IsObject() }

func isTextOrNull(value gjson.Result) bool {
	return value.Type == gjson.Null || value.Type == gjson.String
}

// parseMessage refuses what the protocol does not have.
func parseMessage(data []byte) (*received, *closing) {
	invalid := func(why string) (*received, *closing) {
		return nil, &closing{closeBadRequest, "Invalid message: " + why}
	}
	if !utf8.Valid(data) {
		return nil, &closing{websocket.StatusInvalidFramePayloadData, "Invalid message: it must be UTF-8"} // RFC 6455 section 8.1
	}
	envelope := gjson.ParseBytes(data)
	if twice(envelope) != "" {
		return invalid("it has a member twice")
	}
	// Before anything that recurses.
	if bad := checkJSON("message", data); bad != nil {
		m := &received{kind: envelope.Get("type").String(), id: envelope.Get("id").String(), tooMuch: bad.err}
		if m.kind != "subscribe" || m.id == "" || len(m.id) > maxOperationID {
			return invalid(bad.err.Message)
		}
		return m, nil
	}
	if !json.Valid(data) {
		return invalid("it must be JSON")
	}
	kind := envelope.Get("type")
	members, known := messages[kind.Str]
	switch {
	case !envelope.IsObject():
		return invalid("it must be a JSON object")
	case kind.Type != gjson.String || !known:
		return invalid("a client sends no message of this type")
	}
	if strings.ContainsRune(envelope.Get("id").Str, unicode.ReplacementChar) { // as half a surrogate pair is read: two ids would be one
		return invalid("id must be characters")
	}
	for _, member := range members {
		if !member.isGood(envelope.Get(member.path)) {
			return invalid(member.path + " " + member.wanted)
		}
	}
	m := &received{size: int64(len(data)), kind: kind.Str, id: envelope.Get("id").Str, payload: envelope.Get("payload")}
	if m.kind == "subscribe" {
		var bad *badRequest
		if m.params, bad = readParameters([]byte(m.payload.Raw)); bad == nil && !m.payload.Get("query").Exists() {
			bad = checkQuery(m.params) // an empty one ends its operation alone
		}
		if bad != nil {
			return invalid(bad.err.Message)
		}
	}
	return m, nil
}

// twice is a member that a JSON object has more than once; "" if there is none. Some
// readers of JSON take the first of them, others the last.
func twice(object gjson.Result) (name string) {
	seen := map[string]bool{}
	object.ForEach(func(key, _ gjson.Result) bool {
		if seen[key.Str] {
			name = key.Str
		}
		seen[key.Str] = true
		return name == ""
	})
	return name
}

// send writes a message. A client that does not receive it in time is cut off.
func (s *socket) send(m message) error {
	text, err := writeJSON(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timing.send)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, text)
}
