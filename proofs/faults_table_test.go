package proofs_test

import (
	"net/http"
	"strings"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
)

const otherPhone = "010-5555-6666"

// fault is one way in which a conversation goes wrong, and what must come of
// it.
type fault struct {
	name   string
	server func() fhirsim.Habits // nil: HAPI's
	use    string                // an element that somebody else gives the patient before, for as long as the fault lasts
	on     string                // the method that it befalls
	times  int                   // how often; 0: until the answer is there
	apply  bool                  // the request is carried out all the same
	late   bool                  // or carried out when the caller has his answer
	reply  string                // see script.reply
	rival  string                // a phone that somebody else writes right after a PUT was carried out
	toxic  string                // or a toxic of toxiproxy, added when the PUT arrives
	before string                // or one added while the patient is being read
	lie    fhirsim.Fault         // or what the FHIR server itself does
	clinic func(*fhirsim.Clinic) // or what happens inside an OpenEMR
	when   string                // and when: "" before all, onPut as a PUT comes, stored before it is read again for its answer

	then        string // the reply to the reads after the first PUT; "": they go well
	thenTimes   int    // to how many of them; 0: until the answer is there
	thenHistory bool   // only to those of the history
	everywhere  bool   // the fault, and what comes then, befall a search for any patient too

	writes int    // how often it came into the record; 0: as the rest says
	want   string // SUCCESS, or the ErrorCode that the caller hears
	status int    // the httpStatus that he hears; 0: any
	told   string // the phone in a success; "": NewPhone
	ends   string // where that leaves the patient PENDING: the state of contactUpdate in the end
	cache  string // the phone in the cache in the end
	fhir   string // the phone on the FHIR server in the end
}

const (
	onGet, onPut   = http.MethodGet, http.MethodPut
	stored         = "stored"
	success        = "SUCCESS"
	unknown        = "FHIR_OUTCOME_UNKNOWN"
	applied, never = "APPLIED", "NOT_APPLIED"

	rejected, conflict, notSaved  = "FHIR_REJECTED", "UPDATE_CONFLICT", "FHIR_NOT_APPLIED"
	saidOK                        = "FHIR_OUTCOME_UNKNOWN, then FHIR_NOT_APPLIED"
	gone, authFailed, rateLimited = "FHIR_PATIENT_GONE", "FHIR_AUTH_FAILED", "FHIR_RATE_LIMITED"
	replaced, inactive            = "FHIR_PATIENT_REPLACED", "FHIR_PATIENT_INACTIVE"
	forbidden, unavailable        = "FHIR_FORBIDDEN", "FHIR_UNAVAILABLE"

	ownPhone = "01098765432" // NewPhone in a server's own form
)

// state is where contactUpdate stands in the end.
func (f fault) state() string {
	switch {
	case f.ends != "":
		return f.ends
	case f.want == success:
		return applied
	case f.want == conflict:
		return "CONFLICT"
	case f.want == rejected, f.want == notSaved, f.want == gone, f.want == replaced, f.want == inactive, f.want == forbidden:
		return "REJECTED"
	}
	return never
}

// faultTable holds what was thought of by hand; generated adds what befalls
// the answer to a PUT and the reads after it. Without versions there is no
// If-Match: a PUT is then sent once.
var faultTable = []fault{
	// The answer to a PUT that was carried out is lost or makes no sense.
	{name: "PUT, reset after", on: onPut, apply: true, reply: "reset", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, closed after", on: onPut, apply: true, reply: "close", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, half an answer", on: onPut, apply: true, reply: "half", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, no answer", on: onPut, apply: true, reply: "hang", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, HTML with 200", on: onPut, apply: true, reply: "html", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, empty 200", on: onPut, apply: true, reply: "empty", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, two JSON values", on: onPut, apply: true, reply: "two", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, duplicate keys", on: onPut, apply: true, reply: "duplicate", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, another patient", on: onPut, apply: true, reply: "stranger", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, an OperationOutcome with 200", on: onPut, apply: true, reply: "outcome", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, broken gzip", on: onPut, apply: true, reply: "gzip", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 10 MB", on: onPut, apply: true, reply: "huge", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 204", on: onPut, apply: true, reply: "204", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 202", on: onPut, apply: true, reply: "202", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 408 after", on: onPut, apply: true, reply: "408", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 429 after", on: onPut, apply: true, reply: "429", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 500 after", on: onPut, apply: true, reply: "500", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 502 after", on: onPut, apply: true, reply: "502", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 504 after", on: onPut, apply: true, reply: "504", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 409 after", on: onPut, apply: true, times: 1, reply: "409", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 201", on: onPut, apply: true, reply: "201", want: gone, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, reset after, UUID versions", server: fhirsim.Medplum, on: onPut, apply: true, reply: "reset", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, reset after, no versions", server: fhirsim.PlainR4, on: onPut, apply: true, reply: "reset", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 502 after, no versions", server: fhirsim.PlainR4, on: onPut, apply: true, reply: "502", want: success, cache: NewPhone, fhir: NewPhone},

	// The PUT is not carried out.
	{name: "PUT lost once", on: onPut, times: 1, reply: "reset", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT lost twice", on: onPut, times: 2, reply: "close", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT lost once, UUID versions", server: fhirsim.Medplum, on: onPut, times: 1, reply: "reset", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT lost", on: onPut, reply: "reset", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT lost, no versions", server: fhirsim.PlainR4, on: onPut, times: 1, reply: "reset", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT unanswered", on: onPut, reply: "hang", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT late", on: onPut, late: true, reply: "hang", want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},
	{name: "PUT late, no versions", server: fhirsim.PlainR4, on: onPut, late: true, reply: "hang", want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},
	{name: "PUT late, behind HTML with 200", on: onPut, late: true, reply: "html", want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},
	{name: "PUT late, behind HTML with 200, no versions", server: fhirsim.PlainR4, on: onPut, late: true, reply: "html", want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},
	{name: "PUT late, behind 502, UUID versions", server: fhirsim.Medplum, on: onPut, late: true, reply: "502", want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, HTML with 200, not saved", on: onPut, reply: "html", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 204, not saved", on: onPut, reply: "204", want: unknown, ends: "REJECTED", cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 204 that names the old version, not saved", on: onPut, reply: "204 old ETag", want: notSaved, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 204 that names the old version, not saved, UUID versions", server: fhirsim.Medplum, on: onPut, reply: "204 old ETag", want: notSaved, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 204 that names the old version", on: onPut, apply: true, reply: "204 old ETag", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, the old patient with 200, no versions", server: fhirsim.PlainR4, lie: fhirsim.Fault{On: onPut, Ignore: true}, want: notSaved, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, normalised, and the answer lost", on: onPut, apply: true, reply: "reset", lie: fhirsim.Fault{On: onPut, Store: cutPhone}, want: notSaved, cache: "010-9876", fhir: "010-9876"},
	{name: "PUT, 400", on: onPut, reply: "400", want: rejected, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 401", on: onPut, reply: "401", want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 403", on: onPut, reply: "403", want: forbidden, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 403 that speaks of the token", on: onPut, reply: "403 scope", want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 404", on: onPut, reply: "404", want: gone, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 410", on: onPut, reply: "410", want: gone, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 409, version unmoved", on: onPut, reply: "409", want: rejected, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 412, version unmoved", on: onPut, reply: "412", want: rejected, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 412, no versions", server: fhirsim.PlainR4, on: onPut, reply: "412", want: rejected, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, busy once", on: onPut, times: 1, reply: "409 lock", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, busy twice", on: onPut, times: 2, reply: "412 lock", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, busy twice, UUID versions", server: fhirsim.Medplum, on: onPut, times: 2, reply: "409 empty", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, busy twice, no versions", server: fhirsim.PlainR4, on: onPut, times: 2, reply: "409 lock", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, busy", on: onPut, reply: "409 lock", want: unavailable, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, busy, with Retry-After", on: onPut, times: 1, reply: "409 later", want: unavailable, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 422", on: onPut, reply: "422", want: rejected, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 429", on: onPut, reply: "429", want: rateLimited, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 500", on: onPut, reply: "500", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 503 with Retry-After", on: onPut, reply: "503", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 503, no versions", server: fhirsim.PlainR4, on: onPut, reply: "503", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 502 once", on: onPut, times: 1, reply: "502", want: success, cache: NewPhone, fhir: NewPhone},

	// The PUT was carried out, and somebody else has written since: the history
	// tells that ours landed.
	{name: "PUT, 409 once after, overwritten", on: onPut, apply: true, times: 1, reply: "409", rival: otherPhone, want: success, cache: otherPhone, fhir: otherPhone},
	{name: "PUT, 412 once after, overwritten, UUID versions", server: fhirsim.Medplum, on: onPut, apply: true, times: 1, reply: "412", rival: otherPhone, want: success, cache: otherPhone, fhir: otherPhone},
	{name: "PUT, 422 after, overwritten", on: onPut, apply: true, reply: "422", rival: otherPhone, want: success, cache: otherPhone, fhir: otherPhone},
	{name: "PUT, reset after, overwritten", on: onPut, apply: true, reply: "reset", rival: otherPhone, want: success, cache: otherPhone, fhir: otherPhone},
	{name: "PUT, 204, overwritten", on: onPut, apply: true, reply: "204", rival: otherPhone, want: success, cache: otherPhone, fhir: otherPhone},
	{name: "PUT, 409 after, overwritten, history reset twice", on: onPut, apply: true, reply: "409", rival: otherPhone, then: "reset", thenTimes: 2, thenHistory: true, want: success, cache: otherPhone, fhir: otherPhone},
	{name: "PUT, 409 after, overwritten, history reset", on: onPut, apply: true, reply: "409", rival: otherPhone, then: "reset", thenHistory: true, want: unknown, ends: applied, cache: otherPhone, fhir: otherPhone},
	{name: "PUT, 502 after, overwritten, history reset", on: onPut, apply: true, reply: "502", rival: otherPhone, then: "reset", thenHistory: true, want: unknown, ends: applied, cache: otherPhone, fhir: otherPhone},
	{name: "PUT, 409 after, history reset", on: onPut, apply: true, reply: "409", then: "reset", thenHistory: true, want: success, cache: NewPhone, fhir: NewPhone}, // what the patient shows is enough
	{name: "PUT, HTML with 201, overwritten, reads reset", on: onPut, apply: true, reply: "201 html", rival: otherPhone, then: "reset", want: gone, status: http.StatusCreated, ends: "REJECTED", cache: otherPhone, fhir: otherPhone},

	// The reads after a refusal are refused too: only a refusal that says the
	// same holds.
	{name: "PUT, 401, then reads 401", on: onPut, reply: "401", then: "401", want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 403, then reads 401", on: onPut, reply: "403", then: "401", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 403, then reads 403", on: onPut, reply: "403", then: "403", want: forbidden, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 403, then reads 403, of all patients", on: onPut, reply: "403", then: "403", everywhere: true, want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 409 busy, then reads 401", on: onPut, reply: "409 lock", then: "401", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 409 busy, then reads 410", on: onPut, reply: "409 lock", then: "410", want: gone, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 401, then reads 401, no versions", server: fhirsim.PlainR4, on: onPut, reply: "401", then: "401", want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 400, then reads 401", on: onPut, reply: "400", then: "401", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 409, then reads 401", on: onPut, reply: "409", then: "401", want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 502 after, then reads 401", on: onPut, apply: true, reply: "502", then: "401", want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},
	{name: "PUT, 404, then reads 410", on: onPut, reply: "404", then: "410", want: gone, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 410, then reads 410", on: onPut, reply: "410", then: "410", want: gone, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 409, then reads 410", on: onPut, reply: "409", then: "410", want: gone, cache: OldPhone, fhir: OldPhone},
	{name: "PUT, 404, then reads 404, UUID versions", server: fhirsim.Medplum, on: onPut, reply: "404", then: "404", want: gone, cache: OldPhone, fhir: OldPhone},

	// The patient cannot be read: nothing is sent.
	{name: "GET reset", on: onGet, reply: "reset", want: "FHIR_UNAVAILABLE", cache: OldPhone, fhir: OldPhone},
	{name: "GET reset once", on: onGet, times: 1, reply: "reset", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "GET 500 twice", on: onGet, times: 2, reply: "500", want: success, cache: NewPhone, fhir: NewPhone},
	{name: "GET unanswered", on: onGet, reply: "hang", want: "FHIR_TIMEOUT", cache: OldPhone, fhir: OldPhone},
	{name: "GET half an answer", on: onGet, reply: "half", want: "FHIR_UNAVAILABLE", cache: OldPhone, fhir: OldPhone},
	{name: "GET HTML", on: onGet, reply: "html", want: "FHIR_UNAVAILABLE", cache: OldPhone, fhir: OldPhone},
	{name: "GET 401", on: onGet, reply: "401", want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "GET 403", on: onGet, reply: "403", want: forbidden, cache: OldPhone, fhir: OldPhone},
	{name: "GET 403 of all patients", on: onGet, reply: "403", everywhere: true, want: authFailed, cache: OldPhone, fhir: OldPhone},
	{name: "GET 404", on: onGet, reply: "404", want: gone, cache: OldPhone, fhir: OldPhone},
	{name: "GET 429", on: onGet, reply: "429", want: rateLimited, cache: OldPhone, fhir: OldPhone},
	{name: "GET 503 with Retry-After", on: onGet, reply: "503", want: "FHIR_UNAVAILABLE", cache: OldPhone, fhir: OldPhone},

	// The record is out of use by now: nothing is sent.
	{name: "merged", use: mergedAway, want: replaced, cache: OldPhone, fhir: OldPhone},
	{name: "merged, UUID versions", server: fhirsim.Medplum, use: mergedAway, want: replaced, cache: OldPhone, fhir: OldPhone},
	{name: "merged, no versions", server: fhirsim.PlainR4, use: mergedAway, want: replaced, cache: OldPhone, fhir: OldPhone},
	{name: "merged, GET reset once", use: mergedAway, on: onGet, times: 1, reply: "reset", want: replaced, cache: OldPhone, fhir: OldPhone},
	{name: "inactive", use: notActive, want: inactive, cache: OldPhone, fhir: OldPhone},
	{name: "inactive, no versions", server: fhirsim.PlainR4, use: notActive, want: inactive, cache: OldPhone, fhir: OldPhone},

	// Toxics on the wire.
	{name: "toxiproxy: down", before: "down", want: "FHIR_UNAVAILABLE", cache: OldPhone, fhir: OldPhone},
	{name: "toxiproxy: reset_peer on the answer", toxic: `{"name":"t","type":"reset_peer","stream":"downstream","attributes":{"timeout":0}}`, want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},
	{name: "toxiproxy: the answer cut after 100 bytes", toxic: `{"name":"t","type":"limit_data","stream":"downstream","attributes":{"bytes":100}}`, want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},
	{name: "toxiproxy: the answer never comes", toxic: `{"name":"t","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`, want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},
	{name: "toxiproxy: the answer is slow", toxic: `{"name":"t","type":"latency","stream":"downstream","attributes":{"latency":5000}}`, want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},
	{name: "toxiproxy: slow_close", toxic: `{"name":"t","type":"slow_close","stream":"downstream","attributes":{"delay":100}}`, want: success, cache: NewPhone, fhir: NewPhone},
	{name: "toxiproxy: the PUT cut after 200 bytes", before: `{"name":"t","type":"limit_data","stream":"upstream","attributes":{"bytes":200}}`, want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "toxiproxy: reset_peer on the PUT", before: `{"name":"t","type":"reset_peer","stream":"upstream","attributes":{"timeout":0}}`, want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "toxiproxy: the PUT gets nowhere", before: `{"name":"t","type":"timeout","stream":"upstream","attributes":{"timeout":0}}`, want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "toxiproxy: the PUT gets nowhere, no versions", server: fhirsim.PlainR4, before: `{"name":"t","type":"timeout","stream":"upstream","attributes":{"timeout":0}}`, want: unknown, ends: never, cache: OldPhone, fhir: OldPhone},
	{name: "toxiproxy: the PUT is held up, then arrives", before: `{"name":"t","type":"bandwidth","stream":"upstream","attributes":{"rate":0}}`, want: unknown, ends: applied, cache: NewPhone, fhir: NewPhone},

	// The FHIR server says 200 and does something else, or somebody else writes.
	{name: "200, nothing saved", lie: fhirsim.Fault{On: onPut, Ignore: true}, want: notSaved, cache: OldPhone, fhir: OldPhone},
	{name: "200, the value cut", lie: fhirsim.Fault{On: onPut, Store: cutPhone}, want: notSaved, cache: "010-9876", fhir: "010-9876"},
	{name: "200, the value cut, no versions", server: fhirsim.PlainR4, lie: fhirsim.Fault{On: onPut, Store: cutPhone}, want: notSaved, cache: "010-9876", fhir: "010-9876"},
	{name: "200, in a form of its own", lie: fhirsim.Fault{On: onPut, Store: ownForm}, want: success, told: ownPhone, cache: ownPhone, fhir: ownPhone},
	{name: "200, in a form of its own, UUID versions", server: fhirsim.Medplum, lie: fhirsim.Fault{On: onPut, Store: ownForm}, want: success, told: ownPhone, cache: ownPhone, fhir: ownPhone},
	{name: "200, in a form of its own, no versions", server: fhirsim.PlainR4, lie: fhirsim.Fault{On: onPut, Store: ownForm}, want: success, told: ownPhone, cache: ownPhone, fhir: ownPhone},
	{name: "PUT, in a form of its own, and the answer lost", on: onPut, apply: true, reply: "reset", lie: fhirsim.Fault{On: onPut, Store: ownForm}, want: success, told: ownPhone, cache: ownPhone, fhir: ownPhone},
	{name: "PUT, in a form of its own, and 422", on: onPut, apply: true, reply: "422", lie: fhirsim.Fault{On: onPut, Store: ownForm}, want: success, told: ownPhone, cache: ownPhone, fhir: ownPhone},
	{name: "PUT, in a form of its own, overwritten", on: onPut, apply: true, reply: "reset", rival: otherPhone, lie: fhirsim.Fault{On: onPut, Store: ownForm}, want: success, told: ownPhone, cache: otherPhone, fhir: otherPhone},
	{name: "PUT, in a form of its own, reads reset", on: onPut, apply: true, reply: "502", then: "reset", lie: fhirsim.Fault{On: onPut, Store: ownForm}, want: unknown, ends: applied, told: ownPhone, cache: ownPhone, fhir: ownPhone},
	{name: "somebody else was quicker once", lie: fhirsim.Fault{On: onPut, Compete: true, Times: 1}, want: success, cache: NewPhone, fhir: NewPhone},
	{name: "somebody else is always quicker", lie: fhirsim.Fault{On: onPut, Compete: true}, want: conflict, cache: OldPhone, fhir: OldPhone},
	{name: "somebody else was quicker, UUID versions", server: fhirsim.Medplum, lie: fhirsim.Fault{On: onPut, Compete: true, Times: 1}, want: success, cache: NewPhone, fhir: NewPhone},
	{name: "somebody else was quicker, and the answer is lost", on: onPut, apply: true, reply: "close", lie: fhirsim.Fault{On: onPut, Compete: true, Times: 1}, want: success, cache: NewPhone, fhir: NewPhone},
}

// What a record has that is out of use.
const (
	mergedAway = `"link":[{"type":"replaced-by","other":{"reference":"Patient/a2"}}]`
	notActive  = `"active":false`
)

// cutPhone stores what a short column would.
func cutPhone(_, body []byte) []byte {
	return []byte(strings.Replace(string(body), NewPhone, "010-9876", 1))
}

// ownForm stores phones as digits alone.
func ownForm(_, body []byte) []byte {
	return []byte(strings.Replace(string(body), NewPhone, ownPhone, 1))
}
