package auth

import (
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// wantGrants fails unless a token with this scope, in whatever way it is written,
// has these grants.
func wantGrants(t *testing.T, scope string, want grants) {
	t.Helper()
	for name, claims := range map[string]map[string]any{
		"scope":         {"scope": scope},
		"scp":           {"scp": scope},
		"a list":        {"scope": []any{scope}},
		"a list in scp": {"scp": strings2any(strings.Split(scope, " "))},
		"both":          {"scope": "openid", "scp": []any{scope}},
	} {
		if got := grantsOf(claims); got != want {
			t.Errorf("%q as %s: %+v, want %+v", scope, name, got, want)
		}
	}
}

// grantNothing are the grants of a token with scopes of which none is for patients
// here.
var grantNothing = grants{restricted: true}

func TestScopes(t *testing.T) {
	t.Parallel()
	for scope, want := range map[string]grants{
		"": {},
		"openid profile fhirUser launch launch/patient offline_access": {},
		"api:system profile/user":                                      {},
		"patient/Patient.read":                                         {true, own, own, nobody},
		"patient/*.read":                                               {true, own, own, nobody},
		"patient/Patient.write":                                        {true, nobody, nobody, own},
		"user/Patient.*":                                               {true, all, all, all},
		"user/*.*":                                                     {true, all, all, all},
		"system/*.write":                                               {true, nobody, nobody, all},
		"patient/Patient.r":                                            {true, own, nobody, nobody},
		"patient/Patient.s":                                            {true, nobody, own, nobody},
		"user/Patient.rs":                                              {true, all, all, nobody},
		"user/Patient.u":                                               {true, nobody, nobody, all},
		"user/*.cruds":                                                 {true, all, all, all},
		"user/Patient.cds":                                             {true, nobody, all, nobody},
		"openid patient/Patient.rs user/Patient.u":                     {true, own, own, all},
		"user/Patient.read patient/Patient.read":                       {true, all, all, nobody},
		"  patient/Patient.r   launch/patient ":                        {true, own, nobody, nobody},
		"user/Patient.read user/Encounter.write":                       {true, all, all, nobody},
		"User.Read user.read":                                          {}, // of Microsoft Graph
		"user.Patient.read":                                            {true, all, all, nobody},
		"patient-*.read":                                               {true, own, own, nobody},
		"patient.Patient.u":                                            {true, nobody, nobody, own},
	} {
		wantGrants(t, scope, want)
	}
}

func TestScopesThatGrantNothing(t *testing.T) {
	t.Parallel()
	for _, scope := range []string{
		"https://issuer.example/user/Patient.read",
		"api://x/user.Patient.read",
		"user:Patient.read",
		"user\\Patient.read",
		"patient%2FPatient.read",
		"patient\uff0fPatient.read",
		"user.Encounter.read",
		"issuer:user/Patient.rs",
		"user/Patient.cd",
		"patient/Immunization.rs",
		"patient/PatientX.rs user/Person.read",
		// A query covers a part of the patients: nobody can tell which here.
		"user/Patient.rs?gender=female",
		"user/*.cruds?_security=x",
		"user/Patient.read?x=y",
		"user/Patient.rs?",
		// What is not written as it should be grants nothing, and is no reason
		// to take the token for an unrestricted one.
		"user/Patient.sr",
		"user/Patient.rr",
		"user/Patient.",
		"user/Patient",
		"user/",
		"user/*",
		"user/.read",
		"user/Patient.READ",
		"user/patient.read",
		"USER/Patient.read",
		"User/Patient.rs",
		"user/Patient.read,patient/Patient.read",
		"openid,user/Patient.read",
		"openid\tuser/Patient.read",
		"openid\u00a0user/Patient.read",
		"openid\nuser/Patient.rs",
		"user/Patient.rs\n",
		`"user/Patient.rs"`,
		"[user/Patient.rs]",
		"user/Patient.rs;",
		"user/Patient.read/write",
		"user/user/Patient.read",
		"user/Patient.read.write",
	} {
		wantGrants(t, scope, grantNothing)
	}
}

func TestScopesThatAreNoText(t *testing.T) {
	t.Parallel()
	for name, claim := range map[string]any{
		"a number": 7.0, "an object": map[string]any{"user/Patient.read": true}, "true": true,
		"a list of lists": []any{[]any{"user/Patient.read"}}, "a list with a null": []any{nil},
	} {
		if got := grantsOf(map[string]any{"scope": claim}); got != grantNothing {
			t.Errorf("scope is %s: %+v, want %+v", name, got, grantNothing)
		}
	}
	if got := grantsOf(map[string]any{"scope": nil, "scp": []any{}}); got != (grants{}) {
		t.Errorf("null and an empty list: %+v, want no restriction", got)
	}
}

func strings2any(list []string) []any {
	var out []any
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

// TestScopesOfAToken: also of one that is remembered.
func TestScopesOfAToken(t *testing.T) {
	t.Parallel()
	v, _ := newTestVerifier(t, Config{Secret: testSecret})
	claims := with(with(doctorClaims(), "role", "admin"), "scope", "openid user/Patient.rs "+strings.Repeat("user/Observation.rs ", 300))
	token := sign(t, jwt.SigningMethodHS256, testSecret, "", claims)
	for range 2 {
		viewer := verifyOK(t, v, token)
		if !viewer.MayRead("P-1") || !viewer.MayListAll() || viewer.MayUpdateContact("P-1") {
			t.Errorf("a token to read and search: %+v", viewer)
		}
	}
}

// FuzzScopes holds that scopes never widen, and that one more never takes
// anything away from a restricted token.
func FuzzScopes(f *testing.F) {
	for _, seed := range []string{"", "openid", "patient/Patient.rs", "user/*.cruds?x", "system/Patient.*", "USER/x", "a\tpatient/"} {
		f.Add(seed, "user/Patient.rs")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		one, both := grantsOf(map[string]any{"scope": first}), grantsOf(map[string]any{"scope": first + " " + second})
		if one.restricted && !both.restricted || both.read < one.read || both.list < one.list || both.update < one.update {
			t.Fatalf("%q: %+v, with %q: %+v", first, one, second, both)
		}
		if !both.restricted && both != (grants{}) {
			t.Fatalf("%q %q: %+v", first, second, both)
		}
	})
}
