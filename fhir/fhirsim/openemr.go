package fhirsim

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
)

// OpenEMRVersions are the versions that OpenEMR imitates, the oldest first.
var OpenEMRVersions = []string{"7.0.3", "7.0.4", "8.0.0", "8.1.1-dev"}

// openEMRVersion is an index into OpenEMRVersions: later ones compare as
// greater.
type openEMRVersion int

const (
	emr703 openEMRVersion = iota
	emr704
	emr800
	emr811
)

// OpenEMR is an OpenEMR of one of OpenEMRVersions. It keeps columns where the
// others keep bytes, and makes the resource from them anew with every GET; see
// Clinic.
func OpenEMR(version string) Habits {
	if !slices.Contains(OpenEMRVersions, version) {
		panic("fhirsim: no OpenEMR " + version + " is known") // a test's own slip
	}
	return Habits{Name: "OpenEMR", Software: version, OpenEMR: true}
}

// Columns is a row of OpenEMR's table patient_data. A column that is not in it
// is NULL.
type Columns map[string]string

// wallClock is how OpenEMR stores a time: the clinic's clock, in whole seconds.
const wallClock = "2006-01-02 15:04:05"

// row is a patient with its past; there is at least one version, and nil
// stands for a deletion.
type row struct {
	id       string
	pid      int // the clinic's own number
	versions []Columns
}

func (r *row) current() Columns { return r.versions[len(r.versions)-1] }

func (r *row) alive() bool { return r != nil && r.current() != nil }

// Clinic is an OpenEMR seen from inside: its patients as its screens show and
// change them, its users' rights, its clock and its database. All methods are
// safe for concurrent use.
type Clinic struct {
	version openEMRVersion
	now     func() time.Time

	mu        sync.Mutex
	rows      map[string]*row
	order     []*row // as first stored
	zone      *time.Location
	token     string // that requests need; "": none
	revoked   map[string]bool
	scopes    []string
	oauth     oauth
	loggedOut bool
	noACL     bool
	database  Database
	cookies   int // session cookies given so far
}

func newClinic(o Options) *Clinic {
	return &Clinic{
		version: openEMRVersion(slices.Index(OpenEMRVersions, o.Habits.Software)), now: o.Now,
		rows: map[string]*row{}, zone: time.UTC, token: o.Bearer, revoked: map[string]bool{},
		scopes: []string{"user/Patient.read", "user/Patient.write"}, oauth: newOAuth(),
	}
}

// Clinic is the inside of a server with the habits of OpenEMR; nil for others.
func (s *Server) Clinic() *Clinic { return s.clinic }

// Put stores a patient by its columns, past all validation. date and
// last_updated are set to now where they are not given, and pubpid to the
// patient's number; an empty date is NULL, as of a row that was imported.
func (k *Clinic) Put(id string, c Columns) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.store(id, c)
}

func (k *Clinic) store(id string, c Columns) {
	c = maps.Clone(c)
	r := k.find(id)
	if r == nil {
		r = &row{id: id, pid: len(k.order) + 1}
		k.rows[id] = r
		k.order = append(k.order, r)
	}
	defaults := Columns{"date": k.clock(), "last_updated": k.clock(), "pubpid": strconv.Itoa(r.pid)}
	for column, value := range defaults {
		if _, given := c[column]; !given {
			c[column] = value
		}
	}
	if c["date"] == "" {
		delete(c, "date")
	}
	r.versions = append(r.versions, c)
}

// Set changes one column as a screen of the clinic does: any value, of a
// patient's sex for example Female, Male or UNK. It reports whether there is
// such a patient.
func (k *Clinic) Set(id, column, value string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.find(id)
	if !r.alive() {
		return false
	}
	k.update(r, []assignment{{column, value}})
	return true
}

// Row returns the columns of a patient, date and last_updated included.
func (k *Clinic) Row(id string) (Columns, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.find(id)
	if !r.alive() {
		return nil, false
	}
	return maps.Clone(r.current()), true
}

// SetToken gives out a new access token, as a refresh does: the one before is
// dead from now on.
func (k *Clinic) SetToken(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revoked[k.token] = true
	delete(k.revoked, token)
	k.token = token
}

// SetLoggedOut ends the session of the user who granted the token, or brings
// it back.
func (k *Clinic) SetLoggedOut(loggedOut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.loggedOut = loggedOut
}

// SetScopes says what the token allows: user/Patient.read and
// user/Patient.write at first.
func (k *Clinic) SetScopes(scopes ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.scopes = scopes
}

// SetACL takes the user's rights on patients away, or gives them back.
func (k *Clinic) SetACL(allowed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.noACL = !allowed
}

// SetZone changes the clinic's time zone, UTC at first. What is stored keeps
// its wall-clock time, and so becomes another moment.
func (k *Clinic) SetZone(zone *time.Location) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.zone = zone
}

// clock is the clinic's time now, as it is stored.
func (k *Clinic) clock() string { return k.now().In(k.zone).Format(wallClock) }

// find returns the patient with an id, whatever the case of its letters; nil
// when there is none. It may have been deleted.
func (k *Clinic) find(id string) *row {
	if r := k.rows[id]; r != nil {
		return r
	}
	return k.rows[strings.ToLower(id)]
}

// maxColumn is the length of OpenEMR's text columns, in characters; what is
// longer is cut by the database without a word.
const maxColumn = 255

// update writes columns of a patient, as one UPDATE does.
func (k *Clinic) update(r *row, set []assignment) {
	c := maps.Clone(r.current())
	for _, a := range set {
		if text := []rune(a.value); len(text) > maxColumn {
			a.value = string(text[:maxColumn])
		}
		c[a.column] = a.value
	}
	c["date"], c["last_updated"] = k.clock(), k.clock()
	r.versions = append(r.versions, c)
}

// compete is another editor: it changes the patient's work phone.
func (k *Clinic) compete(r *row) {
	if !r.alive() {
		return
	}
	value := "02-000-0001"
	if r.current()["phone_biz"] == value {
		value = "02-000-0002"
	}
	k.update(r, []assignment{{"phone_biz", value}})
}

// The rest is what Server offers for every kind of server.

// putResource stores what a clinic would have typed in for a FHIR Patient.
func (k *Clinic) putResource(id string, resource []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.store(id, k.columnsOf(gjson.ParseBytes(resource)))
}

// Delete deletes a patient at the clinic's desk, which no search will tell.
func (k *Clinic) Delete(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.find(id); r.alive() {
		r.versions = append(r.versions, nil)
	}
}

func (k *Clinic) get(id string) (resource []byte, version int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.find(id)
	if !r.alive() {
		return nil, 0, false
	}
	return encode(k.resource(r.id, r.current())), len(r.versions), true
}

func (k *Clinic) history(id string) [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.find(id)
	if r == nil {
		return nil
	}
	list := make([][]byte, len(r.versions))
	for i, c := range r.versions {
		if c != nil {
			list[i] = encode(k.resource(r.id, c))
		}
	}
	return list
}

func (k *Clinic) ids() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var ids []string
	for _, r := range k.order {
		if r.alive() {
			ids = append(ids, r.id)
		}
	}
	return ids
}

// read answers GET Patient/{id}.
func (k *Clinic) read(c *call, f *Fault) answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.find(c.ID)
	if f.Compete {
		defer k.compete(r)
	}
	switch {
	case r.alive():
		return k.json(http.StatusOK, k.resource(r.id, r.current()))
	case r == nil && !isUUID(c.ID):
		return k.json(http.StatusBadRequest, object{{"validationErrors", object{{"_id", badSearchValue + "UUID columns must be a valid UUID string"}}}})
	}
	return k.json(http.StatusNotFound, []any{})
}
