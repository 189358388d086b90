package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"
)

// Role is what the token's role claim says. Any string may occur; only the
// constants below are allowed anything.
type Role string

// The roles of the public contract.
const (
	RolePatient Role = "patient" // own records only
	RoleAdmin   Role = "admin"   // all records, may change everything
	RoleDoctor  Role = "doctor"  // reads all records
	RoleNurse   Role = "nurse"   // reads all records
	RoleRib     Role = "rib"     // reads all records
	RoleLab     Role = "lab"     // reads all records
	RoleAnalyst Role = "analyst" // reads all records without direct identifiers
)

// reach says whose records a permission covers; its zero value is nobody's. A
// greater one covers more.
type reach int

const (
	nobody reach = iota
	own
	all
)

// permissions of a role. The profile has two parts: whom to call, which is for
// the patient to say, and what clinical staff record.
type permissions struct {
	read            reach
	updateContact   reach // phone, email, address
	updateEmergency reach // emergency contact
	updateMedical   reach // allergies, blood type
	seesIdentifiers bool
}

// table is the only place that says what a role may do. A role that is not
// listed gets the zero value: nothing.
var table = map[Role]permissions{
	RolePatient: {read: own, updateContact: own, updateEmergency: own, seesIdentifiers: true},
	RoleAdmin:   {read: all, updateContact: all, updateEmergency: all, updateMedical: all, seesIdentifiers: true},
	RoleDoctor:  {read: all, updateMedical: all, seesIdentifiers: true},
	RoleNurse:   {read: all, updateMedical: all, seesIdentifiers: true},
	RoleRib:     {read: all, seesIdentifiers: true},
	RoleLab:     {read: all, seesIdentifiers: true},
	RoleAnalyst: {read: all},
}

// Roles names every role of the table, in alphabetical order.
func Roles() []string {
	var names []string
	for role := range table {
		names = append(names, string(role))
	}
	slices.Sort(names)
	return names
}

// Known reports whether the role is one of the contract's. A viewer of an unknown
// role may do nothing.
func (r Role) Known() bool {
	_, ok := table[r]
	return ok
}

// Viewer is the authenticated caller. The zero Viewer may do nothing.
type Viewer struct {
	// Subject is the token's sub claim, for the audit trail; empty if the
	// token has none.
	Subject string
	Role    Role
	// PatientClaim is what the token's patient claim names, sorted and each
	// once: patient numbers, or FHIR ids (Config.FHIRPatientClaim).
	PatientClaim []string
	// FHIRIDs is PatientClaim where it holds FHIR ids, else nil.
	FHIRIDs []string
	// PatientIDs are the numbers (Patient.id, P-2025-000001) of these patients:
	// the viewer's own, and of whom a parent or carer looks after. They matter
	// for RolePatient and for SMART scopes that begin with patient/. Where the
	// claim holds FHIR ids, nobody has been looked up yet when Verify returns.
	PatientIDs []string
	// Expires is when the token is no longer accepted: its exp and the leeway.
	// What goes on for longer than a request must end then.
	Expires time.Time

	grants grants
	actor  string // what Actor returns of a verified token; "": not made yet
}

// MayRead reports whether the viewer may see this patient's record by itself.
func (v Viewer) MayRead(patientID string) bool {
	return v.covers(table[v.Role].read, v.grants.read, patientID)
}

// MayList reports whether this patient's record may stand in the viewer's lists
// and be found by searching.
func (v Viewer) MayList(patientID string) bool {
	return v.covers(table[v.Role].read, v.grants.list, patientID)
}

// SeesRecord reports whether the answer to a change shows this patient's record
// to the viewer: scopes may allow to write what they do not allow to read.
func (v Viewer) SeesRecord(patientID string) bool {
	return !v.grants.restricted || v.MayRead(patientID) || v.MayList(patientID)
}

// MayListAll reports whether the viewer may list and search every record.
func (v Viewer) MayListAll() bool {
	return v.narrowed(table[v.Role].read, v.grants.list) == all
}

// MayUpdateContact reports whether the viewer may change this patient's phone,
// email and address.
func (v Viewer) MayUpdateContact(patientID string) bool {
	return v.covers(table[v.Role].updateContact, v.grants.update, patientID)
}

// ProfileFields names fields of a patient's profile: those that a request sets,
// be it to null.
type ProfileFields struct {
	EmergencyContact, Allergies, BloodType bool
}

// MayUpdateProfile reports whether the viewer may change all of these fields of
// this patient; of none, whether there is one that the viewer may change.
func (v Viewer) MayUpdateProfile(patientID string, f ProfileFields) bool {
	emergency := v.covers(table[v.Role].updateEmergency, v.grants.update, patientID)
	medical := v.covers(table[v.Role].updateMedical, v.grants.update, patientID)
	if f.EmergencyContact && !emergency || (f.Allergies || f.BloodType) && !medical {
		return false
	}
	return emergency || medical
}

// SeesIdentifiers reports whether names, phone, email, address, emergency
// contact and the full birth date are shown to the viewer; otherwise they are
// null, and must not be filtered or ordered by either.
func (v Viewer) SeesIdentifiers() bool {
	return table[v.Role].seesIdentifiers
}

// Names reports whether a record with one of the PatientIDs is the patient that the
// token names: where it names FHIR ids, a number may be another's since it was looked
// up.
func (v Viewer) Names(fhirID string) bool {
	return v.FHIRIDs == nil || !v.NeedsPatients() || slices.Contains(v.FHIRIDs, fhirID)
}

// NeedsPatients reports whether it depends on PatientIDs what the viewer may do.
func (v Viewer) NeedsPatients() bool {
	role, scopes := table[v.Role], v.grants
	return slices.Contains([]reach{
		v.narrowed(role.read, scopes.read), v.narrowed(role.read, scopes.list),
		v.narrowed(role.updateContact, scopes.update), v.narrowed(role.updateEmergency, scopes.update), v.narrowed(role.updateMedical, scopes.update),
	}, own)
}

// Actor names the viewer: two viewers with the same role and subject are the same
// actor, whatever patients their tokens name; without a subject, with the same role
// and patient claim. The journal remembers it: it must stay the same from one version
// to the next.
func (v Viewer) Actor() string {
	if v.actor != "" {
		return v.actor
	}
	var patient any = v.PatientClaim
	switch {
	case len(v.PatientClaim) == 0 || v.Subject != "":
		patient = ""
	case len(v.PatientClaim) == 1:
		patient = v.PatientClaim[0]
	}
	name, _ := json.Marshal([]any{v.Role, patient, v.Subject}) // strings always encode
	if len(name) > maxActor {
		sum := sha256.Sum256(name)
		return hex.EncodeToString(sum[:])
	}
	return string(name)
}

// maxActor bounds what is kept with each update of an actor, and indexed.
const maxActor = 256

// MayAsk reports whether there can be a contact update that the viewer may ask
// about; if not, none need be looked up.
func (v Viewer) MayAsk() bool {
	switch v.narrowed(table[v.Role].updateContact, max(v.grants.read, v.grants.update)) {
	case all:
		return true
	case own:
		return len(v.PatientIDs) > 0
	default:
		return false
	}
}

// MayAskAbout reports whether the viewer may learn how an actor's contact update
// of a patient ended. The actor may, with a read or a write scope. Admins may ask
// about others' updates; that needs a read scope.
func (v Viewer) MayAskAbout(actor, patientID string) bool {
	role, scopes := table[v.Role].updateContact, v.grants.read
	switch {
	case v.Actor() == actor:
		scopes = max(scopes, v.grants.update)
	case role != all:
		return false
	}
	return v.covers(role, scopes, patientID)
}

// covers reports whether what the role and the scopes allow covers a patient.
func (v Viewer) covers(role, scopes reach, patientID string) bool {
	switch v.narrowed(role, scopes) {
	case all:
		return true
	case own:
		return slices.Contains(v.PatientIDs, patientID)
	default:
		return false
	}
}

// narrowed is what a role allows with the scopes of the viewer's token, if it
// has any.
func (v Viewer) narrowed(role, scopes reach) reach {
	if v.grants.restricted {
		return min(role, scopes)
	}
	return role
}

type viewerKey struct{}

// WithViewer returns a context that carries the viewer of a request.
func WithViewer(ctx context.Context, v Viewer) context.Context {
	return context.WithValue(ctx, viewerKey{}, v)
}

// FromContext returns the viewer that Middleware or WithViewer stored. Without
// one it returns the zero Viewer, which may do nothing, and false.
func FromContext(ctx context.Context) (Viewer, bool) {
	v, ok := ctx.Value(viewerKey{}).(Viewer)
	return v, ok
}
