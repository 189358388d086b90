package fhirsim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

const contentType = "application/fhir+json;charset=utf-8"

// answer is what a request gets.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func jsonAnswer(status int, body []byte) answer {
	return answer{status: status, header: http.Header{"Content-Type": {contentType}}, body: body}
}

// send writes the answer; with truncate, half of its body under the full
// Content-Length.
func (a answer) send(w http.ResponseWriter, truncate bool) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	body := a.body
	if truncate {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // the client may have gone
	if truncate {
		_ = http.NewResponseController(w).Flush() // else nothing at all would leave
		panic(http.ErrAbortHandler)               // closes the connection before the rest
	}
}

// problem is a refusal.
type problem struct {
	status   int
	hapi     string // HAPI's codes, which stand before the text in diagnostics
	code     string // issue.code; "" is processing
	text     string
	element  string // path of the element at fault
	location string // more about the place, as HAPI's line and column
	before   []issue
}

type issue struct {
	Severity    string   `json:"severity"`
	Code        string   `json:"code"`
	Details     any      `json:"details,omitempty"`
	Diagnostics string   `json:"diagnostics,omitempty"`
	Location    []string `json:"location,omitempty"`
	Expression  []string `json:"expression,omitempty"`
}

// problem answers with an OperationOutcome in the style of the server.
func (s *Server) problem(p problem) answer {
	i := issue{Severity: "error", Code: p.code}
	if i.Code == "" {
		i.Code = "processing"
	}
	if p.element != "" {
		i.Location, i.Expression = []string{p.element}, []string{p.element}
	}
	if p.location != "" {
		i.Location = append(i.Location, p.location)
	}
	switch {
	case s.habits.ErrorStyle == InDetails:
		i.Details = map[string]string{"text": p.text}
	case p.hapi != "":
		i.Diagnostics = p.hapi + ": " + p.text
	default:
		i.Diagnostics = p.text
	}
	return jsonAnswer(p.status, outcome(append(p.before, i)...))
}

func outcome(issues ...issue) []byte {
	return encode(struct {
		ResourceType string  `json:"resourceType"`
		Issue        []issue `json:"issue"`
	}{"OperationOutcome", issues})
}

// encode marshals without escaping HTML, as FHIR servers do.
func encode(v any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // our own types always encode; resources were checked when stored
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// resource answers with a version of a patient.
func (s *Server) resource(c *call, status int, id string, v *version) answer {
	a := jsonAnswer(status, v.body)
	if s.habits.Versions && !s.habits.NoETag {
		a.header.Set("ETag", etag(v))
		a.header.Set("Content-Location", versionURL(c, id, v))
	}
	a.header.Set("Last-Modified", v.at.UTC().Format(http.TimeFormat))
	return a
}

func etag(v *version) string { return `W/"` + v.id + `"` }

func versionURL(c *call, id string, v *version) string {
	return c.base + "/Patient/" + id + "/_history/" + v.id
}
