package db

import (
	"encoding/json"
	"errors"
	"time"

	"patientgraph/jsonlimit"
)

// SyncState says whether a row is known to agree with the FHIR server.
type SyncState string

// The states of a row; syncStates lists them.
const (
	Synced    SyncState = "SYNCED"     // what the FHIR server last confirmed
	Pending   SyncState = "PENDING"    // a write's outcome is not known
	LocalOnly SyncState = "LOCAL_ONLY" // without a FHIR id
)

// Stale is of no row: it is what a filter calls those that are SYNCED and not known to be
// as the FHIR server is, see Filter.
const Stale SyncState = "STALE"

// syncStates are those that the CHECK of the table admits, which a test holds.
var syncStates = []string{string(Synced), string(Pending), string(LocalOnly)}

// Address is a postal address; empty means absent.
type Address struct {
	Text       string   `json:"text,omitempty"`
	Lines      []string `json:"lines,omitempty"`
	City       string   `json:"city,omitempty"`
	District   string   `json:"district,omitempty"`
	State      string   `json:"state,omitempty"`
	PostalCode string   `json:"postalCode,omitempty"`
	Country    string   `json:"country,omitempty"`
}

// EmergencyContact is whom to call; empty means absent.
type EmergencyContact struct {
	Name         string `json:"name"`
	Relationship string `json:"relationship,omitempty"`
	Phone        string `json:"phone,omitempty"`
}

// shape is raised whenever FHIRState gets a field, or one gets another meaning: a row
// that an older program filled takes the same version of its patient once more.
const shape = 1

// FHIRState is everything in a row that FHIR is the truth of. See shape.
type FHIRState struct {
	FamilyName    string
	GivenName     string
	FullName      string
	BirthDate     string // YYYY, YYYY-MM or YYYY-MM-DD
	Gender        string // FHIR code
	Phone         string
	Email         string
	Address       *Address
	Inactive      bool              // active is false
	Deceased      bool              // deceased[x] is true, or a time
	ReplacedBy    string            // whom it was merged into, see fhir.Patient; "" = it was not
	FHIRContact   *EmergencyContact // of Patient.contact
	OtherNames    []Name            // searched beside the one that is shown
	OtherPhones   []string          // likewise
	FHIRVersionID string            // meta.versionId of the representation that showed this
	FHIRUpdatedAt time.Time         // meta.lastUpdated of it
}

// Patient is one row. Empty strings and zero times mean absent.
type Patient struct {
	ID     string // the patient number, e.g. P-2025-000001
	FHIRID string // "" = not on the FHIR server
	FHIRState
	EmergencyContact *EmergencyContact // recorded here; it goes before FHIRContact
	Allergies        []string          // nil: nothing was recorded; empty: none known
	BloodType        string
	SyncState        SyncState
	LastSyncedAt     time.Time
	GoneAt           time.Time // since when the FHIR server does not have the patient; the row is kept, and shown to nobody
	UnseenSince      time.Time // since when the FHIR server is known to show something else, which could not be taken yet
	Version          int64     // from 1, raised by every change
	ChangeSeq        int64     // the place of the last change among all changes; 0 = it has none yet, see NumberChanges
	CreatedAt        time.Time
	UpdatedAt        time.Time

	keys         keys
	filled       int64              // the shape of the FHIRState, 0 before there was one
	versions     [changeable]int64  // see ChangedSince
	versionsAsOf int64              // the Version that they are as of
	stored       [changeable]string // the fieldTexts as the row has them
	kept         seldomValues       // as the row has them
	unreadable   []string           // columns
}

// show makes the row what FHIR shows.
func (p *Patient) show(st FHIRState) { p.FHIRState, p.filled, p.GoneAt = st, shape, time.Time{} }

// ErrUnreadable: a column holds what this program did not write. It concerns
// that row, or that line of the journal, alone.
var ErrUnreadable = errors.New("the database holds of this patient what cannot be read")

// Bounds of the JSON in a column, of a row or of a line of the journal.
const (
	maxColumnDepth  = 4
	maxColumnValues = 100_000
)

// readable reads the JSON of a column and reports whether it could. Why it
// could not is not told: that may quote the text, which is the patient's.
func readable(text string, into any) bool {
	return jsonlimit.Check(text, maxColumnDepth, maxColumnValues) == nil && json.Unmarshal([]byte(text), into) == nil
}
