package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// of returns v with a patient claim that holds these numbers.
func of(v Viewer, patients ...string) Viewer {
	v.PatientClaim, v.PatientIDs = patients, patients
	return v
}

// tokenFrom signs claims that are good for an hour.
func tokenFrom(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, testSecret, "", with(claims, "exp", testStart.Add(time.Hour).Unix()))
}

// TestWhomATokenNames reads the patient claim in the shapes that issuers give it.
func TestWhomATokenNames(t *testing.T) {
	t.Parallel()
	keycloak := Config{RoleClaim: "realm_access.roles", PatientClaim: "attributes.patient_id"}
	entra := Config{RoleClaim: "roles", PatientClaim: "extn.patientNumbers"}
	most := make([]string, maxPatients)
	for n := range most {
		most[n] = fmt.Sprintf("88-%04d", n)
	}
	for name, c := range map[string]struct {
		config Config
		claims jwt.MapClaims
		want   []string
	}{
		"a text":                     {Config{}, jwt.MapClaims{"patient_id": "88-3001"}, []string{"88-3001"}},
		"a list":                     {Config{}, jwt.MapClaims{"patient_id": []string{"88-3002", "88-3001"}}, []string{"88-3001", "88-3002"}},
		"a list of one":              {Config{}, jwt.MapClaims{"patient_id": []string{"88-3001"}}, []string{"88-3001"}},
		"one twice":                  {Config{}, jwt.MapClaims{"patient_id": []string{"환자-2", "환자-1", "환자-2"}}, []string{"환자-1", "환자-2"}},
		"null and empty in it":       {Config{}, jwt.MapClaims{"patient_id": []any{"", nil, "88-3001", ""}}, []string{"88-3001"}},
		"as many as may be":          {Config{}, jwt.MapClaims{"patient_id": most}, most},
		"null":                       {Config{}, jwt.MapClaims{"patient_id": nil}, nil},
		"empty":                      {Config{}, jwt.MapClaims{"patient_id": ""}, nil},
		"an empty list":              {Config{}, jwt.MapClaims{"patient_id": []string{}}, nil},
		"a list of nobody":           {Config{}, jwt.MapClaims{"patient_id": []any{nil, ""}}, nil},
		"none":                       {Config{}, jwt.MapClaims{}, nil},
		"two in one text":            {Config{}, jwt.MapClaims{"patient_id": "88-3001,88-3002"}, []string{"88-3001,88-3002"}},
		"Keycloak":                   {keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"offline_access", "default-roles-clinic", "patient"}}, "attributes": map[string]any{"patient_id": []string{"7", "12"}}}, []string{"12", "7"}},
		"Keycloak, the path in one":  {keycloak, jwt.MapClaims{"realm_access.roles": []string{"patient"}, "attributes.patient_id": "7"}, []string{"7"}},
		"Keycloak, objects in lists": {keycloak, jwt.MapClaims{"realm_access": map[string]any{"roles": []string{"patient"}}, "attributes": []any{map[string]any{"patient_id": "7"}}}, nil},
		"Entra ID":                   {entra, jwt.MapClaims{"roles": []string{"User.Read", "patient"}, "extn.patientNumbers": []string{"A-1", "A-2"}}, []string{"A-1", "A-2"}},
		"a claim of a namespace":     {Config{PatientClaim: "https://clinic.example/patients"}, jwt.MapClaims{"https://clinic.example/patients": []string{"x"}}, []string{"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config.Secret = testSecret
			if c.config.RoleClaim == "" {
				c.claims["role"] = "patient"
			}
			v, _ := newTestVerifier(t, c.config)
			token := tokenFrom(t, c.claims)
			for range 2 { // the second may come from the cache
				if got := verifyOK(t, v, token); got.Role != RolePatient || !slices.Equal(got.PatientIDs, c.want) || !slices.Equal(got.PatientClaim, c.want) {
					t.Errorf("Verify = %+v, want %q", got, c.want)
				}
			}
		})
	}
}

// TestPatientClaimsThatCannotBeRead: who depends on the claim is refused and told
// why; of staff it changes nothing.
func TestPatientClaimsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	const shape, many = "the patient claim of the token is neither a text nor a list of texts", "the patient claim of the token lists more than 100 patients"
	tooMany := make([]string, maxPatients+1)
	for name, c := range map[string]struct {
		claim  any
		reason string
	}{
		"a number":             {5, shape},
		"true":                 {true, shape},
		"an object":            {map[string]any{"id": "88-3001"}, shape},
		"a number in a list":   {[]any{"88-3001", 3002}, shape},
		"true in a list":       {[]any{true}, shape},
		"a list in a list":     {[]any{"88-3001", []any{"88-3002"}}, shape},
		"an object in a list":  {[]any{map[string]any{"value": "88-3001"}}, shape},
		"one more than may be": {tooMany, many},
		"many numbers":         {make([]int, 1000), many},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, _ := newTestVerifier(t, Config{Secret: testSecret})
			for _, claims := range []jwt.MapClaims{
				{"role": "patient"},
				{"role": []string{"x", "patient"}, "scope": "patient/Patient.rs"},
				{"role": "doctor", "scope": "patient/Patient.rs"},
				{"role": "admin", "scope": "patient/Patient.u user/Patient.rs"},
			} {
				token := tokenFrom(t, with(claims, "patient_id", c.claim))
				if got, err := v.Verify(t.Context(), token); !errors.Is(err, ErrInvalidToken) || !reflect.DeepEqual(got, Viewer{}) {
					t.Errorf("%v: Verify = %+v, %v", claims, got, err)
				}
				wantRefused(t, v, token, c.reason)
			}
			for _, claims := range []jwt.MapClaims{
				{"role": "doctor"}, {"role": "janitor"}, {}, {"role": "admin", "scope": "user/Patient.rs"}, {"role": "patient", "scope": "patient/Immunization.rs"},
			} {
				if got := verifyOK(t, v, tokenFrom(t, with(claims, "patient_id", c.claim))); len(got.PatientClaim)+len(got.PatientIDs) > 0 {
					t.Errorf("%v: Verify = %+v", claims, got)
				}
			}
		})
	}
	v, _ := newTestVerifier(t, Config{Secret: testSecret})
	wantRefused(t, v, tokenFrom(t, jwt.MapClaims{"role": "patient", "patient_id": make([]string, 10_000)}), "the token is longer than 16384 bytes")
	wantRefused(t, v, tokenFrom(t, jwt.MapClaims{"role": "admin", "scope": strings.Repeat("user/Patient.rs ", 1<<20/16)}), "the token is longer than 16384 bytes")
}

// wantRefused fails unless a request with this token hears 401 and the reason.
func wantRefused(t *testing.T, v *Verifier, token, reason string) {
	t.Helper()
	r, w := httptest.NewRequest(http.MethodPost, "/graphql", nil), httptest.NewRecorder()
	r.Header.Set("Authorization", "Bearer "+token)
	v.Middleware(refused)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("let through") })).ServeHTTP(w, r)
	checkUnauthenticated(t, w, `Bearer error="invalid_token", error_description="`+reason+`"`)
	if !strings.Contains(w.Body.String(), reason) {
		t.Errorf("body = %s", w.Body)
	}
}

// TestActor: the journal remembers actors, so their names must never change.
func TestActor(t *testing.T) {
	t.Parallel()
	v, _ := newTestVerifier(t, Config{Secret: testSecret})
	actor := func(claim any) string {
		return verifyOK(t, v, tokenFrom(t, jwt.MapClaims{"role": "patient", "patient_id": claim})).Actor()
	}
	for name, c := range map[string]struct {
		claim any
		want  string
	}{
		"nobody":                  {nil, `["patient","",""]`},
		"one":                     {"P-1", `["patient","P-1",""]`},
		"a list of one":           {[]string{"P-1"}, `["patient","P-1",""]`},
		"two":                     {[]string{"P-1", "P-2"}, `["patient",["P-1","P-2"],""]`},
		"in any order":            {[]any{"P-2", nil, "P-1", "P-2"}, `["patient",["P-1","P-2"],""]`},
		"one that looks like two": {`P-1","P-2`, `["patient","P-1\",\"P-2",""]`},
	} {
		if got := actor(c.claim); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	var many []string
	for n := range maxPatients {
		many = append(many, fmt.Sprintf("%036d", n))
	}
	first := actor(many)
	slices.Reverse(many)
	if again := actor(many); len(first) != 64 || again != first || actor(many[1:]) == first {
		t.Errorf("a hundred patients: %s, in another order %s", first, again)
	}
	// With a subject it does not matter whom the token names: another child is born.
	for _, claim := range []any{nil, "P-1", []string{"P-1", "P-2"}} {
		if got := verifyOK(t, v, tokenFrom(t, jwt.MapClaims{"sub": "u <1>", "role": "patient", "patient_id": claim})).Actor(); got != `["patient","","u \u003c1\u003e"]` {
			t.Errorf("of %v: %s", claim, got)
		}
	}
	// Of a token with FHIR ids it is made of these, whoever has them now.
	fhir, _ := newTestVerifier(t, Config{Secret: testSecret, FHIRPatientClaim: true})
	viewer := verifyOK(t, fhir, tokenFrom(t, jwt.MapClaims{"role": "patient", "patient_id": []string{"b", "a"}}))
	before := viewer.Actor()
	if viewer.PatientIDs = []string{"P-1"}; before != `["patient",["a","b"],""]` || viewer.Actor() != before {
		t.Errorf("%s, then %s", before, viewer.Actor())
	}
}

// TestFHIRIDsAreNoNumbers: before they are looked up they cover nobody.
func TestFHIRIDsAreNoNumbers(t *testing.T) {
	t.Parallel()
	v, _ := newTestVerifier(t, Config{Secret: testSecret, PatientClaim: "patient", FHIRPatientClaim: true})
	for _, role := range []string{"patient", "admin"} {
		viewer := verifyOK(t, v, tokenFrom(t, jwt.MapClaims{"role": role, "patient": "okoro-fhir-3001", "scope": "patient/*.*"}))
		if got := mayDo(viewer, "okoro-fhir-3001") + mayDo(viewer, ""); got != "" || viewer.MayAsk() || !viewer.NeedsPatients() {
			t.Errorf("%s may do %q, %+v", role, got, viewer)
		}
		viewer.PatientIDs = []string{"88-3001"}
		if got := mayDo(viewer, "88-3001"); !strings.HasPrefix(got, "rlce") || mayDo(viewer, "okoro-fhir-3001")+mayDo(viewer, "88-3002") != "" || !viewer.MayAsk() {
			t.Errorf("%s may do %q, %+v", role, got, viewer)
		}
	}
}

// TestParentsAndCarers: each patient of the list is as the only one is.
func TestParentsAndCarers(t *testing.T) {
	t.Parallel()
	family := []string{"88-3001", "88-3002", "88-3003"}
	for _, r := range roleRights {
		for _, s := range scopeRights {
			grants := grantsOf(map[string]any{"scope": s.scope})
			one, three := of(Viewer{Role: r.role, grants: grants}, "88-3001"), of(Viewer{Role: r.role, grants: grants}, family...)
			for _, id := range family {
				if got, want := mayDo(three, id), mayDo(one, "88-3001"); got != want {
					t.Errorf("role %q with scopes %q may do %q with %s, want %q", r.role, s.scope, got, id, want)
				}
			}
			for _, id := range []string{"88-3004", "", "88-3001,88-3002", "88-300"} {
				if got, want := mayDo(three, id), mayDo(one, id); got != want {
					t.Errorf("role %q with scopes %q may do %q with %s, want %q", r.role, s.scope, got, id, want)
				}
			}
			if three.MayAsk() != one.MayAsk() || three.MayListAll() != one.MayListAll() {
				t.Errorf("role %q with scopes %q: MayAsk %v, MayListAll %v", r.role, s.scope, three.MayAsk(), three.MayListAll())
			}
		}
	}
}

// TestNeedsPatients: exactly those whose patients change what they may do.
func TestNeedsPatients(t *testing.T) {
	t.Parallel()
	for _, r := range roleRights {
		for _, s := range scopeRights {
			v := Viewer{Role: r.role, grants: grantsOf(map[string]any{"scope": s.scope})}
			without, with := mayDo(v, "88-3001"), mayDo(of(v, "88-3001"), "88-3001")
			if v.NeedsPatients() != (without != with) {
				t.Errorf("role %q with scopes %q may do %q, with its patient %q: NeedsPatients = %v", r.role, s.scope, without, with, v.NeedsPatients())
			}
		}
	}
}

// FuzzPatientClaim holds that a claim names only whom it spells out, in one order,
// and that nobody is let in whose claim was cut short.
func FuzzPatientClaim(f *testing.F) {
	for _, seed := range []string{`"88-3001"`, `["b","a","b"]`, `[null,"",5]`, `{}`, `[[]]`, `5`, `[` + strings.Repeat(`"x",`, 200) + `"y"]`, `["\ud800"]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var claim any
		if json.Unmarshal([]byte(text), &claim) != nil {
			return
		}
		got, err := patientsOf(claim)
		if err != nil {
			if !errors.Is(err, ErrInvalidToken) || got != nil {
				t.Fatalf("%q, %v", got, err)
			}
			return
		}
		list, isList := claim.([]any)
		if !isList && claim != nil {
			list = []any{claim}
		}
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) || slices.Contains(got, "") {
			t.Fatalf("%s: %q", text, got)
		}
		for _, id := range got {
			if !slices.Contains(list, any(id)) {
				t.Fatalf("%s: %q is not in it", text, id)
			}
		}
		for _, element := range list {
			if id, isText := element.(string); element != nil && (!isText || id != "" && !slices.Contains(got, id)) {
				t.Fatalf("%s: %q lacks %v", text, got, element)
			}
		}
	})
}
