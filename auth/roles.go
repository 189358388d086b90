package auth

import (
	"context"
	"encoding/json"
)

// Role is what the token's role claim says. Any string may occur; only the
// constants below are allowed anything.
type Role string

// The roles of the public contract.
const (
	RolePatient Role = "patient" // own record only
	RoleAdmin   Role = "admin"   // all records, may update contact data
	RoleDoctor  Role = "doctor"  // reads all records
	RoleNurse   Role = "nurse"   // reads all records
	RoleRib     Role = "rib"     // reads all records
	RoleLab     Role = "lab"     // reads all records
	RoleAnalyst Role = "analyst" // reads all records without direct identifiers
)

// scope says whose records a permission covers; its zero value is nobody's.
type scope int

const (
	nobody scope = iota
	own
	all
)

type permissions struct {
	read          scope
	updateContact scope
	identifiers   bool
}

// table is the only place that says what a role may do. A role that is not
// listed gets the zero value: nothing.
var table = map[Role]permissions{
	RolePatient: {read: own, updateContact: own, identifiers: true},
	RoleAdmin:   {read: all, updateContact: all, identifiers: true},
	RoleDoctor:  {read: all, identifiers: true},
	RoleNurse:   {read: all, identifiers: true},
	RoleRib:     {read: all, identifiers: true},
	RoleLab:     {read: all, identifiers: true},
	RoleAnalyst: {read: all},
}

// Known says whether the role is one of the contract's. A viewer of an unknown
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
	// PatientID is the token's patient claim, in the form of Patient.id
	// (P-2025-000001). It matters for RolePatient only.
	PatientID string
}

// MayRead says whether the viewer may see this patient's record.
func (v Viewer) MayRead(patientID string) bool {
	return v.covers(table[v.Role].read, patientID)
}

// MayReadAll says whether the viewer may see every record, and so may list and
// search patients.
func (v Viewer) MayReadAll() bool {
	return table[v.Role].read == all
}

// MayUpdateContact says whether the viewer may change this patient's phone,
// email and address.
func (v Viewer) MayUpdateContact(patientID string) bool {
	return v.covers(table[v.Role].updateContact, patientID)
}

// SeesIdentifiers says whether names, phone, email, address, emergency contact
// and the full birth date are shown to the viewer; otherwise they are null,
// and must not be filtered or ordered by either.
func (v Viewer) SeesIdentifiers() bool {
	return table[v.Role].identifiers
}

// Actor names the viewer: two viewers with the same role, patient and subject
// are the same actor.
func (v Viewer) Actor() string {
	name, _ := json.Marshal([]string{string(v.Role), v.PatientID, v.Subject}) // strings always encode
	return string(name)
}

// MayAskAbout says whether the viewer may learn how an actor's contact update
// ended: admins may, and the actor.
func (v Viewer) MayAskAbout(actor string) bool {
	return table[v.Role].updateContact == all || table[v.Role].updateContact == own && v.Actor() == actor
}

func (v Viewer) covers(s scope, patientID string) bool {
	switch s {
	case all:
		return true
	case own:
		return v.PatientID != "" && v.PatientID == patientID
	default:
		return false
	}
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
