package db

import (
	"database/sql/driver"
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// Column is a column of patients that a query may ask for. Columns are numbered
// so that a set of them is a bit mask.
type Column uint8

// The columns, in the order of SELECT. A new one is a line here and a migration.
var (
	ColID               = column("id", func(p *Patient) any { return &p.ID })
	ColFHIRID           = column("fhir_id", func(p *Patient) any { return nullable{&p.FHIRID} })
	ColSyncState        = column("sync_state", func(p *Patient) any { return (*string)(&p.SyncState) })
	ColVersion          = column("version", func(p *Patient) any { return &p.Version })
	ColFamilyName       = column("family_name", func(p *Patient) any { return &p.FamilyName })
	ColGivenName        = column("given_name", func(p *Patient) any { return &p.GivenName })
	ColFullName         = column("full_name", func(p *Patient) any { return &p.FullName })
	ColBirthDate        = column("birth_date", func(p *Patient) any { return &p.BirthDate })
	ColGender           = column("gender", func(p *Patient) any { return &p.Gender })
	ColPhone            = column("phone", func(p *Patient) any { return &p.Phone })
	ColEmail            = column("email", func(p *Patient) any { return &p.Email })
	ColAddress          = document("address", func(p *Patient) any { return &p.Address })
	ColEmergencyContact = document("emergency_contact", func(p *Patient) any { return &p.EmergencyContact })
	ColAllergies        = document("allergies", func(p *Patient) any { return &p.Allergies })
	ColBloodType        = column("blood_type", func(p *Patient) any { return &p.BloodType })
	ColLastSyncedAt     = column("last_synced_at", func(p *Patient) any { return micros{&p.LastSyncedAt} })
	ColCreatedAt        = column("created_at", func(p *Patient) any { return micros{&p.CreatedAt} })
	ColUpdatedAt        = column("updated_at", func(p *Patient) any { return micros{&p.UpdatedAt} })
	ColInactive         = column("inactive", func(p *Patient) any { return flag{&p.Inactive} })
	ColDeceased         = column("deceased", func(p *Patient) any { return flag{&p.Deceased} })
	ColReplacedBy       = column("replaced_by", func(p *Patient) any { return &p.ReplacedBy })
	ColFHIRContact      = document("fhir_contact", func(p *Patient) any { return &p.FHIRContact })
	ColGoneAt           = column("gone_at", func(p *Patient) any { return micros{&p.GoneAt} })
	ColUnseenSince      = column("unseen_since", func(p *Patient) any { return micros{&p.UnseenSince} }) // see markUnseen
	_                   = column("filled", func(p *Patient) any { return &p.filled })
	_                   = column("fhir_version_id", func(p *Patient) any { return &p.FHIRVersionID })
	_                   = column("fhir_updated_at", func(p *Patient) any { return micros{&p.FHIRUpdatedAt} })
	_                   = column("versions_as_of", func(p *Patient) any { return &p.versionsAsOf })
	_                   = column("phone_version", func(p *Patient) any { return &p.versions[phoneField] })
	_                   = column("email_version", func(p *Patient) any { return &p.versions[emailField] })
	_                   = column("address_version", func(p *Patient) any { return &p.versions[addressField] })
	_                   = column("emergency_contact_version", func(p *Patient) any { return &p.versions[emergencyContactField] })
	_                   = column("allergies_version", func(p *Patient) any { return &p.versions[allergiesField] })
	_                   = column("blood_type_version", func(p *Patient) any { return &p.versions[bloodTypeField] })
	ColChangeSeq        = column("change_seq", func(p *Patient) any { return &p.ChangeSeq })
	colOtherNames       = document("other_names", func(p *Patient) any { return &p.OtherNames })
	colOtherPhones      = document("other_phones", func(p *Patient) any { return &p.OtherPhones })
	colNameKey          = column("name_key", func(p *Patient) any { return &p.keys.name })
	colSearchKey        = column("search_key", func(p *Patient) any { return &p.keys.search })
	_                   = column("phone_keys", func(p *Patient) any { return &p.keys.phones })
	colListed           = column("listed", func(p *Patient) any { listed := p.listed(); return &listed }) // written, never read
)

// What is made of all columns stands below them: Go gives variables their values
// from top to bottom.
var (
	// keyColumns come along with whatever is asked of one patient, and keyOfPage with whatever
	// is asked of the patients of a page.
	keyColumns = columnSet(1<<ColID | 1<<ColFHIRID | 1<<ColGoneAt)
	keyOfPage  = columnSet(1 << ColID)
	allColumns = columnSet(1<<colListed - 1)
	written    = (allColumns | 1<<colListed) &^ (1<<ColID | 1<<ColUnseenSince)

	readPatient = "SELECT " + allColumns.names(", ") + " FROM patients WHERE id = ?"
	lockPatient = prepared(readPatient + " FOR UPDATE")
	lockVersion = prepared("SELECT 1 FROM patients WHERE id = ? AND version = ? AND fhir_version_id = ? FOR UPDATE")
	// existingPatients locks the rows in the order in which the journal locks them.
	// Updates may begin meanwhile: that needs their numbers alone to stay.
	existingPatients = prepared("SELECT " + allColumns.names(", ") + " FROM patients WHERE id = ANY(?) OR fhir_id = ANY(?) ORDER BY id FOR NO KEY UPDATE")
	// intoPatients takes the values of the columns written.
	intoPatients  = intoTable("patients", written.names(", ")+", id")
	updatePatient = prepared("UPDATE patients SET " + written.names(" = ?, ") + " = ? WHERE id = ?")
	// updateRest is for a row of which nothing in seldom changes. SQLite writes each index anew
	// that has a column which a statement names, whether its value changes or not.
	updateRest = prepared("UPDATE patients SET " + (written &^ seldom).names(" = ?, ") + " = ? WHERE id = ?")
	// seldom are the columns of indexes that a contact write leaves as they are.
	seldom = columnSet(1<<ColFHIRID | 1<<ColBirthDate | 1<<ColGender | 1<<ColCreatedAt | 1<<colNameKey | 1<<colSearchKey | 1<<colListed)
)

// columnOf is a line of the table. A Patient keeps the value of the column in a
// *string, an *int64 or what is both a sql.Scanner and a driver.Valuer.
type columnOf struct {
	name string
	in   func(*Patient) any
}

// columns are numbered by Column.
var columns []columnOf

func column(name string, in func(*Patient) any) Column {
	columns = append(columns, columnOf{name, in})
	return Column(len(columns) - 1)
}

// document is a column of JSON.
func document(name string, in func(*Patient) any) Column {
	return column(name, func(p *Patient) any { return &jsonText{p, name, in(p)} })
}

// Columns lists the columns by name.
func Columns() map[string]Column {
	byName := make(map[string]Column, len(columns))
	for c, column := range columns {
		byName[column.name] = Column(c)
	}
	return byName
}

// keep makes of a Patient with its keys what a row keeps.
func (p *Patient) keep() {
	p.BirthDate, p.Gender = atMost(p.BirthDate, maxCode), atMost(p.Gender, maxCode)
	p.moveVersions()
	p.kept = p.seldom()
}

// values returns these columns of a Patient, and its number: as intoPatients, updatePatient
// and updateRest write it. PostgreSQL cannot store U+0000 or what is no UTF-8: they
// become U+FFFD.
func (set columnSet) values(p *Patient) []any {
	values := make([]any, 0, len(columns))
	for c, column := range columns {
		if set&(1<<c) != 0 {
			values = append(values, column.value(p))
		}
	}
	return append(values, p.ID)
}

// seldomValues are what a row has in the columns seldom.
type seldomValues struct {
	fhirID, birthDate, gender, name, search string
	created, listed                         int64
}

func (p *Patient) seldom() seldomValues {
	return seldomValues{p.FHIRID, p.BirthDate, p.Gender, p.keys.name, p.keys.search, toMicros(p.CreatedAt), p.listed()}
}

// value is what the column holds of a Patient.
func (c columnOf) value(p *Patient) (value any) {
	switch at := c.in(p).(type) {
	case *string:
		value = clean(*at)
	case *int64:
		value = *at
	case driver.Valuer:
		value, _ = at.Value() // those below cannot fail
	}
	return value
}

// columnSet has one bit for each Column.
type columnSet uint64

// setOf returns the columns and the keys; of none, every column.
func setOf(columns []Column, keys columnSet) columnSet {
	if len(columns) == 0 {
		return allColumns
	}
	set := keys
	for _, c := range columns {
		set |= 1 << c
	}
	return set
}

// names lists the columns of the set in their order.
func (set columnSet) names(separator string) string {
	names := make([]string, 0, bits.OnesCount64(uint64(set)))
	for c, column := range columns {
		if set&(1<<c) != 0 {
			names = append(names, column.name)
		}
	}
	return strings.Join(names, separator)
}

// scan reads one row of the set's columns. With ErrUnreadable the rest of the
// patient is there.
func (set columnSet) scan(row resultRow) (*Patient, error) {
	return set.scanner().scan(row)
}

// scanner reads rows of a set's columns, each into the same place: what it takes to scan is
// made once.
type scanner struct {
	set     columnSet
	into    Patient
	targets []any
}

func (set columnSet) scanner() *scanner {
	s := &scanner{set: set, targets: make([]any, 0, bits.OnesCount64(uint64(set)))}
	for c := range columns {
		if set&(1<<c) != 0 {
			s.targets = append(s.targets, columns[c].in(&s.into))
		}
	}
	return s
}

// scan is that of columnSet. What it returns is overwritten by the next row.
func (s *scanner) scan(row resultRow) (*Patient, error) {
	p := &s.into
	*p = Patient{}
	if err := row.Scan(s.targets...); err != nil {
		return nil, err
	}
	if len(p.unreadable) > 0 {
		return p, fmt.Errorf("%w (patient %s, column %s): correct the value of the column, or set it to ''",
			ErrUnreadable, p.ID, strings.Join(p.unreadable, " and "))
	}
	if s.set == allColumns {
		p.stored, p.kept = p.fieldTexts(), p.seldom()
	}
	return p, nil
}

// jsonText is a value that is stored as JSON; "" is none.
type jsonText struct {
	patient *Patient // hears whether the column can be read
	column  string
	value   any // a pointer to it
}

// Scan implements sql.Scanner. What cannot be read is no error here: it would
// keep back the columns that follow.
func (j *jsonText) Scan(stored any) error {
	if text, ok := stored.(string); !ok || text != "" && !readable(text, j.value) {
		j.patient.unreadable = append(j.patient.unreadable, j.column)
	}
	return nil
}

// Value implements driver.Valuer.
func (j *jsonText) Value() (driver.Value, error) {
	text := toJSON(j.value)
	if text == "null" {
		text = ""
	}
	return text, nil
}

// nullable is a text that is NULL where it is empty.
type nullable struct{ s *string }

// Scan implements sql.Scanner.
func (n nullable) Scan(stored any) error {
	text, ok := stored.(string)
	if !ok && stored != nil {
		return fmt.Errorf("a text column holds %T", stored)
	}
	*n.s = text
	return nil
}

// Value implements driver.Valuer.
func (n nullable) Value() (driver.Value, error) {
	if *n.s == "" {
		return nil, nil
	}
	return clean(*n.s), nil
}

// listed is how the row is listed: 1, or 0 among the inactive too, or -1 never.
func (p *Patient) listed() int64 {
	switch {
	case !p.GoneAt.IsZero():
		return -1
	case p.Inactive, p.ReplacedBy != "":
		return 0
	}
	return 1
}

// flag is a yes or no that is stored as 1 or 0.
type flag struct{ set *bool }

// Scan implements sql.Scanner.
func (f flag) Scan(stored any) error {
	n, ok := stored.(int64)
	if !ok {
		return fmt.Errorf("a flag column holds %T", stored)
	}
	*f.set = n != 0
	return nil
}

// Value implements driver.Valuer.
func (f flag) Value() (driver.Value, error) { return int64(bit(*f.set)), nil }

// micros is a time that is stored as microseconds since 1970; 0 is the zero
// time.
type micros struct{ t *time.Time }

// Scan implements sql.Scanner.
func (m micros) Scan(stored any) error {
	n, ok := stored.(int64)
	if !ok {
		return fmt.Errorf("a time column holds %T", stored)
	}
	*m.t = fromMicros(n)
	return nil
}

// Value implements driver.Valuer.
func (m micros) Value() (driver.Value, error) { return toMicros(*m.t), nil }

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
