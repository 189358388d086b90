package auth

import (
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
			v := Viewer{Role: tt.role, PatientID: mine}
			for _, check := range []struct {
				name      string
				got, want bool
			}{
				{"Known", tt.role.Known(), tt.known},
				{"MayRead own", v.MayRead(mine), tt.readMine},
				{"MayRead other", v.MayRead(other), tt.readOther},
				{"MayReadAll", v.MayReadAll(), tt.readAll},
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
	if v, ok := FromContext(t.Context()); ok || v != (Viewer{}) {
		t.Errorf("FromContext of an empty context = %v, %v", v, ok)
	}
	want := Viewer{Subject: "s", Role: RoleNurse}
	if v, ok := FromContext(WithViewer(t.Context(), want)); !ok || v != want {
		t.Errorf("FromContext = %v, %v, want %v, true", v, ok, want)
	}
}
