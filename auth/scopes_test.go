package auth

import (
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func TestScopes(t *testing.T) {
	t.Parallel()
	none := grants{restricted: true}
	for _, tt := range []struct {
		scope string
		want  grants
	}{
		{"", grants{}},
		{"openid profile fhirUser launch launch/patient offline_access", grants{}},
		{"https://issuer.example/user/Patient.read", none},
		{"issuer:user/Patient.rs", none},
		{"api:system profile/user", grants{}},
		{"patient/Patient.read", grants{true, own, own, nobody}},
		{"patient/*.read", grants{true, own, own, nobody}},
		{"patient/Patient.write", grants{true, nobody, nobody, own}},
		{"user/Patient.*", grants{true, all, all, all}},
		{"user/*.*", grants{true, all, all, all}},
		{"system/*.write", grants{true, nobody, nobody, all}},
		{"patient/Patient.r", grants{true, own, nobody, nobody}},
		{"patient/Patient.s", grants{true, nobody, own, nobody}},
		{"user/Patient.rs", grants{true, all, all, nobody}},
		{"user/Patient.u", grants{true, nobody, nobody, all}},
		{"user/*.cruds", grants{true, all, all, all}},
		{"user/Patient.cds", grants{true, nobody, all, nobody}},
		{"user/Patient.cd", none},
		{"openid patient/Patient.rs user/Patient.u", grants{true, own, own, all}},
		{"user/Patient.read patient/Patient.read", grants{true, all, all, nobody}},
		{"  patient/Patient.r   launch/patient ", grants{true, own, nobody, nobody}},
		{"user/Patient.read user/Encounter.write", grants{true, all, all, nobody}},
		{"patient/Immunization.rs", none},
		{"patient/PatientX.rs user/Person.read", none},
		// A query covers a part of the patients: nobody can tell which here.
		{"user/Patient.rs?gender=female", none},
		{"user/*.cruds?_security=x", none},
		{"user/Patient.read?x=y", none},
		{"user/Patient.rs?", none},
		// What is not written as it should be grants nothing, and is no reason
		// to take the token for an unrestricted one.
		{"user/Patient.sr", none},
		{"user/Patient.rr", none},
		{"user/Patient.", none},
		{"user/Patient", none},
		{"user/", none},
		{"user/*", none},
		{"user/.read", none},
		{"user/Patient.READ", none},
		{"user/patient.read", none},
		{"USER/Patient.read", none},
		{"User/Patient.rs", none},
		{"user/Patient.read,patient/Patient.read", none},
		{"openid,user/Patient.read", none},
		{"openid\tuser/Patient.read", none},
		{"openid\u00a0user/Patient.read", none},
		{"openid\nuser/Patient.rs", none},
		{"user/Patient.rs\n", none},
		{`"user/Patient.rs"`, none},
		{"[user/Patient.rs]", none},
		{"user/Patient.rs;", none},
		{"user/Patient.read/write", none},
		{"user/user/Patient.read", none},
		{"user/Patient.read.write", none},
	} {
		for name, claims := range map[string]map[string]any{
			"scope":         {"scope": tt.scope},
			"scp":           {"scp": tt.scope},
			"a list":        {"scope": []any{tt.scope}},
			"a list in scp": {"scp": strings2any(strings.Split(tt.scope, " "))},
			"both":          {"scope": "openid", "scp": []any{tt.scope}},
		} {
			if got := grantsOf(claims); got != tt.want {
				t.Errorf("%q as %s: %+v, want %+v", tt.scope, name, got, tt.want)
			}
		}
	}
	for name, claim := range map[string]any{
		"a number": 7.0, "an object": map[string]any{"user/Patient.read": true}, "true": true,
		"a list of lists": []any{[]any{"user/Patient.read"}}, "a list with a null": []any{nil},
	} {
		if got := grantsOf(map[string]any{"scope": claim}); got != none {
			t.Errorf("scope is %s: %+v, want %+v", name, got, none)
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
