package db

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"patientgraph/jsonlimit"
)

// SyncState tells whether a row is known to agree with the FHIR server.
type SyncState string

// The states of a row; syncStates lists them.
const (
	Synced    SyncState = "SYNCED"     // what the FHIR server last confirmed
	Pending   SyncState = "PENDING"    // a write's outcome is not known
	LocalOnly SyncState = "LOCAL_ONLY" // without a FHIR id
)

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

// Patient is one row. Empty strings and zero times mean absent.
type Patient struct {
	ID               string // the patient number, e.g. P-2025-000001
	FHIRID           string // "" = not on the FHIR server
	FamilyName       string
	GivenName        string
	FullName         string
	BirthDate        string // YYYY, YYYY-MM or YYYY-MM-DD
	Gender           string // FHIR code
	Phone            string
	Email            string
	Address          *Address
	EmergencyContact *EmergencyContact
	Allergies        []string
	BloodType        string
	SyncState        SyncState
	LastSyncedAt     time.Time
	FHIRVersionID    string    // meta.versionId of the last representation seen
	FHIRUpdatedAt    time.Time // meta.lastUpdated of it
	Version          int64     // from 1, raised by every change
	CreatedAt        time.Time
	UpdatedAt        time.Time

	nameKey string // see nameKey
}

// Column is a column of patients that a query may ask for. Columns are
// numbered so that a set of them is a bit mask.
type Column uint8

// The columns. ColID, ColFHIRID, ColSyncState and ColVersion always come
// along.
const (
	ColID Column = iota
	ColFHIRID
	ColSyncState
	ColVersion
	ColFamilyName
	ColGivenName
	ColFullName
	ColBirthDate
	ColGender
	ColPhone
	ColEmail
	ColAddress
	ColEmergencyContact
	ColAllergies
	ColBloodType
	ColLastSyncedAt
	ColCreatedAt
	ColUpdatedAt
	colFHIRVersionID
	colFHIRUpdatedAt
	colNameKey
	columnCount
)

var columnNames = [columnCount]string{
	ColID: "id", ColFHIRID: "fhir_id", ColSyncState: "sync_state", ColVersion: "version",
	ColFamilyName: "family_name", ColGivenName: "given_name", ColFullName: "full_name",
	ColBirthDate: "birth_date", ColGender: "gender", ColPhone: "phone", ColEmail: "email",
	ColAddress: "address", ColEmergencyContact: "emergency_contact", ColAllergies: "allergies",
	ColBloodType: "blood_type", ColLastSyncedAt: "last_synced_at", ColCreatedAt: "created_at",
	ColUpdatedAt: "updated_at", colFHIRVersionID: "fhir_version_id", colFHIRUpdatedAt: "fhir_updated_at",
	colNameKey: "name_key",
}

// columnSet has one bit for each Column.
type columnSet uint32

const (
	keyColumns columnSet = 1<<ColID | 1<<ColFHIRID | 1<<ColSyncState | 1<<ColVersion
	allColumns columnSet = 1<<columnCount - 1
)

// setOf returns the columns and the keys; of none, every column.
func setOf(columns []Column) columnSet {
	if len(columns) == 0 {
		return allColumns
	}
	set := keyColumns
	for _, c := range columns {
		set |= 1 << c
	}
	return set
}

// names lists the columns of the set in their order, for SELECT.
func (set columnSet) names() string {
	names := make([]string, 0, bits.OnesCount32(uint32(set)))
	for c := range columnCount {
		if set&(1<<c) != 0 {
			names = append(names, columnNames[c])
		}
	}
	return strings.Join(names, ", ")
}

// ErrUnreadable: a column holds what this program did not write. It concerns
// that row, or that line of the journal, alone.
var ErrUnreadable = errors.New("the database holds of this patient what cannot be read")

// scan reads one row of the set's columns. With ErrUnreadable the rest of the
// patient is there.
func (set columnSet) scan(row interface{ Scan(...any) error }) (*Patient, error) {
	var p Patient
	var fhirID sql.NullString
	var address, emergencyContact, allergies string
	targets := make([]any, 0, columnCount)
	all := [columnCount]any{
		ColID: &p.ID, ColFHIRID: &fhirID, ColSyncState: (*string)(&p.SyncState), ColVersion: &p.Version,
		ColFamilyName: &p.FamilyName, ColGivenName: &p.GivenName, ColFullName: &p.FullName,
		ColBirthDate: &p.BirthDate, ColGender: &p.Gender, ColPhone: &p.Phone, ColEmail: &p.Email,
		ColAddress: &address, ColEmergencyContact: &emergencyContact,
		ColAllergies: &allergies, ColBloodType: &p.BloodType,
		ColLastSyncedAt: micros{&p.LastSyncedAt}, ColCreatedAt: micros{&p.CreatedAt},
		ColUpdatedAt: micros{&p.UpdatedAt}, colFHIRVersionID: &p.FHIRVersionID,
		colFHIRUpdatedAt: micros{&p.FHIRUpdatedAt}, colNameKey: &p.nameKey,
	}
	for c := range columnCount {
		if set&(1<<c) != 0 {
			targets = append(targets, all[c])
		}
	}
	if err := row.Scan(targets...); err != nil {
		return nil, err
	}
	p.FHIRID = fhirID.String
	return &p, p.decode(address, emergencyContact, allergies)
}

// decode reads the values that are stored as JSON; "" leaves one nil.
func (p *Patient) decode(address, emergencyContact, allergies string) error {
	var unreadable []string
	for _, column := range []struct {
		name, text string
		into       any
	}{
		{columnNames[ColAddress], address, &p.Address},
		{columnNames[ColEmergencyContact], emergencyContact, &p.EmergencyContact},
		{columnNames[ColAllergies], allergies, &p.Allergies},
	} {
		if column.text != "" && !readable(column.text, column.into) {
			unreadable = append(unreadable, column.name)
		}
	}
	if len(unreadable) > 0 {
		return fmt.Errorf("%w (patient %s, column %s): correct the value of the column, or set it to ''", ErrUnreadable, p.ID, strings.Join(unreadable, " and "))
	}
	return nil
}

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

// micros reads a time stored as microseconds since 1970; 0 is the zero time.
type micros struct{ t *time.Time }

func (m micros) Scan(value any) error {
	n, ok := value.(int64)
	if !ok {
		return fmt.Errorf("a time column holds %T", value)
	}
	*m.t = fromMicros(n)
	return nil
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func toMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
