package fhir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
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
	if err != nil || caps.Versioning != "versioned-update" || caps.FHIRVersion == "" {
		t.Fatalf("capabilities: %+v, %v", caps, err)
	}

	id := fmt.Sprintf("fhirpkg-%d", time.Now().UnixNano())
	_, err = c.Read(ctx, id)
	asError(t, err, Gone)
	sent := patientJSON(id, `"extension":[{"url":"http://example.org/e","valueDecimal":42.160}],"telecom":[{"system":"fax","value":"1"},`+
		`{"system":"phone","value":"02-123-4567","use":"home","extension":[{"url":"http://example.org/w","valueBoolean":true}],"_value":{"extension":[{"url":"http://example.org/v","valueBoolean":true}]}}],`+
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
	body, _, err := EditContact(read.JSON, edit, now, "")
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
	if missing := Missing(contactIn(t, updated.Resource.JSON), contactIn(t, body), edit.Fields(), ""); missing != nil {
		t.Errorf("missing %v", missing)
	}
	for _, kept := range []string{"42.160", `"http://example.org/w"`, `"fax"`} {
		if !bytes.Contains(updated.Resource.JSON, []byte(kept)) {
			t.Errorf("%s is lost in %s", kept, updated.Resource.JSON)
		}
	}
	if bytes.Contains(updated.Resource.JSON, []byte(`"http://example.org/v"`)) {
		t.Errorf("what described the old number is still in %s", updated.Resource.JSON)
	}
	// What the server shows differs from what we sent in meta alone.
	a, b := tree(t, body), tree(t, updated.Resource.JSON)
	a.drop("meta")
	b.drop("meta")
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("sent %v\nshown %v", a, b)
	}
	_, err = c.Update(ctx, id, body, read.ETag)
	asError(t, err, Busy)

	found := 0
	for r, err := range everybody(ctx, c) {
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

// livePatient creates a patient by a transaction, which the server does not
// validate, and deletes it in the end.
func livePatient(t *testing.T, prefix, rest string) (c *Client, id string) {
	t.Helper()
	base := os.Getenv("TEST_FHIR_URL")
	if base == "" {
		t.Skip("TEST_FHIR_URL is not set: no real FHIR server to talk to")
	}
	c = newTestClient(t, base, func(o *Options) { o.Timeout = 30 * time.Second })
	id = fmt.Sprintf("%s-%d", prefix, time.Now().UnixNano())
	liveSend(t, http.MethodPost, base, `{"resourceType":"Bundle","type":"transaction","entry":[{"resource":`+string(patientJSON(id, rest))+
		`,"request":{"method":"PUT","url":"Patient/`+id+`"}}]}`)
	t.Cleanup(func() { liveSend(t, http.MethodDelete, c.patientURL(id), "") })
	return c, id
}

func liveSend(t *testing.T, method, url, body string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/fhir+json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, url, res.Status)
	}
}

// TestLiveAfter walks the history of a patient on a real server: changes, a
// deletion and its resurrection.
func TestLiveAfter(t *testing.T) {
	t.Parallel()
	phone := func(n int) string {
		return fmt.Sprintf(`"telecom":[{"system":"phone","value":"02-123-456%d"}]`, n)
	}
	c, id := livePatient(t, "fhirafter", phone(0))
	ctx := t.Context()
	first, err := c.Read(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	// Who asks for the history now makes a HAPI leave out the oldest versions
	// for a minute.
	if _, err := c.history(ctx, id, "", ""); err != nil {
		t.Fatal(err)
	}
	_, err = c.After(ctx, id, first.ETag)
	asError(t, err, Unusable) // nothing followed yet
	updates := []Resource{first}
	for n := range 3 {
		u, err := c.Update(ctx, id, patientJSON(id, phone(n+1)), updates[n].ETag)
		if err != nil {
			t.Fatal(err)
		}
		updates = append(updates, u.Resource)
	}
	liveSend(t, http.MethodDelete, c.patientURL(id), "")
	again, err := c.Update(ctx, id, patientJSON(id, phone(9)), "")
	if err != nil || !again.Created {
		t.Fatalf("%+v, %v", again, err)
	}
	for n, u := range updates[:3] {
		r, err := c.After(ctx, id, u.ETag)
		if err != nil || r.ETag != updates[n+1].ETag || !sameJSON(t, r.JSON, updates[n+1].JSON) {
			t.Errorf("after %s: %s %s (%v)", u.ETag, r.ETag, r.JSON, err)
		}
	}
	_, err = c.After(ctx, id, updates[3].ETag)
	asError(t, err, Gone)
	_, err = c.After(ctx, id+"x", first.ETag)
	asError(t, err, Unusable)
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var compact [2]bytes.Buffer
	for i, body := range [][]byte{a, b} {
		if err := json.Compact(&compact[i], body); err != nil {
			t.Fatal(err)
		}
	}
	return slices.Equal(compact[0].Bytes(), compact[1].Bytes())
}

// TestLiveChanges follows a real server with a history: who is created, edited, deleted
// and lives again, each as it is now, and nobody else.
func TestLiveChanges(t *testing.T) {
	t.Parallel()
	c, id := livePatient(t, "fhirchanges", `"gender":"female"`)
	ctx := t.Context()
	how, err := c.Following(ctx)
	if err != nil || how != (Following{Method: "_history", Deletes: true}) {
		t.Fatalf("%+v, %v", how, err)
	}
	created, err := c.Read(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	since := lastUpdated(created.JSON)
	find := func() (found Change, times int) {
		t.Helper()
		for page, err := range c.Changed(ctx, since) {
			if err != nil || page.ServerTime.Before(since) || !page.Deletes {
				t.Fatalf("%+v, %v", page, err)
			}
			for _, change := range page.Changes {
				if change.ID == id {
					found = change
					times++
				}
			}
		}
		return found, times
	}
	if change, times := find(); times != 1 || change.Deleted || !change.At.Equal(since) {
		t.Errorf("created: %+v, %d times", change, times)
	}
	for n := range 3 {
		if _, err := c.Update(ctx, id, patientJSON(id, fmt.Sprintf(`"birthDate":"198%d"`, n)), ""); err != nil {
			t.Fatal(err)
		}
	}
	if change, times := find(); times != 1 || !bytes.Contains(change.Patient.JSON, []byte(`"1982"`)) {
		t.Errorf("edited: %+v, %d times", change, times)
	}
	liveSend(t, http.MethodDelete, c.patientURL(id), "")
	if change, times := find(); times != 1 || !change.Deleted {
		t.Errorf("deleted: %+v, %d times", change, times)
	}
	if _, err := c.Update(ctx, id, patientJSON(id, `"birthDate":"1990"`), ""); err != nil {
		t.Fatal(err)
	}
	if change, times := find(); times != 1 || change.Deleted || !bytes.Contains(change.Patient.JSON, []byte(`"1990"`)) {
		t.Errorf("lives again: %+v, %d times", change, times)
	}
	c.following.Store(&foundWay{method: byLastUpdated})
	shown := 0
	for page, err := range c.Changed(ctx, since) {
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range page.Changes {
			if change.ID == id {
				shown++
			}
		}
	}
	if shown != 1 {
		t.Errorf("by _lastUpdated it is shown %d times", shown)
	}
}
