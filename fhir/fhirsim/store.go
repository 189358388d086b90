package fhirsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// timeFormat is lastUpdated as HAPI writes it.
const timeFormat = "2006-01-02T15:04:05.000-07:00"

// version is one version of a patient.
type version struct {
	number int
	id     string
	body   []byte // with meta as served; nil: this version deletes
	at     time.Time
}

// record is a patient with its past; there is at least one version.
type record struct {
	id       string
	versions []version // the oldest first
}

func (r *record) current() *version { return &r.versions[len(r.versions)-1] }

func (r *record) alive() bool { return r != nil && r.current().body != nil }

// change names a version in the order of all changes.
type change struct {
	rec   *record
	index int
}

func (c change) at() time.Time { return c.rec.versions[c.index].at }

// store holds the patients. Its methods expect mu to be held.
type store struct {
	habits  Habits
	now     func() time.Time
	changed func() // called after each change

	mu      sync.Mutex
	records map[string]*record
	order   []*record // as first created
	changes []change
}

// save appends a version to a patient, creating it if need be; a nil body
// deletes.
func (s *store) save(id string, body []byte) (*version, error) {
	return s.saveAt(id, body, s.now())
}

func (s *store) saveAt(id string, body []byte, at time.Time) (*version, error) {
	rec := s.records[id]
	next := version{number: 1, at: at.UTC()}
	if rec != nil {
		next.number = rec.current().number + 1
	}
	next.id = s.habits.versionID(id, next.number)
	if body != nil {
		var err error
		if next.body, err = s.stamp(body, next.id, next.at); err != nil {
			return nil, err
		}
	}
	if rec == nil {
		rec = &record{id: id}
		s.records[id] = rec
		s.order = append(s.order, rec)
	}
	rec.versions = append(rec.versions, next)
	s.changes = append(s.changes, change{rec, len(rec.versions) - 1})
	s.changed()
	return rec.current(), nil
}

// stamp sets meta.versionId and meta.lastUpdated and leaves every other byte.
func (s *store) stamp(body []byte, versionID string, at time.Time) ([]byte, error) {
	body = bytes.TrimSpace(body)
	var err error
	if meta := gjson.GetBytes(body, "meta"); meta.Exists() && !meta.IsObject() {
		if body, err = sjson.SetRawBytes(body, "meta", []byte(`{}`)); err != nil {
			return nil, fmt.Errorf("set meta: %w", err)
		}
	}
	if s.habits.Versions {
		body, err = sjson.SetBytes(body, "meta.versionId", versionID)
	} else {
		body, err = sjson.DeleteBytes(body, "meta.versionId")
	}
	if err != nil {
		return nil, fmt.Errorf("set meta.versionId: %w", err)
	}
	if body, err = sjson.SetBytes(body, "meta.lastUpdated", at.Format(timeFormat)); err != nil {
		return nil, fmt.Errorf("set meta.lastUpdated: %w", err)
	}
	return body, nil
}

// Put stores a Patient under its own id as a new version, past all faults and
// validation.
func (s *Server) Put(resource []byte) error {
	if s.clinic != nil {
		id, err := idOf(resource)
		if err == nil {
			s.clinic.putResource(id, resource)
		}
		return err
	}
	return s.PutLate(resource)()
}

// PutLate is Put by a transaction that takes its time: lastUpdated is from now, and
// commit, when it is called, shows the new version. Not for OpenEMR.
func (s *Server) PutLate(resource []byte) (commit func() error) {
	at, resource := s.now(), slices.Clone(resource)
	return func() error {
		id, err := idOf(resource)
		if err != nil {
			return err
		}
		s.store.mu.Lock()
		defer s.store.mu.Unlock()
		if _, err := s.store.saveAt(id, resource, at); err != nil {
			return fmt.Errorf("store patient: %w", err)
		}
		return nil
	}
}

func idOf(resource []byte) (string, error) {
	id := gjson.GetBytes(resource, "id").Str
	if !json.Valid(resource) || gjson.GetBytes(resource, "resourceType").Str != "Patient" || id == "" {
		return "", errors.New("store patient: not a Patient with an id")
	}
	return id, nil
}

// Delete deletes a patient, if it lives, past all faults.
func (s *Server) Delete(id string) {
	if s.clinic != nil {
		s.clinic.Delete(id)
		return
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if s.store.records[id].alive() {
		_, _ = s.store.save(id, nil) // only a body can fail
	}
}

// Get returns a living patient as stored, with meta as served, and the number
// of its version, from 1 (also where version ids are UUIDs, or none are
// served).
func (s *Server) Get(id string) (resource []byte, version int, ok bool) {
	if s.clinic != nil {
		return s.clinic.get(id)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	rec := s.store.records[id]
	if !rec.alive() {
		return nil, 0, false
	}
	return slices.Clone(rec.current().body), rec.current().number, true
}

// History returns all versions of a patient, the oldest first; nil stands for
// a deletion.
func (s *Server) History(id string) [][]byte {
	if s.clinic != nil {
		return s.clinic.history(id)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	rec := s.store.records[id]
	if rec == nil {
		return nil
	}
	list := make([][]byte, len(rec.versions))
	for i, v := range rec.versions {
		list[i] = slices.Clone(v.body)
	}
	return list
}

// IDs returns the ids of the living patients in the order of their creation.
func (s *Server) IDs() []string {
	if s.clinic != nil {
		return s.clinic.ids()
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	var ids []string
	for _, rec := range s.store.order {
		if rec.alive() {
			ids = append(ids, rec.id)
		}
	}
	return ids
}

// same reports whether two resources say the same, the server's own part of
// meta apart. The order of members does not count, the digits of numbers do.
func same(a, b []byte) bool {
	var trees [2]any
	for i, body := range [][]byte{a, b} {
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var tree map[string]any
		if err := d.Decode(&tree); err != nil {
			return false // then at least one of them is new
		}
		meta, _ := tree["meta"].(map[string]any)
		for _, name := range []string{"versionId", "lastUpdated", "source"} {
			delete(meta, name)
		}
		if len(meta) == 0 {
			delete(tree, "meta")
		}
		trees[i] = tree
	}
	return reflect.DeepEqual(trees[0], trees[1])
}

// pick returns a JSON object of the members that keep accepts, byte for byte,
// followed by further members.
func pick(body []byte, keep func(key string) bool, more ...string) []byte {
	var out bytes.Buffer
	add := func(key, value string) {
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.WriteString(key + ":" + value)
	}
	gjson.ParseBytes(body).ForEach(func(key, value gjson.Result) bool {
		if keep(key.Str) {
			add(key.Raw, value.Raw)
		}
		return true
	})
	for i := 0; i+1 < len(more); i += 2 {
		add(more[i], more[i+1])
	}
	return append(append([]byte{'{'}, out.Bytes()...), '}')
}
