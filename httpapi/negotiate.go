package httpapi

import (
	"cmp"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"patientgraph/resolvers"
)

// The media types of an answer.
const (
	jsonType        = "application/json"
	graphQLType     = "application/graphql-response+json"
	eventStreamType = "text/event-stream"
	multipartType   = "multipart/mixed"
)

// offered are the media types that can be asked for, the one first that is sent where
// the client has no preference (*/*).
var offered = []string{jsonType, graphQLType, eventStreamType, multipartType}

// maxAccept bounds the header, in bytes: clients send less than 200.
const maxAccept = 2 << 10

// acceptable returns what of offered a client takes, what it likes best first: by q, then
// as it stands in Accept (RFC 9110 section 12.5.1). Without that header, or with one that
// is too long to be read, it takes all.
func acceptable(r *http.Request) []string {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" || len(accept) > maxAccept {
		return offered
	}
	var types []string
	ranges := mediaRanges(accept)
	wanted := map[string]mediaRange{}
	for _, offer := range offered {
		var best *mediaRange // the most specific one decides
		for i := range ranges {
			if r := &ranges[i]; r.matches(offer) && (best == nil || r.specific() > best.specific()) {
				best = r
			}
		}
		if best != nil && best.q > 0 {
			types = append(types, offer)
			wanted[offer] = *best
		}
	}
	slices.SortStableFunc(types, func(a, b string) int {
		x, y := wanted[a], wanted[b]
		return cmp.Or(cmp.Compare(y.q, x.q), cmp.Compare(x.place, y.place))
	})
	return types
}

// mediaRange is one element of an Accept header.
type mediaRange struct {
	name  string // "application/json", "application/*", "*/*"
	q     float64
	place int
}

// mediaRanges reads an Accept header; what is none is left out.
func mediaRanges(accept string) (ranges []mediaRange) {
	for element := range strings.SplitSeq(accept, ",") {
		name, parameters, err := mime.ParseMediaType(element)
		if err != nil || !strings.Contains(name, "/") {
			continue
		}
		r := mediaRange{name, 1, len(ranges)}
		if text, given := parameters["q"]; given {
			if q, err := strconv.ParseFloat(text, 64); err == nil && q >= 0 && q <= 1 {
				r.q = q
			}
		}
		if charset, given := parameters["charset"]; given && !isUTF8(charset) {
			continue
		}
		ranges = append(ranges, r)
	}
	return ranges
}

func (r mediaRange) matches(mediaType string) bool {
	group, any := strings.CutSuffix(r.name, "/*")
	return r.name == mediaType || any && (group == "*" || strings.HasPrefix(mediaType, group+"/"))
}

// specific orders */*, application/* and application/json.
func (r mediaRange) specific() int {
	switch {
	case r.name == "*/*":
		return 0
	case strings.HasSuffix(r.name, "/*"):
		return 1
	}
	return 2
}

func isUTF8(charset string) bool {
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "utf8")
}

// singleAnswer is the media type of one JSON answer that the client likes best; "" if it
// takes none.
func singleAnswer(types []string) string {
	for _, t := range types {
		if t == jsonType || t == graphQLType {
			return t
		}
	}
	return ""
}

// negotiated settles how a request to /graphql is answered before anything may refuse
// it: whoever answers finds the Content-Type set, and Accept names no stream where the
// client likes a single answer better.
func negotiated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		types := acceptable(r)
		single := singleAnswer(types)
		setMediaType(w, cmp.Or(single, jsonType)) // also of what is refused before a stream begins
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodPost:
			w.Header().Set("Allow", "GET, POST")
			writeError(w, http.StatusMethodNotAllowed, resolvers.CodeBadUserInput, "use GET or POST")
			return
		case len(types) == 0 && !isWebSocket(r):
			notAcceptable(w)
			return
		case len(types) > 0 && types[0] == single:
			r = r.Clone(r.Context())
			r.Header.Set("Accept", single)
		}
		next.ServeHTTP(w, r)
	})
}

func setMediaType(w http.ResponseWriter, mediaType string) {
	w.Header().Set("Content-Type", mediaType+"; charset=utf-8")
}

func notAcceptable(w http.ResponseWriter) {
	writeError(w, http.StatusNotAcceptable, resolvers.CodeBadUserInput, "answers are "+graphQLType+" or "+jsonType+", those of a subscription "+eventStreamType+": name one of them in Accept")
}
