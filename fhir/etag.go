package fhir

import (
	"errors"
	"regexp"
	"strings"

	"github.com/tidwall/gjson"
)

// maxETag bounds an ETag: it is sent back with a PUT and stands in the journal.
const maxETag = 1 << 10

// sendableETag is what If-Match can take: an entity-tag (RFC 9110 section
// 8.8.3) in ASCII, or one without the quotes, as some servers send it. A list
// would match more than one version, and * every one.
var sendableETag = regexp.MustCompile(`^(?:(?:W/)?"[ !#-~]+"|[!#-)+\--~][!#-+\--~]*)$`)

// errUnguarded is of a server that always names the version of what it shows.
var errUnguarded = errors.New("it names no version, so nothing could guard a PUT")

var errNoGuard = errors.New("an ETag that cannot be sent back, and no meta.versionId to take its place")

// etag gives what of an answer can go into If-Match: its ETag, or W/"versionId"
// where there is none, it cannot be sent, or compression on the way has added to
// the version that the body names. Where the two name different versions it is the
// ETag, for that is what If-Match is compared with. "": the server keeps no
// versions. An error: it does, but nothing could guard a PUT.
func (a *answer) etag() (string, error) {
	sent := a.header.Get("ETag")
	id := str(member(a.doc, "meta"), "versionId")
	sendable := len(sent) <= maxETag && sendableETag.MatchString(sent)
	switch {
	case IsID(id) && (!sendable || versionOf(sent) != id && plainVersion(sent) == id):
		if sendable && strings.HasPrefix(sent, `"`) { // strong, as the server means it
			return `"` + id + `"`, nil
		}
		return weakETag(id), nil
	case sendable || sent == "":
		return sent, nil
	}
	return "", errNoGuard
}

// addedByCompression is what servers add to the ETag of what they compress: Apache
// "1-gzip", Jetty "1--gzip", others "1;gzip".
var addedByCompression = regexp.MustCompile(`(?:--?|;)(?:gzip|br|deflate|zstd|compress)$`)

// plainVersion is the version in an ETag, without what compression added.
func plainVersion(etag string) string {
	return addedByCompression.ReplaceAllString(strings.Trim(strings.TrimPrefix(etag, "W/"), `"`), "")
}

// IsSameVersion reports whether two ETags name one version, be it spelled in
// another way: weak or strong, quoted or not, compressed or not.
func IsSameVersion(a, b string) bool { return a == b || plainVersion(a) == plainVersion(b) }

// IsVersion reports whether a Patient says of itself (meta.versionId) that it is
// the version that an ETag names.
func IsVersion(body []byte, etag string) bool {
	id := str(member(gjson.ParseBytes(body), "meta"), "versionId")
	return id != "" && IsSameVersion(id, etag)
}
