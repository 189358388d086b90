package fhir

import (
	"errors"
	"regexp"

	"github.com/tidwall/gjson"
)

// maxETag bounds an ETag: it is sent back with a PUT and stands in the journal.
const maxETag = 1 << 10

// sendableETag is what If-Match can take: an entity-tag (RFC 9110 section
// 8.8.3) in ASCII, or one without the quotes, as some servers send it. A list
// would match more than one version, and * every one.
var sendableETag = regexp.MustCompile(`^(?:(?:W/)?"[ !#-~]+"|[!#-)+\--~][!#-+\--~]*)$`)

var errNoGuard = errors.New("an ETag that cannot be sent back, and no meta.versionId to take its place")

// etag gives what of an answer can go into If-Match: its ETag, or one made of
// the body's versionId where that cannot be sent. "": the server keeps no
// versions. An error: it does, but nothing could guard a PUT.
func (a *answer) etag() (string, error) {
	sent := a.header.Get("ETag")
	if sent == "" || len(sent) <= maxETag && sendableETag.MatchString(sent) {
		return sent, nil
	}
	if id := str(member(a.doc, "meta"), "versionId"); IsID(id) {
		return weakETag(id), nil
	}
	return "", errNoGuard
}

// versionInETag finds the version in an ETag: without the marks of weakness, and
// without what compression on the way adds (Apache "1-gzip", Jetty "1--gzip").
var versionInETag = regexp.MustCompile(`^(?:W/)?"?(.*?)(?:--?(?:gzip|br|deflate|zstd))?"?$`)

// IsVersion reports whether a Patient says of itself (meta.versionId) that it is
// the version that an ETag names, however that is spelled.
func IsVersion(body []byte, etag string) bool {
	id := str(member(gjson.ParseBytes(body), "meta"), "versionId")
	return id != "" && versionInETag.FindStringSubmatch(etag)[1] == id
}
