package fhirsim

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

var onlyDigits = regexp.MustCompile(`^[0-9]+$`)

// put answers PUT Patient/{id}. Check and write are one step under the lock.
func (s *Server) put(c *call, f *Fault) answer {
	if p := s.checkBody(c); p != nil {
		return s.problem(*p)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if f.Compete {
		s.compete(c.ID)
	}
	rec := s.store.records[c.ID]
	if f.RejectPhone != "" && rec.alive() {
		if index, changed := phoneChange(rec.current().body, c.Body); changed {
			return s.problem(*s.badPhone(index, f.RejectPhone))
		}
	}
	if p := s.checkVersion(c, rec); p != nil {
		return s.problem(*p)
	}
	if p := s.checkPhones(c.Body); p != nil {
		return s.problem(*p)
	}
	status := http.StatusOK
	var old []byte
	if rec.alive() {
		old = rec.current().body
	} else if p := s.checkCreate(c.ID, rec); p != nil {
		return *p
	} else {
		status = s.habits.CreateStatus
	}
	body := c.Body
	if s.habits.DropsUnknown {
		body = pick(body, known)
	}
	body = f.stored(old, body)
	if old != nil && (f.Ignore || !s.habits.IdenticalPutNewVersion && same(old, body)) {
		return s.written(c, status, rec.current())
	}
	v, err := s.store.save(c.ID, body)
	if err != nil {
		return s.problem(problem{status: http.StatusInternalServerError, text: err.Error()})
	}
	return s.written(c, status, v)
}

// checkCreate refuses to create a patient where the server does so.
func (s *Server) checkCreate(id string, rec *record) *answer {
	var a answer
	switch {
	case rec == nil && s.habits.NumericCreate != 0 && onlyDigits.MatchString(id):
		a = s.problem(problem{status: s.habits.NumericCreate, hapi: "HAPI-0960", text: "Can not create resource with ID[" + id + "], no resource with this ID exists and clients may only assign IDs which contain at least one non-numeric character"})
	case s.habits.CreateStatus >= http.StatusBadRequest: // OpenEMR's words
		a = jsonAnswer(s.habits.CreateStatus, encode(map[string]any{"validationErrors": map[string]any{"uuid": map[string]string{id: "UUID " + id + " does not exist"}}}))
	default:
		return nil
	}
	return &a
}

// checkVersion compares If-Match, or the version in the URL, with the current
// version, which may be a deletion.
func (s *Server) checkVersion(c *call, rec *record) *problem {
	wanted := ifMatch(c)
	if wanted == "" || s.habits.StaleIfMatch == 0 {
		return nil
	}
	if !rec.alive() && s.habits.UnknownIfMatch != 0 {
		return s.unknown(s.habits.UnknownIfMatch, c.ID)
	}
	if rec == nil {
		return nil // HAPI creates it whatever If-Match says
	}
	if _, err := strconv.ParseInt(wanted, 10, 64); err != nil && s.habits.OddIfMatch != 0 {
		return &problem{status: s.habits.OddIfMatch, hapi: "HAPI-2223", text: fmt.Sprintf("For input string: %q", wanted)}
	}
	if wanted != rec.current().id {
		return &problem{status: s.habits.StaleIfMatch, hapi: "HAPI-0550: HAPI-0989", code: s.conflictCode(), text: "Trying to update Patient/" + c.ID + "/_history/" + wanted + " but this is not the current version"}
	}
	return nil
}

func (s *Server) conflictCode() string {
	if s.habits.ErrorStyle == InDetails {
		return "conflict"
	}
	return ""
}

// ifMatch reads the version that a PUT is based on; W/"1", "1" and 1 are the
// same.
func ifMatch(c *call) string {
	if c.version != "" {
		return c.version
	}
	tag := strings.TrimSpace(c.IfMatch)
	tag = strings.TrimPrefix(tag, "W/")
	return strings.TrimSuffix(strings.TrimPrefix(tag, `"`), `"`)
}

// written answers a PUT as its Prefer header asks.
func (s *Server) written(c *call, status int, v *version) answer {
	a := s.resource(c, status, c.ID, v)
	prefer := c.Header.Get("Prefer")
	switch {
	case strings.Contains(prefer, "return=minimal"):
		a.body = nil
		a.header.Del("Content-Type")
	case strings.Contains(prefer, "return=OperationOutcome"):
		issues := []issue{{Severity: "information", Code: "informational", Diagnostics: "Successfully updated resource \"Patient/" + c.ID + "/_history/" + v.id + "\"."}}
		if s.habits.ValidatePhone {
			issues = append(issues, issue{Severity: "information", Code: "informational", Diagnostics: "No issues detected during validation"})
		}
		a.body = outcome(issues...)
	}
	return a
}

// delete answers DELETE Patient/{id}; If-Match is ignored, as by HAPI.
func (s *Server) delete(c *call, _ *Fault) answer {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	text := "Not deleted, resource Patient/" + c.ID + " does not exist."
	a := jsonAnswer(http.StatusOK, nil)
	a.header.Set("Content-Location", c.base+"/Patient/"+c.ID)
	rec := s.store.records[c.ID]
	switch {
	case rec.alive():
		v, err := s.store.save(c.ID, nil)
		if err != nil {
			return s.problem(problem{status: http.StatusInternalServerError, text: err.Error()})
		}
		text = "Successfully deleted 1 resource(s)."
		a.header.Set("Content-Location", versionURL(c, c.ID, v))
	case rec != nil:
		text = "Not deleted, resource Patient/" + c.ID + " was already deleted."
		a.header.Set("Content-Location", versionURL(c, c.ID, rec.current()))
	}
	a.body = outcome(issue{Severity: "information", Code: "informational", Diagnostics: text})
	return a
}
