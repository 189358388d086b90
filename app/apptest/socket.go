package apptest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Socket is a WebSocket to the product.
type Socket struct {
	client *Client
	conn   *websocket.Conn
	Pings  int // those among the messages that were read
	closed error
}

// Dial opens a WebSocket; the token is sent by Init, or with a header that is given here.
// Headers are names and values in turn.
func (c *Client) Dial(subprotocol string, headers ...string) (*Socket, *http.Response, error) {
	c.T.Helper()
	options := &websocket.DialOptions{HTTPHeader: http.Header{}}
	if subprotocol != "" {
		options.Subprotocols = []string{subprotocol}
	}
	for i := 0; i < len(headers); i += 2 {
		options.HTTPHeader.Set(headers[i], headers[i+1])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, response, err := websocket.Dial(ctx, strings.Replace(c.URL, "http", "ws", 1)+"/graphql", options)
	if err != nil {
		return nil, response, err
	}
	conn.SetReadLimit(32 << 20)
	c.T.Cleanup(func() { _ = conn.CloseNow() })
	return &Socket{client: c, conn: conn}, response, nil
}

// Socket opens a WebSocket with the client's token, as graphql-ws does.
func (c *Client) Socket() *Socket {
	c.T.Helper()
	s, _, err := c.Dial("graphql-transport-ws")
	if err != nil {
		c.T.Fatal(err)
	}
	s.Send(Object{"type": "connection_init", "payload": Object{"Authorization": "Bearer " + c.bearer}})
	if ack := s.Next(); ack["type"] != "connection_ack" {
		c.T.Fatalf("after connection_init came %v", ack)
	}
	return s
}

// SendText sends what may be no message.
func (s *Socket) SendText(text string) { s.write(websocket.MessageText, text) }

// SendBinary sends a binary message.
func (s *Socket) SendBinary(text string) { s.write(websocket.MessageBinary, text) }

// Send sends a message.
func (s *Socket) Send(message Object) { s.SendText(JSON(s.client.T, message)) }

func (s *Socket) write(kind websocket.MessageType, text string) {
	s.client.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.conn.Write(ctx, kind, []byte(text)); err != nil {
		s.client.T.Errorf("write to a WebSocket: %v", err)
	}
}

// Subscribe begins an operation.
func (s *Socket) Subscribe(id, query string, variables Object) {
	s.client.T.Helper()
	s.Send(Object{"id": id, "type": "subscribe", "payload": Object{"query": query, "variables": variables}})
}

// Next is the next message but for pings; nil: the socket was closed.
func (s *Socket) Next() Object {
	s.client.T.Helper()
	message, _ := s.next()
	return message
}

// Closed waits for the end of the socket, whatever comes before, and returns how it was
// closed; 0: it was not, but cut off.
func (s *Socket) Closed() (code int, reason string) {
	s.client.T.Helper()
	for {
		if message, err := s.next(); message == nil {
			var closed websocket.CloseError
			errors.As(err, &closed)
			return int(closed.Code), closed.Reason
		}
	}
}

func (s *Socket) next() (message Object, err error) {
	s.client.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for s.closed == nil {
		_, text, err := s.conn.Read(ctx)
		if s.closed = err; err != nil {
			if ctx.Err() != nil {
				s.client.T.Error("the WebSocket neither ends nor says anything")
			}
			break
		}
		message = nil
		if err := json.Unmarshal(text, &message); err != nil {
			s.client.T.Errorf("%v: %.200s", err, text)
		}
		if message["type"] != "ping" {
			return message, nil
		}
		s.Pings++
	}
	return nil, s.closed
}

// Leave hangs up as clients do.
func (s *Socket) Leave() { _ = s.conn.Close(websocket.StatusNormalClosure, "") }
