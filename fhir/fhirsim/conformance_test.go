package fhirsim

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	resource = "/Patient/{id}"
	first    = `{"resourceType":"Patient","id":"{id}","telecom":[{"system":"phone","value":"02-123-4567","use":"home"}],"gender":"female","birthDate":"1990-05"}`
	second   = `{"resourceType":"Patient","id":"{id}","telecom":[{"system":"phone","value":"010-1111-2222","use":"home"}],"gender":"female","birthDate":"1990-05"}`
	badPhone = `{"resourceType":"Patient","id":"{id}","telecom":[{"system":"fax","value":"none"},{"system":"phone","value":"invalid-phone"}]}`
)

func get(path string, status int, version, codes string) step {
	return step{method: http.MethodGet, path: path, status: status, version: version, codes: codes}
}

func put(header, body string, status int, version, codes string) step {
	return step{method: http.MethodPut, path: resource, header: header, body: body, status: status, version: version, codes: codes}
}

func putTo(path, header, body string, status int, codes string) step {
	return step{method: http.MethodPut, path: path, header: header, body: body, status: status, codes: codes}
}

var remove = step{method: http.MethodDelete, path: resource, status: 200}

// create is the first step of most scripts.
var create = put("", first, 201, "1", "")

// scripts is what HAPI does (or what was observed of it), request by request.
var scripts = map[string][]step{
	"read and update": {create, get(resource, 200, "1", ""), put(`If-Match: W/"1"`, second, 200, "2", ""), get(resource, 200, "2", ""),
		put(`If-Match: W/"1"`, first, 409, "", "HAPI-0550 HAPI-0989"), put(`If-Match: W/"1"`, second, 409, "", "HAPI-0550 HAPI-0989"),
		put(`If-Match: W/"99"`, first, 409, "", "HAPI-0550 HAPI-0989"), get(resource, 200, "2", "")},
	"forms of If-Match": {create, put(`If-Match: "1"`, second, 200, "2", ""), put(`If-Match: 2`, first, 200, "3", "")},
	"odd If-Match": {create, put(`If-Match: *`, second, 500, "", "HAPI-2223"), put(`If-Match: W/"1", W/"2"`, second, 500, "", "HAPI-2223"),
		put(`If-Match: W/"0193-a"`, second, 500, "", "HAPI-2223"), get(resource, 200, "1", "")},
	"identical content": {create, put("", first, 200, "1", ""), put(`If-Match: W/"1"`, first, 200, "1", ""),
		put("", `{"birthDate":"1990-05","id":"{id}","gender":"female","telecom":[{"use":"home","value":"02-123-4567","system":"phone"}],"resourceType":"Patient"}`, 200, "1", "")},
	"version in the body":         {create, put("", second, 200, "2", ""), put("", strings.Replace(first, `"telecom"`, `"meta":{"versionId":"1","lastUpdated":"2001-01-01T00:00:00Z"},"telecom"`, 1), 200, "3", "")},
	"meta null":                   {create, put("", strings.Replace(second, `"telecom"`, `"meta":null,"telecom"`, 1), 200, "2", "")},
	"unknown":                     {get(resource, 404, "", "HAPI-2001"), get("/Patient/a%20b", 404, "", "HAPI-2001")},
	"create with If-Match":        {put(`If-Match: W/"7"`, first, 201, "1", "")},
	"create with odd If-Match":    {put(`If-Match: *`, first, 201, "1", "")},
	"numeric id":                  {putTo("/Patient/98765432101", "", `{"resourceType":"Patient","id":"98765432101"}`, 400, "HAPI-0960")},
	"long id":                     {putTo("/Patient/{id}"+strings.Repeat("-x", 33), "", `{"resourceType":"Patient","id":"{id}`+strings.Repeat("-x", 33)+`"}`, 400, "HAPI-0521")},
	"body without id":             {create, put("", `{"resourceType":"Patient"}`, 400, "", "HAPI-0419"), putTo("/Patient", "", first, 400, "HAPI-0418")},
	"body of another":             {create, put("", `{"resourceType":"Patient","id":"fhirsim-another"}`, 400, "", "HAPI-0420")},
	"body of another, odd header": {create, put("If-Match: *", `{"resourceType":"Patient","id":"fhirsim-another"}`, 400, "", "HAPI-0420")},
	"deleted": {create, remove, get(resource, 410, "", ""), get(resource+"/_history/1", 200, "1", ""), get(resource+"/_history/2", 410, "", ""),
		put(`If-Match: W/"1"`, second, 409, "", "HAPI-0550 HAPI-0989"), put(`If-Match: W/"2"`, second, 201, "3", ""), get(resource, 200, "3", "")},
	"resurrected":             {create, remove, put("", first, 201, "3", "")},
	"deleted twice":           {remove, create, remove, remove, get(resource, 410, "", "")},
	"PUT to a version":        {create, put("", second, 200, "2", ""), putTo(resource+"/_history/1", "", first, 409, "HAPI-0550 HAPI-0989")},
	"versions":                {create, put("", second, 200, "2", ""), get(resource+"/_history/1", 200, "1", ""), get(resource+"/_history/9", 404, "", "HAPI-0979"), get(resource+"/_history/abc", 404, "", "HAPI-0978")},
	"bad phone":               {create, put("", badPhone, 422, "", ""), put(`If-Match: W/"9"`, badPhone, 422, "", ""), put("If-Match: *", badPhone, 422, "", ""), get(resource, 200, "1", "")},
	"bad phone, new patient":  {put("", badPhone, 422, "", ""), get(resource, 404, "", "HAPI-2001")},
	"telecom as an object":    {create, put("", `{"resourceType":"Patient","id":"{id}","telecom":{"system":"phone","value":"x"}}`, 422, "", "")},
	"bad phone of another id": {create, put("", strings.Replace(badPhone, "{id}", "fhirsim-another", 1), 422, "", "")},
	"good phones": {put("", phoneOf("+82 (10) 1111/2222"), 201, "1", ""), put("", phoneOf("02-555-0123 x701 #1"), 200, "2", ""), put("", phoneOf("(02) 555.0123"), 200, "3", ""),
		put("", phoneOf("1234"), 422, "", ""), put("", phoneOf("010-1111-2222 ext"), 422, "", ""), put("", phoneOf("०१०१११२२२२"), 422, "", "")},
	"malformed": {create, put("", `{"resourceType":"Patient","id":"{id}"`, 500, "", "HAPI-0331 HAPI-1861"), put("", first+"{}", 500, "", "HAPI-0331 HAPI-1861"),
		put("", `{"id":"{id}"}`, 500, "", "HAPI-0331 HAPI-1838"), put("", `[]`, 400, "", "HAPI-1971"), put("", `null`, 400, "", "HAPI-1971"),
		put("", ``, 400, "", "HAPI-0450 HAPI-1861 HAPI-1857"), get(resource, 200, "1", "")},
	"other type": {create, put("", `{"resourceType":"Observation","id":"{id}"}`, 400, "", "HAPI-0450 HAPI-1814")},
	"bad values": {create, put("", `{"resourceType":"Patient","id":"{id}","birthDate":"14/11/1949"}`, 400, "", "HAPI-0450 HAPI-1821"),
		put("", `{"resourceType":"Patient","id":"{id}","birthDate":"2020-02-30"}`, 400, "", "HAPI-0450 HAPI-1821"), put(`If-Match: W/"9"`, `{"resourceType":"Patient","id":"{id}","gender":"mann"}`, 400, "", "HAPI-0450 HAPI-1821"),
		put("", `{"resourceType":"Patient","id":"{id}","active":"yes"}`, 400, "", "HAPI-0450 HAPI-1821"), put("", `{"resourceType":"Patient","id":"{id}","birthDate":"2020"}`, 200, "2", "")},
	"content types":    {create, put("Content-Type: text/plain", badPhone, 400, "", "HAPI-0449"), put("Content-Type: application/json", second, 200, "2", ""), put("Content-Type: application/fhir+json;charset=utf-8", first, 200, "3", "")},
	"unknown elements": {create, put("", strings.Replace(first, `"telecom"`, `"color":"blue","telecom"`, 1), 200, "1", ""), get(resource, 200, "1", "")},
	"companions and extensions": {put("", `{"resourceType":"Patient","id":"{id}","extension":[{"url":"http://example.org/e","valueDecimal":42.160}],"telecom":[{"system":"phone","value":"02-1234","_value":{"extension":[{"url":"http://example.org/f","valueString":"한글 😀 <b>"}]}}],"_birthDate":{"extension":[{"url":"http://example.org/g","valueString":"a&b"}]}}`, 201, "1", ""),
		get(resource, 200, "1", "")},
	"return minimal":          {create, put("Prefer: return=minimal", second, 200, "2", ""), get(resource, 200, "2", "")},
	"return OperationOutcome": {create, put("Prefer: return=OperationOutcome", second, 200, "2", "")},
	"conditional read": {create, {method: http.MethodGet, path: resource, header: `If-None-Match: W/"1"`, status: 304},
		{method: http.MethodGet, path: resource, header: `If-None-Match: W/"9"`, status: 200, version: "1"}},
	"HEAD":           {create, {method: http.MethodHead, path: resource, status: 200, version: "1"}},
	"history":        {create, put("", second, 200, "2", ""), remove, put("", first, 201, "4", ""), get(resource+"/_history", 200, "", "")},
	"no history":     {get(resource+"/_history", 404, "", "HAPI-2001"), get("/Patient/_history?_since=bogus", 400, "", "HAPI-1882")},
	"future history": {get("/Patient/_history?_since=2090-01-01T00:00:00Z", 200, "", "")},
	"other paths":    {get("/Foo", 404, "", "HAPI-0302"), get("", 400, "", "HAPI-0287"), create, get(resource+"/extra", 400, "", ""), {method: http.MethodOptions, path: resource, status: 400}},
	"bad searches": {get("/Patient?foo=bar", 400, "", "HAPI-0524"), get("/Patient?_lastUpdated=bogus", 400, "", "HAPI-1940"), get("/Patient?_sort=foo", 400, "", "HAPI-1194"),
		get("/Patient?_count=abc", 400, "", "HAPI-0375"), get("?_getpages=00000000-0000-0000-0000-000000000000&_getpagesoffset=5", 410, "", "HAPI-0417")},
	"search by id": {get("/Patient?_id={id}", 200, "", ""), create, get("/Patient?_id={id},fhirsim-nobody", 200, "", ""), get("/Patient?_id={id}&_summary=count", 200, "", ""),
		get("/Patient?_id={id}&_count=0", 200, "", ""), remove, get("/Patient?_id={id}&_total=accurate", 200, "", "")},
	"search by identifier": {put("", identified("{id}"), 201, "1", ""), get("/Patient?identifier=http://fhirsim.example|{id}", 200, "", ""),
		get("/Patient?identifier={id}", 200, "", ""), get("/Patient?identifier=http://other.example|{id}", 200, "", "")},
	"search by time": {create, get("/Patient?_id={id}&_lastUpdated=gt2020-01-01", 200, "", ""), get("/Patient?_id={id}&_lastUpdated=gt2090-01-01", 200, "", ""),
		get("/Patient?_id={id}&_lastUpdated=ge2020-01-01T00:00:00Z&_lastUpdated=lt2090", 200, "", ""), get("/Patient?_id={id}&_lastUpdated=lt2020", 200, "", "")},
	"pages": {create, member("-b"), member("-c"), get("/Patient?_id={id},{id}-b,{id}-c&_sort=_lastUpdated&_count=2", 200, "", ""), get("{next}", 200, "", ""),
		get("/Patient?_id={id},{id}-b,{id}-c&_sort=_lastUpdated&_count=2&_offset=1", 200, "", "")},
	"newest first": {create, member("-b"), put("", second, 200, "2", ""), get("/Patient?_id={id},{id}-b&_sort=-_lastUpdated", 200, "", "")},
}

func phoneOf(number string) string {
	return `{"resourceType":"Patient","id":"{id}","telecom":[{"system":"phone","value":"` + number + `"}]}`
}

func identified(value string) string {
	return `{"resourceType":"Patient","id":"{id}","identifier":[{"system":"http://fhirsim.example","value":"` + value + `"}]}`
}

// member creates a further patient of a script.
func member(suffix string) step {
	return step{method: http.MethodPut, path: resource + suffix, body: strings.ReplaceAll(first, "{id}", "{id}"+suffix), status: 201, version: "1"}
}

// likeHAPI starts a server with all of HAPI's habits.
func likeHAPI(t *testing.T) string {
	habits := HAPI()
	habits.DropsUnknown = true
	_, base := running(t, Options{Habits: habits})
	return base
}

// play runs a script and holds each answer against what the script says.
func play(t *testing.T, base, id string, script []step) []observation {
	t.Helper()
	var seen []observation
	next := ""
	for i, s := range script {
		var o observation
		o, link := observe(t, base, id, s, next)
		if link != "" {
			next = link
		}
		if o.Status != s.status || o.Version != s.version || o.Codes != s.codes {
			t.Errorf("step %d, %s %s: %d %q %q, want %d %q %q", i+1, s.method, s.path, o.Status, o.Version, o.Codes, s.status, s.version, s.codes)
		}
		seen = append(seen, o)
	}
	return seen
}

func TestAnswersAsHAPI(t *testing.T) {
	t.Parallel()
	base := likeHAPI(t)
	for name, script := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, base, "fhirsim-"+strings.NewReplacer(" ", "-", ",", "").Replace(name), script)
		})
	}
}

// TestRealHAPIAnswersTheSame plays every script to a real HAPI FHIR server
// (with the phone rule of request validation) and to this one: they must
// answer alike, resources and Bundles included.
func TestRealHAPIAnswersTheSame(t *testing.T) {
	t.Parallel()
	real := os.Getenv("TEST_FHIR_URL")
	if real == "" {
		t.Skip("TEST_FHIR_URL is not set: no HAPI FHIR server to compare with")
	}
	base := likeHAPI(t)
	stamp := time.Now().UnixMilli()
	n := 0
	for name, script := range scripts {
		n++
		id := fmt.Sprintf("fhirsim-%d-%d", stamp, n)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				for _, suffix := range []string{"", "-b", "-c"} {
					do(t, http.MethodDelete, real+"/Patient/"+id+suffix, "")
				}
			})
			if diff := cmp.Diff(play(t, real, id, script), play(t, base, id, script)); diff != "" {
				t.Errorf("HAPI (-) and fhirsim (+) differ:\n%s", diff)
			}
		})
	}
}
