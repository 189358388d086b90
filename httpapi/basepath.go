package httpapi

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

// ParseBasePath reads BASE_PATH and returns it without a slash at its end: "" is the root.
func ParseBasePath(text string) (string, error) {
	base := strings.TrimSuffix(text, "/")
	segments := strings.Split(base, "/")
	if base != "" && !plainPath.MatchString(base) || slices.Contains(segments, ".") || slices.Contains(segments, "..") {
		return "", fmt.Errorf("must be a path such as /apps/records: / first, then letters, digits and -._~ between single slashes, no . or .., no query; not %q", text)
	}
	return base, nil
}

// below serves all of next below a path, and nothing elsewhere. The path itself leads to
// the page at its root: by a path alone, for a proxy may have another scheme and host.
func below(base string, next http.Handler) http.Handler {
	if base == "" {
		return next
	}
	mux := http.NewServeMux()
	mux.HandleFunc(base+"/", func(w http.ResponseWriter, r *http.Request) {
		http.StripPrefix(base, http.HandlerFunc(func(w http.ResponseWriter, inner *http.Request) {
			defer func() { r.Pattern = inner.Pattern }() // what the log says
			next.ServeHTTP(w, inner)
		})).ServeHTTP(w, r)
	})
	return mux
}
