package apptest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"time"
)

// Stream is a subscription over server-sent events, or by the multipart protocol.
type Stream struct {
	Header http.Header // of the response
	Whole  bool        // once it has ended: it did as the protocol ends what is complete

	client *Client
	lines  chan string // as of events; closed at its end
	leave  func()
}

// Subscribe begins a subscription, which ends with the test at the latest.
func (c *Client) Subscribe(subscription string) *Stream {
	c.T.Helper()
	return c.Stream(c.Request(http.MethodPost, "/graphql", Body(c.T, subscription, nil), "Accept", "text/event-stream"))
}

// SubscribeMultipart begins one as Apollo Client does.
func (c *Client) SubscribeMultipart(subscription string) *Stream {
	c.T.Helper()
	const accept = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9"
	return c.Stream(c.Request(http.MethodPost, "/graphql", Body(c.T, subscription, nil), "Accept", accept))
}

// Stream sends a request that must be answered with a stream.
func (c *Client) Stream(request *http.Request) *Stream {
	c.T.Helper()
	ctx, leave := context.WithCancel(context.Background())
	c.T.Cleanup(leave)
	response, err := http.DefaultClient.Do(request.WithContext(ctx))
	if err != nil {
		c.T.Fatal(err)
	}
	media, parameters, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	s := &Stream{Header: response.Header, client: c, lines: make(chan string, 100), leave: leave}
	read := map[string]func(){
		"text/event-stream": func() { s.readEvents(response.Body) },
		"multipart/mixed":   func() { s.readParts(multipart.NewReader(response.Body, parameters["boundary"])) },
	}[media]
	if response.StatusCode != http.StatusOK || read == nil {
		c.T.Fatalf("no stream begins: status %d, %s", response.StatusCode, media)
	}
	go func() {
		defer response.Body.Close()
		defer close(s.lines)
		read()
		_, _ = io.Copy(io.Discard, response.Body) // the test may have left
	}()
	return s
}

func (s *Stream) readEvents(body io.Reader) {
	for lines := bufio.NewScanner(body); lines.Scan(); {
		s.lines <- lines.Text()
	}
}

func (s *Stream) readParts(parts *multipart.Reader) {
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			s.lines <- "event: complete"
		}
		if err != nil {
			return
		}
		var told struct{ Payload, Errors json.RawMessage }
		if err := json.NewDecoder(part).Decode(&told); err != nil {
			s.client.T.Errorf("a part: %v", err)
			return
		}
		switch { // else a heartbeat
		case told.Errors != nil:
			s.lines <- `data: {"errors":` + string(told.Errors) + `,"payload":` + string(told.Payload) + "}"
		case told.Payload != nil:
			s.lines <- "data: " + string(told.Payload)
		}
	}
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
				s.Whole = open
				return nil, true
			}
			if text, found := strings.CutPrefix(line, "data: "); found && text != "" {
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
