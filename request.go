package main

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

// limitBody refuses what is no GraphQL request and reads the body before
// anything parses it: at most maxBody.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case r.Method == http.MethodGet:
			if name, bad := checkParameters(r.URL.Query()); bad != nil {
				bad.write(w, name)
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
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
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
			bad.write(w, "the body")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// badRequest is what is wrong with a request; its text says it of the part that it is
// written with.
type badRequest struct {
	code, text string
}

func (b *badRequest) write(w http.ResponseWriter, part string) {
	writeError(w, http.StatusBadRequest, b.code, part+" "+b.text)
}

// checkJSON bounds what is decoded from a text.
func checkJSON[T ~string | ~[]byte](text T) *badRequest {
	switch err := jsonlimit.Check(text, maxJSONDepth, maxJSONValues); {
	case errors.Is(err, jsonlimit.ErrTooDeep):
		return &badRequest{resolvers.CodeLimitExceeded, fmt.Sprintf("nests JSON more than %d deep", maxJSONDepth)}
	case err != nil:
		return &badRequest{resolvers.CodeLimitExceeded, fmt.Sprintf("holds more than %d JSON values", maxJSONValues)}
	}
	return nil
}

// checkParameters refuses parameters of a GET that gqlgen would take apart
// without a bound.
func checkParameters(parameters url.Values) (name string, bad *badRequest) {
	for _, name := range []string{"variables", "extensions"} {
		text := parameters.Get(name)
		if bad := checkJSON(text); bad != nil {
			return name, bad
		}
		if text != "" && !json.Valid([]byte(text)) {
			return name, &badRequest{resolvers.CodeBadUserInput, "is not JSON"}
		}
	}
	return "", nil
}

// members are what a GraphQL request over HTTP holds.
var members = []string{"query", "operationName", "variables", "extensions"}

// checkRequest refuses a body that gqlgen would refuse with its text in the
// answer and on stderr, or would take for another: encoding/json takes QUERY for
// query, and of a member given twice the last.
func checkRequest(body []byte) *badRequest {
	if bad := checkJSON(body); bad != nil {
		return bad
	}
	// A decoder, not json.Unmarshal: gqlgen leaves what follows the object unread.
	if json.NewDecoder(bytes.NewReader(body)).Decode(&graphql.RawParams{}) != nil {
		return &badRequest{resolvers.CodeBadUserInput, "is not a GraphQL request: a JSON object with query and, if any, variables, operationName and extensions"}
	}
	var bad *badRequest
	seen := map[string]bool{}
	gjson.ParseBytes(body).ForEach(func(key, _ gjson.Result) bool {
		for _, name := range members {
			switch {
			case !strings.EqualFold(key.Str, name):
			case key.Str != name:
				bad = &badRequest{resolvers.CodeBadUserInput, "has a member that is " + name + " but for upper and lower case"}
			case seen[name]:
				bad = &badRequest{resolvers.CodeBadUserInput, "has " + name + " twice"}
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
