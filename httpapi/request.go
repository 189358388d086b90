package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
	"patientgraph/resolvers"
)

// checkedRequest refuses what is no GraphQL request, and reads the body before anything
// parses it: at most maxBody. What is asked for is in the context from then on.
func checkedRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isWebSocket(r) { // what is asked for comes later
			next.ServeHTTP(w, r)
			return
		}
		var parameters *graphql.RawParams
		var bad *badRequest
		if r.Method == http.MethodGet {
			parameters, bad = parametersOfURL(r.URL.RawQuery)
		} else {
			parameters, bad = parametersOfBody(w, r)
		}
		if bad != nil {
			writeError(w, cmp.Or(bad.status, http.StatusBadRequest), bad.code, bad.message)
			return
		}
		next.ServeHTTP(w, r.WithContext(withParameters(r.Context(), parameters)))
	})
}

// checkContent refuses a body in a form that nobody here reads. What a page may send
// without asking first (a form, plain text) is among it.
func checkContent(w http.ResponseWriter, r *http.Request) *badRequest {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, given := parameters["charset"]
	coding := strings.Join(r.Header.Values("Content-Encoding"), ",")
	message := ""
	switch {
	case err != nil || mediaType != jsonType:
		w.Header().Set("Accept-Post", jsonType)
		message = "send Content-Type: application/json"
	case given && !isUTF8(charset):
		message = "send the body in UTF-8"
	case coding != "" && !strings.EqualFold(coding, "identity"):
		w.Header().Set("Accept-Encoding", "identity")
		message = "send the body without Content-Encoding"
	default:
		return nil
	}
	return &badRequest{http.StatusUnsupportedMediaType, resolvers.CodeBadUserInput, message}
}

// parametersOfBody reads the body of a POST.
func parametersOfBody(w http.ResponseWriter, r *http.Request) (*graphql.RawParams, *badRequest) {
	if bad := checkContent(w, r); bad != nil {
		return nil, bad
	}
	body, err := readBody(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &badRequest{http.StatusRequestEntityTooLarge, resolvers.CodeLimitExceeded, "the request is larger than 1 MiB"}
	case err != nil:
		return nil, badParameters("the request body did not arrive whole")
	}
	parameters, bad := readParameters(body)
	if bad != nil {
		return nil, bad
	}
	if nameDocument(parameters, documentID(body)) { // for gqlgen's transports, which read it themselves
		if body, err = json.Marshal(parameters); err != nil {
			return nil, badParameters(noRequest)
		}
	}
	if bad := checkQuery(parameters); bad != nil {
		return nil, bad
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return parameters, nil
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
	status        int // 0: 400
	code, message string
}

func badParameters(message string) *badRequest {
	return &badRequest{code: resolvers.CodeBadUserInput, message: message}
}

// checkJSON bounds what is decoded from a part of a request.
func checkJSON[T ~string | ~[]byte](part string, text T) *badRequest {
	switch err := jsonlimit.Check(text, maxJSONDepth, maxJSONValues); {
	case errors.Is(err, jsonlimit.ErrTooDeep):
		return &badRequest{code: resolvers.CodeLimitExceeded, message: fmt.Sprintf("the JSON of the %s is more than %d deep", part, maxJSONDepth)}
	case err != nil:
		return &badRequest{code: resolvers.CodeLimitExceeded, message: fmt.Sprintf("the JSON of the %s has more than %d brackets and commas", part, maxJSONValues)}
	}
	return nil
}

// parametersOfURL reads the query component of a GET's URL.
func parametersOfURL(rawQuery string) (*graphql.RawParams, *badRequest) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, badParameters("the parameters of the URL are not encoded as a form's are")
	}
	for _, name := range append([]string{"documentId"}, members...) {
		switch given := values[name]; {
		case len(given) > 1:
			return nil, badParameters("the URL has " + name + " twice")
		case len(given) == 1 && !utf8.ValidString(given[0]):
			return nil, badParameters("the parameter " + name + " is not UTF-8")
		}
	}
	parameters := &graphql.RawParams{Query: values.Get("query"), OperationName: values.Get("operationName")}
	for name, target := range map[string]*map[string]any{"variables": &parameters.Variables, "extensions": &parameters.Extensions} {
		text := values.Get(name)
		if text == "" {
			continue
		}
		if bad := checkJSON("parameter "+name, text); bad != nil {
			return nil, bad
		}
		if err := decode([]byte(text), target); err != nil {
			return nil, badParameters("the parameter " + name + " is no JSON object")
		}
	}
	nameDocument(parameters, values.Get("documentId"))
	return parameters, checkQuery(parameters)
}

// checkQuery refuses a request that neither has nor names a document.
func checkQuery(parameters *graphql.RawParams) *badRequest {
	if parameters.Query == "" && parameters.Extensions[persistedQuery] == nil {
		return badParameters("the request has no query: send the text of a GraphQL document as query, or name one by documentId or extensions.persistedQuery")
	}
	return nil
}

// decode reads one JSON value, and nothing after it. Numbers keep their digits.
func decode(text []byte, target any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(target); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("something follows the value")
	}
	return nil
}

// members are what a GraphQL request over HTTP holds.
var members = []string{"query", "operationName", "variables", "extensions"}

const noRequest = "the body is not a GraphQL request: a JSON object with query and, if any, variables, operationName and extensions"

// readParameters refuses a body that encoding/json would take for another: it takes QUERY
// for query, of a member given twice the last, and puts a mark where a byte is no UTF-8.
func readParameters(body []byte) (*graphql.RawParams, *badRequest) {
	if bad := checkJSON("body", body); bad != nil {
		return nil, bad
	}
	if bad := checkBody(body); bad != nil {
		return nil, bad
	}
	if !utf8.Valid(body) {
		return nil, badParameters("the body is not UTF-8")
	}
	parameters := &graphql.RawParams{}
	if decode(body, parameters) != nil {
		return nil, badParameters(noRequest)
	}
	var bad *badRequest
	seen := map[string]bool{}
	gjson.ParseBytes(body).ForEach(func(key, _ gjson.Result) bool {
		for _, name := range members {
			switch {
			case !strings.EqualFold(key.Str, name):
			case key.Str != name:
				bad = badParameters("write " + name + " in the body as it stands here: upper and lower case differ")
			case seen[name]:
				bad = badParameters("the body has " + name + " twice")
			}
		}
		seen[key.Str] = slices.Contains(members, key.Str)
		return bad == nil
	})
	return parameters, bad
}

// writeError answers in the shape of GraphQL, in the media type that is set if one is.
func writeError(w http.ResponseWriter, status int, code, message string) {
	if w.Header().Get("Content-Type") == "" {
		setMediaType(w, jsonType)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{ // the client is gone if this fails
		map[string]any{"message": message, "extensions": map[string]any{"code": code}},
	}})
}
