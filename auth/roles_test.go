package auth

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestRoles(t *testing.T) {
	t.Parallel()
	const mine, other = "P-2025-000001", "P-2025-000002"
	tests := []struct {
		role                                            Role
		known, readMine, readOther, readAll             bool
		updateMine, updateOther, identifiers, anonymous bool
	}{
		{role: RolePatient, known: true, readMine: true, updateMine: true, identifiers: true},
		{role: RoleAdmin, known: true, readMine: true, readOther: true, readAll: true, updateMine: true, updateOther: true, identifiers: true, anonymous: true},
		{role: RoleDoctor, known: true, readMine: true, readOther: true, readAll: true, identifiers: true, anonymous: true},
		{role: RoleNurse, known: true, readMine: true, readOther: true, readAll: true, identifiers: true, anonymous: true},
		{role: RoleRib, known: true, readMine: true, readOther: true, readAll: true, identifiers: true, anonymous: true},
		{role: RoleLab, known: true, readMine: true, readOther: true, readAll: true, identifiers: true, anonymous: true},
		{role: RoleAnalyst, known: true, readMine: true, readOther: true, readAll: true, anonymous: true},
		{role: "janitor"},
		{role: "Admin"},
		{role: ""},
	}
	for _, tt := range tests {
		t.Run(string(tt.role), func(t *testing.T) {
			t.Parallel()
			v := Viewer{Role: tt.role, PatientIDs: []string{mine}}
			for _, check := range []struct {
				name      string
				got, want bool
			}{
				{"Known", tt.role.Known(), tt.known},
				{"MayRead own", v.MayRead(mine), tt.readMine},
				{"MayRead other", v.MayRead(other), tt.readOther},
				{"MayListAll", v.MayListAll(), tt.readAll},
				{"MayUpdateContact own", v.MayUpdateContact(mine), tt.updateMine},
				{"MayUpdateContact other", v.MayUpdateContact(other), tt.updateOther},
				{"SeesIdentifiers", v.SeesIdentifiers(), tt.identifiers},
				// Without a patient claim nobody is "own", not even the
				// empty id.
				{"MayRead without claim", Viewer{Role: tt.role}.MayRead(""), tt.anonymous},
				{"MayUpdateContact without claim", Viewer{Role: tt.role}.MayUpdateContact(""), tt.updateOther},
			} {
				if check.got != check.want {
					t.Errorf("%s = %v, want %v", check.name, check.got, check.want)
				}
			}
		})
	}
}

func TestFromContext(t *testing.T) {
	t.Parallel()
	if v, ok := FromContext(t.Context()); ok || !reflect.DeepEqual(v, Viewer{}) {
		t.Errorf("FromContext of an empty context = %v, %v", v, ok)
	}
	want := Viewer{Subject: "s", Role: RoleNurse}
	if v, ok := FromContext(WithViewer(t.Context(), want)); !ok || !reflect.DeepEqual(v, want) {
		t.Errorf("FromContext = %v, %v, want %v, true", v, ok, want)
	}
}

// What may be done with one patient's record, a letter each:
//
//	r  read it              c  change the contact             a  ask about an own update of it
//	l  list and find it     e  change the emergency contact   A  ask about somebody else's
//	                        m  change allergies, blood type
func mayDo(v Viewer, patientID string) string {
	var done strings.Builder
	for _, check := range []struct {
		letter string
		may    bool
	}{
		{"r", v.MayRead(patientID)},
		{"l", v.MayList(patientID)},
		{"c", v.MayUpdateContact(patientID)},
		{"e", v.MayUpdateProfile(patientID, ProfileFields{EmergencyContact: true})},
		{"m", v.MayUpdateProfile(patientID, ProfileFields{Allergies: true})},
		{"a", v.MayAskAbout(v.Actor(), patientID)},
		{"A", v.MayAskAbout("somebody else", patientID)},
	} {
		if check.may {
			done.WriteString(check.letter)
		}
	}
	return done.String()
}

// What each role may do with the record of its patient claim, and with others.
var roleRights = []struct {
	role       Role
	own, other string
}{
	{RolePatient, "rlcea", ""},
	{RoleAdmin, "rlcemaA", "rlcemaA"},
	{RoleDoctor, "rlm", "rlm"},
	{RoleNurse, "rlm", "rlm"},
	{RoleRib, "rl", "rl"},
	{RoleLab, "rl", "rl"},
	{RoleAnalyst, "rl", "rl"},
	{"janitor", "", ""},
	{"Patient", "", ""},
	{"", "", ""},
}

const everything = "rlcemaA"

// What each token's scopes allow at most.
var scopeRights = []struct{ scope, own, other string }{
	{"", everything, everything},
	{"openid profile launch/patient offline_access", everything, everything},
	{"user/Patient.read", "rlaA", "rlaA"},
	{"user/Patient.write", "cema", "cema"},
	{"user/*.*", everything, everything},
	{"system/Patient.cruds", everything, everything},
	{"user/Patient.r", "raA", "raA"},
	{"user/Patient.s", "l", "l"},
	{"user/Patient.u", "cema", "cema"},
	{"user/Patient.cd", "", ""},
	{"patient/Patient.read", "rlaA", ""},
	{"patient/Patient.write", "cema", ""},
	{"patient/*.cruds", everything, ""},
	{"openid patient/Patient.rs", "rlaA", ""},
	{"patient/Patient.rs user/Patient.u", everything, "cema"},
	{"user/Patient.r patient/Patient.s", "rlaA", "raA"},
	{"patient/Immunization.rs user/Encounter.write", "", ""},
	{"user/Patient.cruds?gender=female", "", ""},
	{"user/Patient.READ", "", ""},
}

// TestEveryOperationOfEveryRoleAndScope: a viewer may do what both the role and
// the scopes allow.
func TestEveryOperationOfEveryRoleAndScope(t *testing.T) {
	t.Parallel()
	const mine, other = "P-2025-000001", "P-2025-000002"
	for _, r := range roleRights {
		for _, s := range scopeRights {
			v := Viewer{Subject: "s", Role: r.role, PatientIDs: []string{mine}, grants: grantsOf(map[string]any{"scope": s.scope})}
			for _, record := range []struct{ id, role, scopes string }{{mine, r.own, s.own}, {other, r.other, s.other}} {
				want := both(record.role, record.scopes)
				if got := mayDo(v, record.id); got != want {
					t.Errorf("role %q with scopes %q may do %q with %s, want %q", r.role, s.scope, got, record.id, want)
				}
				if strings.ContainsAny(want, "cem") && v.SeesRecord(record.id) != strings.ContainsAny(want, "rl") {
					t.Errorf("role %q with scopes %q may do %q with %s, SeesRecord = %v", r.role, s.scope, want, record.id, v.SeesRecord(record.id))
				}
				if strings.ContainsAny(want, "aA") && !v.MayAsk() {
					t.Errorf("role %q with scopes %q may ask about %s, and may not ask", r.role, s.scope, record.id)
				}
			}
			if got, want := v.MayListAll(), strings.Contains(both(r.other, s.other), "l"); got != want {
				t.Errorf("role %q with scopes %q: MayListAll = %v", r.role, s.scope, got)
			}
			if got, want := v.MayAsk(), strings.ContainsAny(both(r.own, s.own), "aA"); got != want {
				t.Errorf("role %q with scopes %q: MayAsk = %v", r.role, s.scope, got)
			}
			if v.PatientIDs = nil; r.role != RolePatient {
				continue
			}
			for _, id := range []string{"", mine, other} {
				if got := mayDo(v, id); got != "" || v.MayAsk() || v.MayListAll() {
					t.Errorf("a patient without a number, with scopes %q, may do %q with %q", s.scope, got, id)
				}
			}
		}
	}
	// Patient scopes of a token that names no patient cover nobody.
	v := Viewer{Role: RoleAdmin, grants: grantsOf(map[string]any{"scope": "patient/*.*"})}
	for _, id := range []string{"", mine} {
		if got := mayDo(v, id); got != "" || v.MayAsk() || v.MayListAll() {
			t.Errorf("an admin with patient scopes and no patient may do %q with %q", got, id)
		}
	}
}

// both returns the letters that are in a and in b.
func both(a, b string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(b, r) {
			return r
		}
		return -1
	}, a)
}

// TestProfileFieldsTogether: one field that the viewer may not change refuses
// the request as a whole.
func TestProfileFieldsTogether(t *testing.T) {
	t.Parallel()
	const mine, other = "P-2025-000001", "P-2025-000002"
	none, emergency, allergies, blood := ProfileFields{}, ProfileFields{EmergencyContact: true}, ProfileFields{Allergies: true}, ProfileFields{BloodType: true}
	medical, everything := ProfileFields{Allergies: true, BloodType: true}, ProfileFields{true, true, true}
	mixed := ProfileFields{EmergencyContact: true, BloodType: true}
	all := []ProfileFields{none, emergency, allergies, blood, medical, mixed, everything}
	for _, tt := range []struct {
		role       Role
		own, other []ProfileFields
	}{
		{RolePatient, []ProfileFields{none, emergency}, nil},
		{RoleDoctor, []ProfileFields{none, allergies, blood, medical}, []ProfileFields{none, allergies, blood, medical}},
		{RoleNurse, []ProfileFields{none, allergies, blood, medical}, []ProfileFields{none, allergies, blood, medical}},
		{RoleAdmin, all, all},
		{RoleRib, nil, nil},
		{RoleLab, nil, nil},
		{RoleAnalyst, nil, nil},
		{"janitor", nil, nil},
	} {
		v := Viewer{Role: tt.role, PatientIDs: []string{mine}}
		for _, f := range all {
			if got := v.MayUpdateProfile(mine, f); got != slices.Contains(tt.own, f) {
				t.Errorf("%s, own record, %+v: %v", tt.role, f, got)
			}
			if got := v.MayUpdateProfile(other, f); got != slices.Contains(tt.other, f) {
				t.Errorf("%s, other record, %+v: %v", tt.role, f, got)
			}
		}
	}
}
