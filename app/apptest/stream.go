package apptest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// Stream is a subscription over server-sent events.
type Stream struct {
	client *Client
	lines  chan string // closed at its end
	leave  func()
}

// Subscribe begins a subscription, which ends with the test at the latest.
func (c *Client) Subscribe(subscription string) *Stream {
	c.T.Helper()
	ctx, leave := context.WithCancel(context.Background())
	c.T.Cleanup(leave)
	request := c.Request(http.MethodPost, "/graphql", Body(c.T, subscription, nil), "Accept", "text/event-stream")
	response, err := http.DefaultClient.Do(request.WithContext(ctx))
	if err != nil {
		c.T.Fatal(err)
	}
	if media := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || media != "text/event-stream" {
		c.T.Fatalf("no stream begins: status %d, %s", response.StatusCode, media)
	}
	s := &Stream{client: c, lines: make(chan string, 100), leave: leave}
	go func() {
		defer response.Body.Close()
		defer close(s.lines)
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			s.lines <- lines.Text()
		}
		_, _ = io.Copy(io.Discard, response.Body) // the test may have left
	}()
	return s
}

// Settlement subscribes to how an update ends.
func (c *Client) Settlement(operationID any) *Stream {
	c.T.Helper()
	return c.Subscribe(`subscription { contactUpdateSettled(operationId: ` + JSON(c.T, operationID) + `) { state patientId } }`)
}

// Leave hangs up.
func (s *Stream) Leave() { s.leave() }

// Next returns the next event. ended: there was none before the end. After two minutes
// without either it fails the test without ending it: streams may be read in
// goroutines of their own.
func (s *Stream) Next() (event Object, ended bool) {
	s.client.T.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		select {
		case line, open := <-s.lines:
			if !open || line == "event: complete" {
				return nil, true
			}
			if text, found := strings.CutPrefix(line, "data: "); found {
				if err := json.Unmarshal([]byte(text), &event); err != nil {
					s.client.T.Error(err)
				}
				return event, false
			}
		case <-timeout:
			s.client.T.Error("the stream neither ends nor says anything")
			return nil, true
		}
	}
}
