package fhir

import (
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"testing"
)

// versioned is a server that shows one Patient, with this ETag ("": none) and versionId.
type versioned struct {
	etag, version string
	gzip          bool // it compresses whatever it is asked
	asked         *http.Request
}

func (v *versioned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.asked = r
	w.Header().Set("Content-Type", "application/fhir+json")
	if v.etag != "" {
		w.Header().Set("ETag", v.etag)
	}
	body := patientJSON("p", `"meta":{"versionId":"`+v.version+`"}`)
	if v.gzip {
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		defer packed.Close()
		_, _ = packed.Write(body)
		return
	}
	_, _ = w.Write(body)
}

// What goes into If-Match where header and body both tell a version, or only one
// does.
func TestVersionToldByHeaderAndBody(t *testing.T) {
	t.Parallel()
	v := &versioned{}
	server := httptest.NewServer(v)
	defer server.Close()
	c := newTestClient(t, server.URL, nil)
	for _, tt := range []struct{ etag, version, want string }{
		{"", "41", `W/"41"`}, {"", "b7e2-uuid", `W/"b7e2-uuid"`}, {"", "", ""}, {"", "no id", ""},
		{`W/"3"`, "3", `W/"3"`}, {`"3"`, "3", `"3"`}, {`3`, "3", `3`}, {`W/3`, "3", `W/"3"`},
		{`W/"3-gzip"`, "3", `W/"3"`}, {`"3--gzip"`, "3", `"3"`}, {`W/"3;gzip"`, "3", `W/"3"`}, {`W/"b7e2-uuid-br"`, "b7e2-uuid", `W/"b7e2-uuid"`},
		{`W/"x-gzip"`, "x-gzip", `W/"x-gzip"`},
		{`W/"3-gzip"`, "", `W/"3-gzip"`}, {`W/"3-gzip"`, "4", `W/"3-gzip"`}, {`W/"9"`, "3", `W/"9"`}, {`"1a2b-hash"`, "3", `"1a2b-hash"`},
	} {
		v.etag, v.version = tt.etag, tt.version
		r, err := c.Read(t.Context(), "p")
		if err != nil || r.ETag != tt.want {
			t.Errorf("%s and %q: %s, want %s (%v)", tt.etag, tt.version, r.ETag, tt.want, err)
		}
	}
}

// The answer to a PUT may repeat what was sent: then its versionId says nothing.
func TestVersionOfAnEcho(t *testing.T) {
	t.Parallel()
	v := &versioned{version: "41"}
	server := httptest.NewServer(v)
	defer server.Close()
	c := newTestClient(t, server.URL, nil)
	for sent, want := range map[string]string{`"meta":{"versionId":"41"}`: "", `"meta":{"versionId":"40"}`: `W/"41"`, ``: `W/"41"`} {
		u, err := c.Update(t.Context(), "p", patientJSON("p", sent), `W/"40"`)
		if err != nil || u.Resource.ETag != want {
			t.Errorf("after %s: %s, want %s (%v)", sent, u.Resource.ETag, want, err)
		}
	}
	v.etag = `W/"41"`
	if u, err := c.Update(t.Context(), "p", patientJSON("p", `"meta":{"versionId":"41"}`), ""); err != nil || u.Resource.ETag != `W/"41"` {
		t.Errorf("an ETag is the server's own: %+v, %v", u, err)
	}
}

// The read asks for no compression, for that may change the ETag, and copes with it.
func TestReadAsksForNoCompression(t *testing.T) {
	t.Parallel()
	for _, packs := range []bool{false, true} {
		v := &versioned{etag: `W/"3-gzip"`, version: "3", gzip: packs}
		server := httptest.NewServer(v)
		defer server.Close()
		r, err := newTestClient(t, server.URL, nil).Read(t.Context(), "p")
		if err != nil || r.ETag != `W/"3"` || r.ID != "p" {
			t.Errorf("%s %s, %v", r.ETag, r.JSON, err)
		}
		if got := v.asked.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("Accept-Encoding %q", got)
		}
	}
}

func TestIsSameVersion(t *testing.T) {
	t.Parallel()
	for _, same := range [][2]string{{`W/"3"`, `"3"`}, {`W/"3"`, `3`}, {`W/"3-gzip"`, `"3--gzip"`}, {`W/"3;gzip"`, `W/"3"`}, {`W/3`, `"3-br"`}} {
		if !IsSameVersion(same[0], same[1]) {
			t.Errorf("%v are one version", same)
		}
	}
	for _, other := range [][2]string{{`W/"3"`, `W/"33"`}, {`W/"3"`, ``}, {`W/"3-gzip"`, `W/"4-gzip"`}, {`W/"3-1"`, `W/"3"`}, {`"a"`, `"A"`}} {
		if IsSameVersion(other[0], other[1]) {
			t.Errorf("%v are two versions", other)
		}
	}
}
