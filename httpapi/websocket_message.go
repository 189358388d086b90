package httpapi

import (
	"context"
	"encoding/json"

	"github.com/99designs/gqlgen/graphql"
	"github.com/coder/websocket"
	"github.com/tidwall/gjson"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/resolvers"
)

// maxOperationID bounds what each answer repeats, in bytes.
const maxOperationID = 256

// message is one to a client.
type message struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// received is a message from a client, of a type that clients send.
type received struct {
	kind, id string
	payload  gjson.Result
	params   *graphql.RawParams // of subscribe
	tooMuch  *gqlerror.Error    // the limit that it is over, which is told as the end of its operation
}

// parseMessage refuses what the protocol does not have.
func parseMessage(data []byte) (*received, *closing) {
	invalid := func(why string) (*received, *closing) {
		return nil, &closing{closeBadRequest, "Invalid message: " + why}
	}
	// Before anything that recurses.
	if bad := checkJSON("message", data); bad != nil {
		m := &received{kind: gjson.GetBytes(data, "type").String(), id: gjson.GetBytes(data, "id").String(), tooMuch: limitExceeded("%s", bad.message)}
		if m.kind != "subscribe" || m.id == "" || len(m.id) > maxOperationID {
			return invalid(bad.message)
		}
		return m, nil
	}
	if !json.Valid(data) {
		return invalid("it must be JSON")
	}
	envelope := gjson.ParseBytes(data)
	kind, id, payload := envelope.Get("type"), envelope.Get("id"), envelope.Get("payload")
	m := &received{kind: kind.Str, id: id.Str, payload: payload}
	switch {
	case !envelope.IsObject():
		return invalid("it must be a JSON object")
	case kind.Type != gjson.String:
		return invalid("its type must be a text")
	}
	switch m.kind {
	case "connection_init", "ping", "pong":
		if !isObjectOrNull(payload) {
			return invalid("the payload of " + m.kind + " must be an object")
		}
	case "subscribe", "complete":
		switch {
		case id.Type != gjson.String || m.id == "":
			return invalid(m.kind + " needs an id, a text that is not empty")
		case len(m.id) > maxOperationID:
			return invalid("the id is too long")
		case m.kind == "complete":
			return m, nil
		case !payload.IsObject():
			return invalid("the payload of subscribe must be an object")
		case payload.Get("query").Type != gjson.String:
			return invalid("the query must be a text")
		case !isTextOrNull(payload.Get("operationName")):
			return invalid("the operationName must be a text")
		case !isObjectOrNull(payload.Get("variables")), !isObjectOrNull(payload.Get("extensions")):
			return invalid("variables and extensions must be objects")
		}
		params, bad := readParameters([]byte(payload.Raw))
		switch {
		case bad != nil && bad.code == resolvers.CodeLimitExceeded:
			m.tooMuch = limitExceeded("%s", bad.message)
			return m, nil
		case bad != nil:
			return invalid(bad.message)
		}
		nameDocument(params, documentID([]byte(payload.Raw)))
		m.params = params
	default:
		return invalid("a client sends no message of this type")
	}
	return m, nil
}

func isObjectOrNull(value gjson.Result) bool { return value.Type == gjson.Null || value.IsObject() }

func isTextOrNull(value gjson.Result) bool {
	return value.Type == gjson.Null || value.Type == gjson.String
}

// send writes a message. A client that does not receive it in time is cut off.
func (s *socket) send(m message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.timing.orUsual().send)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, text)
}
