package fhirsim

import (
	"net/http"
	"strconv"
)

// read answers GET Patient/{id} and GET Patient/{id}/_history/{version}.
func (s *Server) read(c *call, f *Fault) answer {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if f.Compete {
		defer s.compete(c.ID)
	}
	rec := s.store.records[c.ID]
	if rec == nil {
		return s.problem(*s.unknown(http.StatusNotFound, c.ID))
	}
	v := rec.current()
	if c.version != "" {
		v = rec.find(c.version)
	}
	switch {
	case v == nil:
		code := "HAPI-0979"
		if _, err := strconv.ParseInt(c.version, 10, 64); err != nil {
			code = "HAPI-0978"
		}
		return s.problem(problem{status: http.StatusNotFound, hapi: code, code: s.notFoundCode(), text: `Version "` + c.version + `" is not valid for resource Patient/` + c.ID})
	case v.body == nil && s.habits.GoneStatus == http.StatusGone:
		a := s.problem(problem{status: http.StatusGone, text: "Resource was deleted at " + v.at.Format(timeFormat)})
		a.header.Set("Location", versionURL(c, c.ID, v))
		return a
	case v.body == nil:
		return s.problem(*s.unknown(s.habits.GoneStatus, c.ID))
	case s.habits.Versions && c.Header.Get("If-None-Match") == etag(v):
		return answer{status: http.StatusNotModified, header: http.Header{}}
	}
	return s.resource(c, http.StatusOK, c.ID, v)
}

func (r *record) find(versionID string) *version {
	for i := range r.versions {
		if r.versions[i].id == versionID {
			return &r.versions[i]
		}
	}
	return nil
}

func (s *Server) unknown(status int, id string) *problem {
	return &problem{status: status, hapi: "HAPI-2001", code: s.notFoundCode(), text: "Resource Patient/" + id + " is not known"}
}

func (s *Server) notFoundCode() string {
	if s.habits.ErrorStyle == InDetails {
		return "not-found"
	}
	return ""
}

// searchParams are the search parameters of Patient that are implemented.
var searchParams = []string{"_id", "_lastUpdated", "identifier"}

// metadata answers with the CapabilityStatement, which is open to all.
func (s *Server) metadata(c *call, _ *Fault) answer {
	if c.Method != http.MethodGet {
		return s.unsupported(c, nil)
	}
	type coded struct {
		Code string `json:"code"`
	}
	type param struct {
		Name string `json:"name"`
		Type string `json:"type"`
	}
	interactions := []coded{{"read"}, {"update"}, {"search-type"}}
	versioning := "no-version"
	if s.habits.Versions {
		versioning = "versioned"
		if s.habits.StaleIfMatch != 0 {
			versioning = "versioned-update"
		}
		interactions = append(interactions, coded{"vread"}, coded{"history-instance"}, coded{"history-type"})
	}
	if s.habits.Deletes {
		interactions = append(interactions, coded{"delete"})
	}
	types := map[string]string{"_id": "token", "_lastUpdated": "date", "identifier": "token"}
	var params []param
	for _, name := range searchParams {
		params = append(params, param{name, types[name]})
	}
	return jsonAnswer(http.StatusOK, encode(map[string]any{
		"resourceType": "CapabilityStatement", "status": "active", "date": s.now().UTC().Format(timeFormat), "kind": "instance",
		"software":       map[string]string{"name": s.habits.Name, "version": s.habits.Software},
		"implementation": map[string]string{"description": "in-process test server", "url": c.base},
		"fhirVersion":    "4.0.1", "format": []string{"application/fhir+json", "json"},
		"rest": []any{map[string]any{"mode": "server", "resource": []any{map[string]any{
			"type": "Patient", "profile": "http://hl7.org/fhir/StructureDefinition/Patient",
			"interaction": interactions, "versioning": versioning, "searchParam": params,
		}}}},
	}))
}
