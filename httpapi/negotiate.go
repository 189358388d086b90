package httpapi

import (
	"cmp"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The media types of one answer in JSON.
const (
	jsonType    = "application/json"
	graphQLType = "application/graphql-response+json"
)

// form is how a client can have its answers.
type form struct {
	mediaType string
	stream    *framing // nil: one answer, in JSON
}

// forms can be asked for, the one first that is sent where the client has no preference
// (*/*).
var forms = []form{{jsonType, nil}, {graphQLType, nil}, {sse.mediaType, &sse}, {multipartMixed.mediaType, &multipartMixed}}

// maxAccept bounds the header, in bytes: clients send less than 200.
const maxAccept = 2 << 10

// acceptable returns which forms a client takes, what it likes best first: by q, then
// as it stands in Accept (RFC 9110 section 12.5.1). Without that header, or with one that
// is too long to be read, it takes all.
func acceptable(r *http.Request) []form {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" || len(accept) > maxAccept {
		return forms
	}
	var taken []form
	ranges := mediaRanges(accept)
	wanted := map[string]mediaRange{}
	for _, f := range forms {
		var best *mediaRange // the most specific one decides
		for i := range ranges {
			if r := &ranges[i]; r.matches(f) && (best == nil || r.specific() > best.specific()) {
				best = r
			}
		}
		if best != nil && best.q > 0 {
			taken = append(taken, f)
			wanted[f.mediaType] = *best
		}
	}
	slices.SortStableFunc(taken, func(a, b form) int {
		x, y := wanted[a.mediaType], wanted[b.mediaType]
		return cmp.Or(cmp.Compare(y.q, x.q), cmp.Compare(x.place, y.place))
	})
	return taken
}

// mediaRange is one element of an Accept header.
type mediaRange struct {
	name  string // "application/json", "application/*", "*/*"
	spec  string // subscriptionSpec, of the multipart protocol
	q     float64
	place int
}

// mediaRanges reads an Accept header; what is none is left out.
func mediaRanges(accept string) (ranges []mediaRange) {
	for _, element := range elements(accept, ',') {
		name, parameters, err := parseMediaType(element)
		if err != nil || !strings.Contains(name, "/") {
			continue
		}
		r := mediaRange{name, parameters["subscriptionspec"], 1, len(ranges)}
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

// parseMediaType is mime.ParseMediaType where a parameter may be empty (RFC 9110 section
// 5.6.6).
func parseMediaType(text string) (name string, parameters map[string]string, err error) {
	isBlank := func(part string) bool { return strings.TrimSpace(part) == "" }
	parts := elements(text, ';')
	return mime.ParseMediaType(strings.Join(append(parts[:1], slices.DeleteFunc(parts[1:], isBlank)...), ";"))
}

// elements are what a mark parts in a header, but for those within quotes (RFC 9110
// section 5.6.4). A quote that is not closed is none: what follows it is other elements'.
func elements(header string, mark byte) (found []string) {
	begin, quoted := 0, false
	for i := 0; i < len(header); i++ {
		switch c := header[i]; {
		case quoted && c == '\\':
			i++ // the next one is quoted by it
		case c == '"':
			quoted = !quoted
		case c == mark && !quoted:
			found = append(found, header[begin:i])
			begin = i + 1
		}
	}
	if quoted {
		return append(found, strings.Split(header[begin:], string(mark))...)
	}
	return append(found, header[begin:])
}

func (r mediaRange) matches(f form) bool {
	group, any := strings.CutSuffix(r.name, "/*")
	if any {
		return group == "*" || strings.HasPrefix(f.mediaType, group+"/")
	}
	return r.name == f.mediaType && (f.stream == nil || f.stream.spec == "" || f.stream.spec == r.spec)
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

// agreed is how the answers to a request are sent.
type agreed struct {
	single string   // as what one answer is sent
	stream *framing // nil: there is one answer
}

// negotiated settles how a request to /graphql is answered before anything may refuse
// it: whoever answers finds the Content-Type set.
func negotiated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		taken := acceptable(r)
		a := agreed{single: jsonType} // also of what is refused before a stream begins
		if i := slices.IndexFunc(taken, func(f form) bool { return f.stream == nil }); i >= 0 {
			a.single = taken[i].mediaType
		}
		setMediaType(w, a.single)
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodPost:
			refuseMethod(w, r, "GET, POST", badInput(useGETOrPOST(r.Method)))
			return
		case isWebSocket(r):
		case len(taken) == 0:
			refuse(w, r, http.StatusNotAcceptable, badInput("answers are "+graphQLType+" or "+jsonType+", those of a subscription "+streamTypes+": name one of them in Accept"))
			return
		default:
			a.stream = taken[0].stream
		}
		infoOf(r.Context()).agreed = a
		next.ServeHTTP(w, r)
	})
}

// contentTypes are the values of the header, by media type: made once, for all answers.
var contentTypes = func() map[string][]string {
	types := map[string][]string{}
	for _, f := range forms {
		types[f.mediaType] = []string{f.mediaType + "; charset=utf-8"}
	}
	return types
}()

func setMediaType(w http.ResponseWriter, mediaType string) {
	w.Header()["Content-Type"] = contentTypes[mediaType]
}
