package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

// subscribe follows patients, each on a WebSocket of its own, until its input ends.
func subscribe(ctx context.Context, _ []string, in io.Reader, _ io.Writer) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	told := json.NewDecoder(in)
	var p plan
	if err := told.Decode(&p); err != nil {
		return fmt.Errorf("subscribe: read plan: %w", err)
	}
	for n := range p.Connections {
		_, authorization, _ := strings.Cut(strings.TrimSpace(p.Headers[n%len(p.Headers)]), ": ")
		conn, _, err := websocket.Dial(ctx, "ws://"+p.Address+"/graphql", &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {authorization}}, Subprotocols: []string{"graphql-transport-ws"},
		})
		if err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		for _, message := range []string{
			`{"type":"connection_init"}`,
			`{"id":"1","type":"subscribe","payload":{"query":"subscription($id: ID!) { patientChanged(id: $id) { id phone } }","variables":{"id":` + p.Values[n%len(p.Values)] + `}}}`,
		} {
			if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
				return fmt.Errorf("subscribe: %w", err)
			}
		}
		go func() { // pings are answered
			for err := error(nil); err == nil; {
				_, _, err = conn.Read(ctx)
			}
		}()
	}
	_, err := io.Copy(io.Discard, in)
	return err
}
