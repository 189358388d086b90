package fhir

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"
)

// TestLiveServer runs against a real FHIR server with versions. It touches
// only a patient of its own, fhirpkg-<time>, and deletes it.
func TestLiveServer(t *testing.T) {
	t.Parallel()
	base := os.Getenv("TEST_FHIR_URL")
	if base == "" {
		t.Skip("TEST_FHIR_URL is not set: no real FHIR server to talk to")
	}
	c := newTestClient(t, base, func(o *Options) { o.Timeout = 30 * time.Second })
	ctx := t.Context()
	caps, err := c.Capabilities(ctx)
	if err != nil || !caps.Versioned || caps.FHIRVersion == "" {
		t.Fatalf("capabilities: %+v, %v", caps, err)
	}

	id := fmt.Sprintf("fhirpkg-%d", time.Now().UnixNano())
	_, err = c.Read(ctx, id)
	asError(t, err, Gone)
	sent := patientJSON(id, `"extension":[{"url":"http://example.org/e","valueDecimal":42.160}],"telecom":[{"system":"fax","value":"1"},`+
		`{"system":"phone","value":"02-123-4567","use":"home","_value":{"extension":[{"url":"http://example.org/v","valueBoolean":true}]}}],`+
		`"gender":"female","birthDate":"1949-11","address":[{"line":["1 A St"],"city":"C"}]`)
	created, err := c.Update(ctx, id, sent, "")
	if err != nil || !created.Created {
		t.Fatalf("create: %+v, %v", created, err)
	}
	t.Cleanup(func() {
		req, err := http.NewRequest(http.MethodDelete, c.patientURL(id), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	})
	now := time.Now()
	edit := ContactEdit{SetPhone: true, Phone: "010-2222-3333", SetEmail: true, Email: "kim@example.org", SetAddress: true, Address: &Address{Text: "서울 1"}}
	read, err := c.Read(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	body, err := EditContact(read.JSON, edit, now)
	if err != nil {
		t.Fatal(err)
	}
	updated, err := c.Update(ctx, id, body, read.ETag)
	if err != nil {
		t.Fatal(err)
	}
	if updated.Created || updated.Resource.ETag == read.ETag {
		t.Errorf("%+v", updated)
	}
	if missing := Missing(contactIn(t, updated.Resource.JSON), contactIn(t, body), edit.Fields()); missing != nil {
		t.Errorf("missing %v", missing)
	}
	for _, kept := range []string{"42.160", `"http://example.org/v"`, `"fax"`} {
		if !bytes.Contains(updated.Resource.JSON, []byte(kept)) {
			t.Errorf("%s is lost in %s", kept, updated.Resource.JSON)
		}
	}
	// What the server shows differs from what we sent in meta alone.
	a, b := tree(t, body), tree(t, updated.Resource.JSON)
	a.drop("meta")
	b.drop("meta")
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("sent %v\nshown %v", a, b)
	}
	_, err = c.Update(ctx, id, body, read.ETag)
	asError(t, err, Conflict)

	found := 0
	for r, err := range c.Search(ctx, url.Values{"_count": {"40"}, "_sort": {"_lastUpdated"}}) {
		if err != nil {
			t.Fatal(err)
		}
		found++
		if r.ID == id && !bytes.Equal(r.JSON, updated.Resource.JSON) {
			t.Errorf("search shows %s", r.JSON)
		}
	}
	if found < 2 {
		t.Errorf("search found %d patients", found)
	}
}
