package fhir

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"patientgraph/internal/cost"
)

// Bodies of 8 MiB, the most that is read.
func filled(head, again, tail string) []byte {
	n := (8<<20 - len(head) - len(tail)) / len(again)
	return []byte(head + strings.Repeat(again, n) + tail)
}

// However a body of 8 MiB is filled, to read it costs about what a patient with
// a photo of that size does.
func TestCostOfBodies(t *testing.T) {
	var body []byte
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	defer server.Close()
	c := newTestClient(t, server.URL, func(o *Options) { o.Timeout = time.Minute })
	read := func() {
		if r, err := c.Read(t.Context(), "p"); err == nil {
			if p, err := ParsePatient(r.JSON, testNow); err == nil {
				_, _, _ = EditContact(r.JSON, ContactEdit{SetPhone: true, Phone: p.ID}, testNow, "")
			}
		}
	}
	patient := `{"resourceType":"Patient","id":"p","x":[`
	body = filled(`{"resourceType":"Patient","id":"p","photo":[{"data":"`, "A", `"}]}`)
	if _, err := c.Read(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	normal := cost.Of(t, read)
	t.Logf("a photo: %v, %d MiB", normal.CPU, normal.Bytes>>20)
	capabilities := func() { _, _ = c.Capabilities(t.Context()) }
	search := func() {
		for range everybody(t.Context(), c) {
		}
	}
	for _, tt := range []struct {
		name string
		body []byte
		call func()
	}{
		{"[", filled("[", "[", ""), read},
		{`{"a":`, filled("", `{"a":`, ""), read},
		{"{},", filled(patient, "{},", "{}]}"), read},
		{`{"a":1},`, filled(patient, `{"a":1},`, "{}]}"), read},
		{"as deep as it may be", filled(patient+strings.Repeat("[", maxDepth-2)+`"`, "x", `"`+strings.Repeat("]", maxDepth-2)+"]}"), read},
		{"as many phones as there may be", []byte(`{"resourceType":"Patient","id":"p","telecom":[` + strings.Repeat(`{"system":"phone","use":"work","value":"`+strings.Repeat("1", 400)+`"},`, maxPatientValues/5) + "{}]}"), read},
		{"as many keys as there may be", []byte(`{"resourceType":"Patient","id":"p"` + manyKeys(maxPatientValues-10) + `}`), read},
		{"blanks", filled(patient+`"x"`, " ", "]}"), read},
		{"capabilities", filled(`{"resourceType":"CapabilityStatement","rest":[{"resource":[`, `{"type":"Patient","interaction":[{"code":"read"}]},`, `{}],"mode":"server"}]}`), capabilities},
		{"as many capabilities as there may be", []byte(`{"resourceType":"CapabilityStatement","rest":[{"resource":[` + strings.Repeat(`{"type":"Patient"},`, maxValues/3) + `{}],"mode":"server"}]}`), capabilities},
		{"as many entries as there may be", []byte(`{"resourceType":"Bundle","entry":[` + strings.Repeat(`{"resource":{}},`, maxValues/4) + `{}]}`), search},
	} {
		body = tt.body
		got := cost.Of(t, tt.call)
		t.Logf("%s: %v, %d MiB", tt.name, got.CPU, got.Bytes>>20)
		if got.CPU > 20*normal.CPU {
			t.Errorf("%s costs %v of CPU, a photo %v", tt.name, got.CPU, normal.CPU)
		}
		if got.Bytes > 4*normal.Bytes {
			t.Errorf("%s costs %d MiB, a photo %d MiB", tt.name, got.Bytes>>20, normal.Bytes>>20)
		}
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"` + strings.Repeat("k", 1+i%50) + string(rune('a'+i%26)) + time.Duration(i).String() + `":1`)
	}
	return b.String()
}

// What is read of a large body does not keep it in memory. The body has whatever a
// Patient of ours shows, so that a field that is not read is found, too.
func TestPatientsKeepNothingOfTheirBody(t *testing.T) {
	const count = 20
	body := filled(`{"resourceType":"Patient","id":"p","meta":{"versionId":"1","lastUpdated":"2026-11-23T18:25:39Z"},
		"identifier":[{"system":"urn:hospital","value":"P-17"}],"name":[{"text":"Dr. Jim Chalmers","given":["Jim"],"family":"Chalmers"},{"use":"old","text":"James Chalmers"}],
		"birthDate":"1949-11-14","gender":"male","telecom":[{"system":"phone","value":"1"},{"system":"fax","value":"2"},{"system":"email","value":"jim@example.org"}],
		"address":[{"text":"1 Main St, X","line":["1 Main St"],"city":"X","district":"D","state":"S","postalCode":"1","country":"C"}],
		"active":false,"deceasedBoolean":true,"link":[{"type":"replaced-by","other":{"reference":"Patient/q"}},{"type":"replaces","other":{"reference":"Patient/r"}}],
		"contact":[{"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0131","code":"C"}]},{"text":"wife"}],
			"name":{"text":"A"},"telecom":[{"system":"phone","value":"2"}]}],
		"photo":[{"data":"`, "A", `"}]}`)
	var patients []Patient
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range count {
		p, err := ParsePatient(body, testNow)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []any{p, p.Contact, *p.Contact.Address, *p.Emergency} {
			for n, v := 0, reflect.ValueOf(part); n < v.NumField(); n++ {
				if v.Field(n).IsZero() {
					t.Fatalf("%s of %T is not read", v.Type().Field(n).Name, part)
				}
			}
		}
		patients = append(patients, p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 8<<20 {
		t.Errorf("%d patients keep %d MiB", len(patients), kept>>20)
	}
	runtime.KeepAlive(body)
	runtime.KeepAlive(patients)
}

func TestWhatARecordMayShow(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for rest, good := range map[string]bool{
		`"name":[{"family":` + long(30<<10) + `}]`:                                                                    true,
		`"name":[{"family":` + long(70<<10) + `}]`:                                                                    false,
		`"name":[{"text":` + long(20<<10) + `,"family":` + long(20<<10) + `,"given":[` + long(30<<10) + `]}]`:         false,
		`"telecom":[{"system":"phone","value":` + long(1<<20) + `}]`:                                                  false,
		`"telecom":[{"system":"fax","value":` + long(1<<20) + `}]`:                                                    true, // not shown
		`"telecom":[{"system":"phone","value":` + long(40<<10) + `},{"system":"email","value":` + long(40<<10) + `}]`: false,
		`"address":[{"line":[` + strings.Repeat(`"x",`, 40_000) + `"x"]}]`:                                            false,
		`"address":[{"text":` + long(70<<10) + `}]`:                                                                   false,
		`"meta":{"versionId":` + long(70<<10) + `}`:                                                                   false,
		`"identifier":[` + repeat(100, `{"system":"urn:oid:1.2.36.146.595.217.0.1","value":"12345"}`) + `]`:           true,
		`"photo":[{"data":` + long(7<<20) + `}]`:                                                                      true,
		`"text":{"div":` + long(1<<20) + `}`:                                                                          true,
	} {
		body := patientJSON("p", rest)
		_, err := ParsePatient(body, testNow)
		_, contactErr := ContactOf(body, testNow)
		if (err == nil) != good || (contactErr == nil) != good {
			t.Errorf("%.60s: %v, %v", rest, err, contactErr)
		}
		if err != nil && !strings.HasSuffix(asError(t, err, Unusable).Reason, "holds more than 64 KiB of names and contact values") {
			t.Error(err)
		}
	}
	for _, identifiers := range []string{
		`{"value":` + long(70<<10) + `}`,
		`{"system":` + long(70<<10) + `,"value":"1"}`,
		repeat(10_000, `{"value":"1"}`),
	} {
		_, err := ParsePatient(patientJSON("p", `"identifier":[`+identifiers+`]`), testNow)
		if reason := asError(t, err, Unusable).Reason; !strings.HasSuffix(reason, "holds more than 64 KiB of identifiers") {
			t.Errorf("%.40s: %s", identifiers, reason)
		}
	}
}

// repeatsKey agrees with a reader that builds the whole tree.
func TestRepeatsKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body := document(t, 0)
		decoded := tree(t, []byte(body))
		if got, want := repeatsKey(body), decoded.repeatsKey(); got != want {
			t.Errorf("%s: %v, want %v", body, got, want)
		}
	})
}

func (n *node) repeatsKey() bool {
	seen := map[string]bool{}
	for i := range n.Kids {
		kid := &n.Kids[i]
		if n.Value == "{" && seen[kid.Key] || kid.repeatsKey() {
			return true
		}
		seen[kid.Key] = true
	}
	return false
}

// document draws a JSON text with few different keys, written in several ways.
func document(t *rapid.T, depth int) string {
	blank := rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(t, "blank")
	var parts []string
	switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); {
	case kind == 0 || depth == 5:
		return blank + rapid.SampledFrom([]string{`1`, `"a"`, `"\":{"`, `"\\"`, `"}"`, `null`}).Draw(t, "scalar") + blank
	case kind == 1:
		for range rapid.IntRange(0, 3).Draw(t, "size") {
			parts = append(parts, document(t, depth+1))
		}
		return blank + "[" + strings.Join(parts, ",") + blank + "]"
	}
	for range rapid.IntRange(0, 4).Draw(t, "size") {
		key := rapid.SampledFrom([]string{`"a"`, `"\u0061"`, `"b"`, `"\""`, `"\u0022"`, `"c:"`, `""`, `"d"`, `"e"`, `"{"`}).Draw(t, "key")
		parts = append(parts, blank+key+blank+":"+document(t, depth+1))
	}
	return blank + "{" + strings.Join(parts, ",") + "}" + blank
}
