package apptest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"patientgraph/auth"
)

// Client calls one running product, as an admin unless As says otherwise.
type Client struct {
	T   testing.TB
	URL string // without a path

	bearer string
}

func newClient(t testing.TB) *Client {
	return &Client{T: t, bearer: Token(t, auth.RoleAdmin, "")}
}

// As returns a client of the same product that calls with another token, or with
// none ("").
func (c *Client) As(bearer string) *Client { return &Client{c.T, c.URL, bearer} }

// Answer is what /graphql answered.
type Answer struct {
	Status int
	Size   int // of the body, in bytes
	Object
}

// GraphQLError is an answer that holds errors.
type GraphQLError struct{ Text string }

func (e GraphQLError) Error() string { return e.Text }

// Body returns the body of a GraphQL request.
func Body(t testing.TB, query string, variables Object) string {
	t.Helper()
	return JSON(t, Object{"query": query, "variables": variables})
}

// Request makes a request with the client's token; a body is said to be JSON.
// Headers are names and values in turn.
func (c *Client) Request(method, path, body string, headers ...string) *http.Request {
	c.T.Helper()
	request, err := http.NewRequest(method, c.URL+path, strings.NewReader(body))
	if err != nil {
		c.T.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if c.bearer != "" {
		request.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return request
}

// send makes a request of GraphQL. An error means that no answer came.
func (c *Client) send(request *http.Request) (Answer, error) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Status: response.StatusCode, Size: len(text)}
	if err := json.Unmarshal(text, &answer.Object); err != nil {
		return Answer{}, fmt.Errorf("status %d with a body that is no JSON object: %.200s", response.StatusCode, text)
	}
	return answer, nil
}

// Send makes a request of GraphQL and returns its answer, good or bad.
func (c *Client) Send(request *http.Request) Answer {
	c.T.Helper()
	answer, err := c.send(request)
	if err != nil {
		c.T.Fatal(err)
	}
	return answer
}

// Post sends a body to /graphql.
func (c *Client) Post(body string, headers ...string) Answer {
	c.T.Helper()
	return c.Send(c.Request(http.MethodPost, "/graphql", body, headers...))
}

// Call runs one operation and returns its data. The error is a GraphQLError, or no
// answer came.
func (c *Client) Call(query string, variables Object) (Object, error) {
	c.T.Helper()
	answer, err := c.send(c.Request(http.MethodPost, "/graphql", Body(c.T, query, variables)))
	if err != nil {
		return nil, err
	}
	data, _ := answer.Object["data"].(map[string]any)
	if answer.Status != http.StatusOK || answer.Object["errors"] != nil || data == nil {
		return nil, GraphQLError{fmt.Sprintf("status %d, errors %v", answer.Status, answer.Object["errors"])}
	}
	return data, nil
}

// Query is Call for what must succeed.
func (c *Client) Query(query string, variables Object) Object {
	c.T.Helper()
	data, err := c.Call(query, variables)
	if err != nil {
		c.T.Fatal(err)
	}
	return data
}

// Get returns the status and the body of a path.
func (c *Client) Get(path string) (int, string) {
	c.T.Helper()
	response, err := http.DefaultClient.Do(c.Request(http.MethodGet, path, ""))
	if err != nil {
		c.T.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.T.Fatal(err)
	}
	return response.StatusCode, string(body)
}
