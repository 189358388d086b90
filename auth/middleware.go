package auth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Middleware lets requests with a valid token through, with their Viewer in
// the context; to others it answers 401 with a GraphQL-shaped body. Answer
// CORS preflight requests before it: they carry no token.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values := r.Header.Values("Authorization")
		if len(values) > 1 {
			unauthenticated(w, true, "more than one Authorization header")
			return
		}
		token, ok := ParseBearer(r.Header.Get("Authorization"))
		if !ok {
			unauthenticated(w, false, "a bearer token is required")
			return
		}
		viewer, err := v.Verify(r.Context(), token)
		if err != nil {
			v.config.Log.InfoContext(r.Context(), "request refused", "reason", err)
			unauthenticated(w, true, PublicReason(err))
			return
		}
		next.ServeHTTP(w, r.WithContext(WithViewer(r.Context(), viewer)))
	})
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

// unauthenticated writes a 401. RFC 6750 section 3.1: the challenge names an
// error only if a token was given. message is a constant without quotes.
func unauthenticated(w http.ResponseWriter, given bool, message string) {
	challenge := "Bearer"
	if given {
		challenge += ` error="invalid_token", error_description="` + message + `"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	if w.Header().Get("Content-Type") == "" { // else the client has asked for another form of JSON
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusUnauthorized)
	// A failed write means that the client has gone: there is nobody to tell.
	_, _ = io.WriteString(w, `{"errors":[{"message":"`+message+`","extensions":{"code":"UNAUTHENTICATED"}}]}`+"\n")
}
