package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Middleware lets requests with a valid token through, with their Viewer in
// the context; for others it sets the challenge, and refuse answers 401 with the reason.
// Answer CORS preflight requests before it: they carry no token.
func (v *Verifier) Middleware(refuse func(w http.ResponseWriter, r *http.Request, reason string)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			viewer, given, reason := v.authenticate(r)
			if reason == "" {
				next.ServeHTTP(w, r.WithContext(WithViewer(r.Context(), viewer)))
				return
			}
			// RFC 6750 section 3.1: the challenge names an error only if a token was given.
			challenge := "Bearer"
			if given {
				challenge += ` error="invalid_token", error_description="` + reason + `"`
			}
			w.Header().Set("WWW-Authenticate", challenge)
			refuse(w, r, reason)
		})
	}
}

// authenticate returns whose token a request has. reason is why it has none that is
// valid, a constant without quotes.
func (v *Verifier) authenticate(r *http.Request) (viewer Viewer, given bool, reason string) {
	if len(r.Header.Values("Authorization")) > 1 {
		return Viewer{}, true, "more than one Authorization header"
	}
	token, ok := ParseBearer(r.Header.Get("Authorization"))
	if !ok {
		return Viewer{}, false, "a bearer token is required"
	}
	viewer, err := v.Verify(r.Context(), token)
	if err != nil {
		v.config.Log.InfoContext(r.Context(), "request refused", "reason", err)
		return Viewer{}, true, PublicReason(err)
	}
	return viewer, true, ""
}

// ParseBearer returns the token of an Authorization value such as
// "Bearer abc" (RFC 6750 section 2.1; the scheme in any case), as it also
// occurs in the payload of a WebSocket's connection_init.
func ParseBearer(authorization string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(authorization, " ")
	token = strings.Trim(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	return token, true
}

// PublicReason tells a client whether a new token would help, and what of it the
// issuer has to change; of a signature and the like nothing.
func PublicReason(err error) string {
	switch {
	case errors.Is(err, errExpired):
		return "the token has expired"
	case errors.Is(err, errTooLong):
		return fmt.Sprintf("the token is longer than %d bytes", maxToken)
	case errors.Is(err, errPatientClaim):
		return "the patient claim of the token is neither a text nor a list of texts"
	case errors.Is(err, errTooManyPatients):
		return fmt.Sprintf("the patient claim of the token lists more than %d patients", maxPatients)
	}
	return "the token is invalid"
}
