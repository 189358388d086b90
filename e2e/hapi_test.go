package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
)

// fromHAPI reads a patient around the product, without its meta.
func fromHAPI(t *testing.T, hapi *HAPIServer, id string) map[string]any {
	t.Helper()
	stored, err := hapi.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return DecodeWithoutMeta(t, string(stored))
}

// leaves flattens a resource into "telecom[0].value" → value.
func leaves(prefix string, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			leaves(strings.TrimPrefix(prefix+"."+key, "."), value, into)
		}
	case []any:
		for i, value := range v {
			leaves(fmt.Sprintf("%s[%d]", prefix, i), value, into)
		}
	default:
		into[prefix] = fmt.Sprint(v)
	}
}

// changes lists the leaves that differ, sorted.
func changes(before, after map[string]any) []string {
	was, is := map[string]string{}, map[string]string{}
	leaves("", before, was)
	leaves("", after, is)
	var changed []string
	for path, value := range is {
		if was[path] != value {
			changed = append(changed, path)
		}
		delete(was, path)
	}
	for path := range was {
		changed = append(changed, path)
	}
	slices.Sort(changed)
	return changed
}

// TestHAPIEveryPatient updates phone, email and address of each of the 120
// patients: HAPI then differs in exactly what was asked and what described the old
// place, and the cache agrees.
func TestHAPIEveryPatient(t *testing.T) {
	hapi := HAPI(t)
	ndjson, err := os.ReadFile("testdata/synthea-patients.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	test := func(t *testing.T, databaseURL string) {
		out, err := Import(t, databaseURL, string(ndjson), "PATIENT_ID_SYSTEM=http://hospital.smarthealthit.org")
		if err != nil || !strings.Contains(out, "120 new") {
			t.Fatalf("import: %v\n%s", err, out)
		}
		p := StartWith(t, hapi.URL, databaseURL, "FHIR_TIMEOUT=30s")
		stamp := time.Now().UnixNano() / 1000 % 10_000_000
		for i, line := range strings.Split(strings.TrimSpace(string(ndjson)), "\n") {
			var patient struct{ ID string }
			if err := json.Unmarshal([]byte(line), &patient); err != nil {
				t.Fatal(err)
			}
			id := patient.ID // these records carry their FHIR id as the hospital's number
			phone, email := fmt.Sprintf("555-%07d", (stamp+int64(i))%10_000_000), fmt.Sprintf("p%d@example.org", stamp+int64(i))
			address := Object{"lines": []string{fmt.Sprint(stamp, " 세종대로")}, "city": "서울", "postalCode": "04524", "country": "KR"}

			if err := hapi.Put(line); err != nil { // at home in the United States again
				t.Fatal(err)
			}
			before := fromHAPI(t, hapi, id)
			Want(t, p.Update(Object{"patientId": id, "phone": phone}), Object{"__typename": "UpdatePatientContactSuccess", "patient.syncState": "SYNCED"})
			afterPhone := fromHAPI(t, hapi, id)
			wantOnly(t, changes(before, afterPhone), `telecom[0].value`)

			Want(t, p.Update(Object{"patientId": id, "email": email}), Object{"__typename": "UpdatePatientContactSuccess"})
			afterEmail := fromHAPI(t, hapi, id)
			wantOnly(t, changes(afterPhone, afterEmail), "telecom[1].system", "telecom[1].value")

			Want(t, p.Update(Object{"patientId": id, "address": address}), Object{"__typename": "UpdatePatientContactSuccess"})
			afterAddress := fromHAPI(t, hapi, id)
			// Kansas City's coordinates do not survive a move to Seoul.
			coordinates := []string{"address[0].extension[0].url"}
			for i := range 2 {
				part := fmt.Sprintf("address[0].extension[0].extension[%d].", i)
				coordinates = append(coordinates, part+"url", part+"valueDecimal")
			}
			moved := changes(afterEmail, afterAddress)
			wantOnly(t, moved, append(coordinates, "address[0].city", "address[0].country", "address[0].line[0]", "address[0].postalCode", "address[0].state")...)
			for _, path := range coordinates {
				if !slices.Contains(moved, path) {
					t.Errorf("%s of the old place is left", path)
				}
			}

			Want(t, p.Patient(id), Object{"phone": phone, "email": email, "address.city": "서울", "address.lines": address["lines"], "fhirId": id})
		}
	}
	t.Run("sqlite", func(t *testing.T) { test(t, dbtest.SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, dbtest.Postgres(t)) })
}

// wantOnly fails if a path changed that is not allowed, or nothing did.
func wantOnly(t *testing.T, changed []string, allowed ...string) {
	t.Helper()
	for _, path := range changed {
		if !slices.Contains(allowed, path) {
			t.Errorf("HAPI's resource changed at %s; allowed: %v", path, allowed)
		}
	}
	if len(changed) == 0 {
		t.Error("HAPI's resource did not change")
	}
}

// TestHAPIRejectionAndOutage has HAPI reject a phone, and then be gone.
func TestHAPIRejectionAndOutage(t *testing.T) {
	hapi := HAPI(t)
	target, err := url.Parse(hapi.URL)
	if err != nil {
		t.Fatal(err)
	}
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		id := strings.ToLower("product-" + strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
		if err := hapi.Put(PatientJSON(id, Number)); err != nil {
			t.Fatal(err)
		}
		MustImport(t, databaseURL, PatientJSON(id, Number))
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		proxy := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host}) }}}
		go func() { _ = proxy.Serve(listener) }()
		p := StartWith(t, "http://"+listener.Addr().String()+target.Path, databaseURL, "FHIR_TIMEOUT=30s")
		cached, stored := p.Patient(Number), fromHAPI(t, hapi, id)

		Want(t, p.Update(Object{"patientId": Number, "phone": "invalid-phone"}), Object{
			"__typename": "FhirRejected", "message": "Invalid phone format", "httpStatus": 422, "code": "FHIR_REJECTED",
		})
		Want(t, p.Patient(Number), cached)
		if changed := changes(stored, fromHAPI(t, hapi, id)); len(changed) > 0 {
			t.Errorf("HAPI's resource changed at %v", changed)
		}

		if err := proxy.Close(); err != nil {
			t.Fatal(err)
		}
		Want(t, p.Update(Object{"patientId": Number, "phone": "010-9876-5432"}), Object{
			"__typename": "FhirUnavailable", "applied": "NO", "detail": "Connection refused",
		})
		Want(t, p.Patient(Number), cached)
	})
}
