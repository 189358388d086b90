package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
	"patientgraph/resolvers"
)

// checkedRequest refuses what is no GraphQL request and reads the body before
// anything parses it: at most maxBody. A GET is marked as one that may only query.
func checkedRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case isWebSocket(r): // requests come in its messages
			next.ServeHTTP(w, r)
			return
		case r.Method == http.MethodGet:
			if bad := checkParameters(r.URL.Query()); bad != nil {
				bad.write(w)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), onlyQueries{}, true)))
			return
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", "GET, POST")
			writeError(w, http.StatusMethodNotAllowed, resolvers.CodeBadUserInput, "use GET or POST")
			return
		case mediaType != "application/json":
			writeError(w, http.StatusUnsupportedMediaType, resolvers.CodeBadUserInput, "send Content-Type: application/json")
			return
		}
		body, err := readBody(w, r)
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			writeError(w, http.StatusRequestEntityTooLarge, resolvers.CodeLimitExceeded, "the request is larger than 1 MiB")
			return
		case err != nil:
			writeError(w, http.StatusBadRequest, resolvers.CodeBadUserInput, "the request body did not arrive whole")
			return
		}
		if bad := checkRequest(body); bad != nil {
			bad.write(w)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// expectedBody is up to which size memory is taken before a body has arrived.
const expectedBody = 16 << 10

// readBody reads a whole body.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	size := min(max(r.ContentLength, 0), expectedBody) + bytes.MinRead
	body := bytes.NewBuffer(make([]byte, 0, size))
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	return body.Bytes(), err
}

// badRequest is what is wrong with a request.
type badRequest struct {
	code, message string
}

func (b *badRequest) write(w http.ResponseWriter) {
	writeError(w, http.StatusBadRequest, b.code, b.message)
}

// checkJSON bounds what is decoded from a part of a request.
func checkJSON[T ~string | ~[]byte](part string, text T) *badRequest {
	switch err := jsonlimit.Check(text, maxJSONDepth, maxJSONValues); {
	case errors.Is(err, jsonlimit.ErrTooDeep):
		return &badRequest{resolvers.CodeLimitExceeded, fmt.Sprintf("the JSON of the %s is more than %d deep", part, maxJSONDepth)}
	case err != nil:
		return &badRequest{resolvers.CodeLimitExceeded, fmt.Sprintf("the JSON of the %s has more than %d brackets and commas", part, maxJSONValues)}
	}
	return nil
}

// checkParameters refuses parameters of a GET that gqlgen would take apart
// without a bound.
func checkParameters(parameters url.Values) *badRequest {
	for _, name := range []string{"variables", "extensions"} {
		text := parameters.Get(name)
		if bad := checkJSON("parameter "+name, text); bad != nil {
			return bad
		}
		if text != "" && !json.Valid([]byte(text)) {
			return &badRequest{resolvers.CodeBadUserInput, "the parameter " + name + " is not JSON"}
		}
	}
	return nil
}

// members are what a GraphQL request over HTTP holds.
var members = []string{"query", "operationName", "variables", "extensions"}

// checkRequest refuses a body that gqlgen would refuse with its text in the
// answer and on stderr, or would take for another: encoding/json takes QUERY for
// query, and of a member given twice the last.
func checkRequest(body []byte) *badRequest {
	if bad := checkJSON("body", body); bad != nil {
		return bad
	}
	// A decoder, not json.Unmarshal: gqlgen leaves what follows the object unread.
	if json.NewDecoder(bytes.NewReader(body)).Decode(&graphql.RawParams{}) != nil {
		return &badRequest{resolvers.CodeBadUserInput, "the body is not a GraphQL request: a JSON object with query and, if any, variables, operationName and extensions"}
	}
	var bad *badRequest
	seen := map[string]bool{}
	gjson.ParseBytes(body).ForEach(func(key, _ gjson.Result) bool {
		for _, name := range members {
			switch {
			case !strings.EqualFold(key.Str, name):
			case key.Str != name:
				bad = &badRequest{resolvers.CodeBadUserInput, "write " + name + " in the body as it stands here: upper and lower case differ"}
			case seen[name]:
				bad = &badRequest{resolvers.CodeBadUserInput, "the body has " + name + " twice"}
			}
		}
		seen[key.Str] = slices.Contains(members, key.Str)
		return bad == nil
	})
	return bad
}

// writeError answers in the shape of GraphQL.
func writeError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{ // the client is gone if this fails
		map[string]any{"message": message, "extensions": map[string]any{"code": code}},
	}})
}
