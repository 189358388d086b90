package httpapi

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/jsonlimit"
)

// checkedRequest refuses what is no GraphQL request, and reads the body before anything
// parses it: at most maxBody. What is asked for stands in requestInfo from then on.
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
			refuse(w, r, cmp.Or(bad.status, http.StatusBadRequest), bad.err)
			return
		}
		infoOf(r.Context()).parameters = parameters
		next.ServeHTTP(w, r)
	})
}

// checkContent refuses a body in a form that nobody here reads. What a page may send
// without asking first (a form, plain text) is among it.
func checkContent(w http.ResponseWriter, r *http.Request) *badRequest {
	contentType, coding := strings.Join(r.Header["Content-Type"], ","), strings.Join(r.Header["Content-Encoding"], ",")
	if contentType == jsonType && coding == "" { // as most are
		return nil
	}
	mediaType, parameters, err := parseMediaType(contentType)
	charset, given := parameters["charset"]
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
	return &badRequest{http.StatusUnsupportedMediaType, badInput(message)}
}

// parametersOfBody reads the body of a POST.
func parametersOfBody(w http.ResponseWriter, r *http.Request) (*graphql.RawParams, *badRequest) {
	if bad := checkContent(w, r); bad != nil {
		return nil, bad
	}
	body, err := readBody(w, r)
	var tooMuch *http.MaxBytesError
	var crowded *gqlerror.Error
	switch {
	case errors.As(err, &tooMuch):
		return nil, &badRequest{http.StatusRequestEntityTooLarge, tooLarge()}
	case errors.As(err, &crowded):
		return nil, &badRequest{http.StatusServiceUnavailable, crowded}
	case err != nil:
		return nil, badParameters("the request body did not arrive whole")
	}
	if bad := checkBody(body); bad != nil {
		return nil, bad
	}
	parameters, bad := readParameters(body)
	if bad != nil {
		return nil, bad
	}
	return parameters, checkQuery(parameters)
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
	status int // 0: 400
	err    *gqlerror.Error
}

func badParameters(message string) *badRequest { return &badRequest{err: badInput(message)} }

// checkJSON bounds what is decoded from a part of a request.
func checkJSON[T ~string | ~[]byte](part string, text T) *badRequest {
	switch err := jsonlimit.Check(text, maxJSONDepth, maxJSONValues); {
	case errors.Is(err, jsonlimit.ErrTooDeep):
		return &badRequest{err: limitExceeded("the JSON of the %s is more than %d deep", part, maxJSONDepth)}
	case err != nil:
		return &badRequest{err: limitExceeded("the JSON of the %s has more than %d brackets and commas", part, maxJSONValues)}
	}
	return nil
}

// parametersOfURL reads the query component of a GET's URL.
func parametersOfURL(rawQuery string) (*graphql.RawParams, *badRequest) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, badParameters("the parameters of the URL are not encoded as a form's are")
	}
	for _, name := range members {
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
		value, bad := readJSON("parameter "+name, []byte(text))
		if bad != nil {
			return nil, bad
		}
		given, isObject := value.(map[string]any)
		if !isObject && value != nil {
			return nil, badParameters("the parameter " + name + " is no JSON object")
		}
		*target = given
	}
	nameDocument(parameters, values.Get)
	return parameters, checkQuery(parameters)
}

// checkQuery refuses a request that neither has nor names a document.
func checkQuery(parameters *graphql.RawParams) *badRequest {
	if parameters.Query == "" && parameters.Extensions[persistedQuery] == nil {
		return badParameters("the request has no query: send the text of a GraphQL document as query, or name one by documentId or extensions.persistedQuery")
	}
	return nil
}

// members are what a GraphQL request over HTTP holds.
var members = slices.Concat([]string{"query", "operationName", "variables", "extensions"}, documentIDs)

// noRequest is what a request of another shape is told.
const noRequest = "the body is not a GraphQL request: a JSON object with query and, if any, variables, operationName and extensions"

// readParameters reads what is within the limits of JSON.
func readParameters(body []byte) (*graphql.RawParams, *badRequest) {
	value, bad := readJSON("body", body)
	if bad != nil {
		return nil, bad
	}
	request, isRequest := value.(map[string]any)
	for name := range request {
		for _, member := range members { // some readers of JSON take QUERY for query
			if name != member && strings.EqualFold(name, member) {
				return nil, badParameters("write " + member + " in the body as it stands here: upper and lower case differ")
			}
		}
	}
	parameters := &graphql.RawParams{}
	if !isRequest || !memberOf(request, "query", &parameters.Query) || !memberOf(request, "operationName", &parameters.OperationName) ||
		!memberOf(request, "variables", &parameters.Variables) || !memberOf(request, "extensions", &parameters.Extensions) {
		return nil, badParameters(noRequest)
	}
	parameters.Extensions = knownExtensions(parameters.Extensions)
	nameDocument(parameters, func(name string) string {
		id, _ := request[name].(string)
		return id
	})
	return parameters, nil
}

// memberOf reads a member that may be missing or null, and reports whether it is no other type.
func memberOf[T string | map[string]any](of map[string]any, name string, into *T) bool {
	value := of[name]
	given, ok := value.(T)
	*into = given
	return ok || value == nil
}

// knownExtensions are those that are read here: a subscription would keep the others for
// as long as it lasts.
func knownExtensions(given map[string]any) map[string]any {
	value := given[persistedQuery]
	if value == nil {
		return nil
	}
	if members, ok := value.(map[string]any); ok {
		value = map[string]any{"version": members["version"], "sha256Hash": members["sha256Hash"]}
	}
	return map[string]any{persistedQuery: value}
}
