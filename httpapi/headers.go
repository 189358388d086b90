package httpapi

import (
	"maps"
	"net/http"
)

// securityHeaders go with every answer. The pages have policies of their own (package
// web), for they load files. A page elsewhere may fetch what CORS_ORIGINS allows it to: what is
// same-origin here is only what it would embed without asking.
var securityHeaders = http.Header{
	"X-Content-Type-Options":       {"nosniff"},
	"Referrer-Policy":              {"no-referrer"},
	"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'"},
	"X-Frame-Options":              {"DENY"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
	"Permissions-Policy":           {"accelerometer=(), camera=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()"},
}

// secured sends the security headers. A browser that came by https is told to come by
// nothing else for a year; by plain http that would not be believed (RFC 6797 section 7.2).
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), securityHeaders) // shared by all answers: whoever sets one anew puts another slice there
		if infoOf(r.Context()).https {
			w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}
