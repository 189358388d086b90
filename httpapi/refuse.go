package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/resolvers"
)

const codeUnauthenticated = "UNAUTHENTICATED"

func coded(code, message string) *gqlerror.Error {
	return &gqlerror.Error{Message: message, Extensions: map[string]any{"code": code}}
}

// badInput is what the developer of a client has to mend.
func badInput(message string) *gqlerror.Error { return coded(resolvers.CodeBadUserInput, message) }

// unavailable is what passes: the same may be asked for again after so many seconds.
func unavailable(message string, seconds int) *gqlerror.Error {
	e := coded(resolvers.CodeUnavailable, message)
	e.Extensions["retryAfterSeconds"] = seconds
	return e
}

// refuse answers in the shape of GraphQL what is not carried out: in the language of the
// caller, and in the media type that is set, if one is.
func refuse(w http.ResponseWriter, r *http.Request, status int, err *gqlerror.Error) {
	if w.Header().Get("Content-Type") == "" {
		setMediaType(w, jsonType)
	}
	if seconds, ok := err.Extensions["retryAfterSeconds"].(int); ok {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	err.Message = resolvers.Say(r.Context(), err.Message)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": gqlerror.List{err}}) // the client is gone if this fails
}

// unauthenticated refuses who has no valid token.
func unauthenticated(w http.ResponseWriter, r *http.Request, message string) {
	refuse(w, r, http.StatusUnauthorized, coded(codeUnauthenticated, message))
}

// refuseMethod names the methods that there are.
func refuseMethod(w http.ResponseWriter, r *http.Request, allowed string, err *gqlerror.Error) {
	w.Header().Set("Allow", allowed)
	refuse(w, r, http.StatusMethodNotAllowed, err)
}
