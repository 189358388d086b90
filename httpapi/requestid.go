package httpapi

import (
	"context"
	"net/http"
	"regexp"

	"github.com/google/uuid"
)

const requestIDHeader = "X-Request-Id"

// plainRequestID is what is taken over from a caller or a proxy: it goes into the log,
// and to the FHIR server.
var plainRequestID = regexp.MustCompile(`^[A-Za-z0-9._~+/=:-]{1,128}$`)

// requestID is the id that a request came with, or a new one.
func requestID(r *http.Request) string {
	if given := r.Header.Values(requestIDHeader); len(given) == 1 && plainRequestID.MatchString(given[0]) {
		return given[0]
	}
	return uuid.NewString()
}

// RequestID is the id of the request that something is done for; "": it is done for none.
func RequestID(ctx context.Context) string {
	return infoOf(ctx).id
}
