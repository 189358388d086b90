package judge

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"patientgraph/fhir"
)

var at = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// patient is a version of a Patient with these phones, the first the one shown,
// and an e-mail.
func patient(version int, email string, phones ...string) fhir.Resource {
	var telecom string
	for n, p := range phones {
		telecom += fmt.Sprintf(`{"system":"phone","value":%q,"rank":%d},`, p, n+1)
	}
	return fhir.Resource{ID: "p", ETag: fmt.Sprintf(`W/"%d"`, version), JSON: fmt.Appendf(nil,
		`{"resourceType":"Patient","id":"p","meta":{"versionId":"%d"},"telecom":[%s{"system":"email","value":%q}]}`, version, telecom, email)}
}

// put is the PUT that makes of base what the edit says.
func put(t *testing.T, base fhir.Resource, edit fhir.ContactEdit) Put {
	t.Helper()
	was, err := fhir.ParsePatient(base.JSON, at)
	if err != nil {
		t.Fatal(err)
	}
	body, _, err := fhir.EditContact(base.JSON, edit, at, "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPut(base, was.Contact, body, edit, at, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What the server shows, and what that says of the PUT.
func TestFates(t *testing.T) {
	t.Parallel()
	base := patient(1, "a@example.org", "010-1111-1111")
	phone := put(t, base, fhir.ContactEdit{SetPhone: true, Phone: "010-2222-2222"})
	both := put(t, base, fhir.ContactEdit{SetPhone: true, Phone: "010-2222-2222", SetEmail: true, Email: "b@example.org"})
	spelled := put(t, base, fhir.ContactEdit{SetPhone: true, Phone: "010.1111.1111"})
	spelledBoth := put(t, base, fhir.ContactEdit{SetPhone: true, Phone: "010.1111.1111", SetEmail: true, Email: "b@example.org"})
	unversioned := phone
	unversioned.IfMatch = ""
	twice := put(t, patient(1, "a@example.org", "010-1111-1111", "010-1111-1111"), fhir.ContactEdit{SetPhone: true})
	same := phone
	same.Intended = same.Base
	told := func(next fhir.Resource) Past { return Past{History: Told, Next: next} }
	silent, deleted := Past{History: Silent}, Past{History: Silent, Deleted: true}
	for name, c := range map[string]struct {
		put     Put
		now     fhir.Resource
		past    Past
		want    Fate
		missing int
	}{
		"the values are there":                         {phone, patient(2, "a@example.org", "010-2222-2222"), silent, Landed, 0},
		"they are there, and the history says how":     {phone, patient(2, "a@example.org", "010-2222-2222"), told(patient(2, "a@example.org", "010-2222-2222")), Landed, 0},
		"others set them too, after another version":   {phone, patient(3, "a@example.org", "010-2222-2222"), told(patient(2, "c@example.org", "010-1111-1111")), Landed, 0},
		"they were there, and are not any more":        {phone, patient(3, "a@example.org", "010-3333-3333"), told(patient(2, "a@example.org", "010-2222-2222")), Overwritten, 1},
		"the version of before":                        {phone, base, silent, Absent, 1},
		"another version, written by others":           {phone, patient(2, "c@example.org", "010-1111-1111"), told(patient(2, "c@example.org", "010-1111-1111")), Absent, 1},
		"what the server made of them":                 {phone, patient(2, "a@example.org", "0102222222"), told(patient(2, "a@example.org", "0102222222")), Altered, 1},
		"the values in a form of the server's":         {phone, patient(2, "a@example.org", "01022222222"), told(patient(2, "a@example.org", "01022222222")), Landed, 0},
		"they were there in such a form":               {phone, patient(3, "a@example.org", "010-3333-3333"), told(patient(2, "a@example.org", "010 2222 2222")), Overwritten, 1},
		"another spelling, and it is there":            {spelled, patient(2, "a@example.org", "010.1111.1111"), silent, Landed, 0},
		"another spelling, in a third form":            {spelled, patient(2, "a@example.org", "01011111111"), silent, Landed, 0},
		"another spelling, and the one of before":      {spelled, patient(2, "c@example.org", "010-1111-1111"), silent, Alike, 0},
		"another spelling, unmoved":                    {spelled, base, silent, Alike, 0},
		"another spelling, others have written":        {spelled, patient(3, "c@example.org", "010-1111-1111"), told(patient(2, "c@example.org", "010-1111-1111")), Alike, 0},
		"another spelling, there and put back":         {spelled, patient(3, "a@example.org", "010-1111-1111"), told(patient(2, "a@example.org", "010.1111.1111")), Overwritten, 0},
		"another spelling, others set another value":   {spelled, patient(3, "a@example.org", "010-3333-3333"), told(patient(2, "c@example.org", "010-1111-1111")), Absent, 1},
		"another spelling, deleted and made anew":      {spelled, patient(3, "a@example.org", "010-1111-1111"), deleted, Recreated, 0},
		"another spelling and another email: neither":  {spelledBoth, patient(2, "a@example.org", "010-1111-1111"), silent, Absent, 1},
		"another spelling and another email: that one": {spelledBoth, patient(2, "b@example.org", "010-1111-1111"), silent, Landed, 0},
		"another spelling and a cut email":             {spelledBoth, patient(2, "b@ex", "010-1111-1111"), silent, Altered, 1},
		"the spelling and a cut email":                 {spelledBoth, patient(2, "b@ex", "010 11111111"), silent, Partly, 1},
		"one of two":                                   {both, patient(2, "b@example.org", "010-1111-1111"), told(patient(2, "b@example.org", "010-1111-1111")), Partly, 1},
		"made anew after a deletion":                   {phone, patient(3, "a@example.org", "010-2222-2222"), deleted, Recreated, 0},
		"deleted and made anew by others":              {phone, patient(3, "a@example.org", "010-1111-1111"), deleted, Absent, 1},
		"no versions, and the values are there":        {unversioned, patient(1, "a@example.org", "010-2222-2222"), silent, Landed, 0},
		"no versions, and they are not":                {unversioned, base, silent, Absent, 1},
		"nothing that shows was to change":             {same, base, silent, Alike, 0},
		"both equal phones are gone":                   {twice, patient(2, "a@example.org"), silent, Landed, 0},
		"one of two equal phones is gone":              {twice, patient(2, "a@example.org", "010-1111-1111"), silent, Absent, 1},
		"both equal phones are there":                  {twice, patient(1, "a@example.org", "010-1111-1111", "010-1111-1111"), silent, Absent, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := c.put.See(c.now, nil, c.past, at)
			if err != nil || s.Read != Seen || s.Fate != c.want || len(s.Missing) != c.missing {
				t.Errorf("%+v, %v; want %s", s, err, c.want)
			}
		})
	}
	for _, body := range []string{"", "[]", `{"resourceType":"Patient","telecom":"x"}`, `{"resourceType":"Group"}`} {
		if s, err := phone.See(fhir.Resource{JSON: []byte(body)}, nil, silent, at); err == nil && s.Fate == Landed || err != nil && s.Read != Unread {
			t.Errorf("%q: %+v, %v", body, s, err)
		}
	}
}

// Header and body may disagree about the version; where one of them does not move,
// what moved is believed only of the header, and an echo is never new.
func TestVersions(t *testing.T) {
	t.Parallel()
	shown := func(etag, version string) fhir.Resource {
		r := patient(1, "a@example.org", "1")
		r.ETag, r.JSON = etag, bytes.Replace(r.JSON, []byte(`"versionId":"1"`), []byte(`"versionId":"`+version+`"`), 1)
		return r
	}
	for _, c := range []struct {
		ifMatch       string
		shown         fhir.Resource
		replaces, new bool
	}{
		{`W/"3"`, shown(`W/"3"`, "3"), true, false}, {`W/"3"`, shown(`W/"4"`, "4"), false, true},
		{`W/"3"`, shown(`"3--gzip"`, "3"), true, false}, {`W/"3"`, shown(`W/"4-gzip"`, "4"), false, true}, {`W/"3-gzip"`, shown(`W/"3"`, ""), true, false},
		{`W/"3"`, shown(``, "3"), true, false}, {`W/"3"`, shown(``, "4"), false, false}, {`W/"3"`, shown(``, ""), false, false},
		{`W/"3"`, shown(`W/"4"`, "3"), false, false}, {`"hash1"`, shown(`"hash2"`, "3"), false, true}, {`"hash1"`, shown(`"hash1"`, "4"), true, false},
		{``, shown(``, "3"), false, false},
	} {
		p := Put{IfMatch: c.ifMatch}
		if p.Replaces(c.shown) != c.replaces || p.IsNew(c.shown) != c.new {
			t.Errorf("%s and then %s %s: replaced %v, new %v", c.ifMatch, c.shown.ETag, c.shown.JSON, p.Replaces(c.shown), p.IsNew(c.shown))
		}
	}
}

// A version that stays while the record changes is none; one that stays while the
// record is only written in another way is one.
func TestVersionThatStays(t *testing.T) {
	t.Parallel()
	base := patient(1, "a@example.org", "1")
	p := put(t, base, fhir.ContactEdit{SetPhone: true, Phone: "2"})
	for _, c := range []struct {
		json     string
		versions bool
	}{
		{string(base.JSON), true},
		{strings.Replace(string(base.JSON), `"c"`, `"d"`, 1), true},
		{`{"telecom":[{"rank":1, "value":"1","system":"phone"},{"value":"a@example.org","system":"email"}],"id":"p","resourceType":"Patient","meta":{"versionId":"1","lastUpdated":"2026-01-01T00:00:00Z"}}`, true},
		{strings.Replace(string(base.JSON), "a@example.org", "c@example.org", 1), false},
		{strings.Replace(string(base.JSON), `"id":"p"`, `"id":"p","gender":"male"`, 1), false},
	} {
		s, err := p.See(fhir.Resource{ID: "p", ETag: base.ETag, JSON: []byte(c.json)}, base.JSON, Past{History: Silent}, at)
		if err != nil || s.Versions != c.versions || s.Moved == c.versions {
			t.Errorf("%s: %+v, %v", c.json, s, err)
		}
	}
}
