package fhirsim

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// merge answers POST Patient/$merge as HAPI does, for a source and a target that are
// named by source-patient and target-patient. Other resources, which HAPI repoints too,
// there are none.
func (s *Server) merge(c *call, _ *Fault) answer {
	params := map[string]gjson.Result{}
	for _, p := range gjson.GetBytes(c.Body, "parameter").Array() {
		params[p.Get("name").Str] = p
	}
	id := func(name string) string {
		return strings.TrimPrefix(params[name].Get("valueReference.reference").Str, "Patient/")
	}
	source, target := id("source-patient"), id("target-patient")
	if source == "" || target == "" {
		return s.problem(problem{status: http.StatusBadRequest, code: "required", text: "There are no source or target patient parameters provided"})
	}
	if err := s.Merge(source, target, params["delete-source"].Get("valueBoolean").Bool()); err != nil {
		return s.problem(problem{status: http.StatusUnprocessableEntity, text: err.Error()})
	}
	result, _, _ := s.Get(target)
	return jsonAnswer(http.StatusOK, encode(map[string]any{"resourceType": "Parameters", "parameter": []any{
		map[string]any{"name": "outcome", "resource": map[string]any{"resourceType": "OperationOutcome", "issue": []issue{
			{Severity: "information", Code: "informational", Diagnostics: "Merge operation completed successfully."}}}},
		map[string]any{"name": "result", "resource": gjson.ParseBytes(result).Value()},
	}}))
}

// Merge merges a patient into another: the source becomes inactive, with a link
// replaced-by, or is deleted; the target gets its identifiers as old ones, and a link
// replaces unless the source is deleted.
func (s *Server) Merge(source, target string, deleteSource bool) error {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	from, to := s.store.records[source], s.store.records[target]
	switch {
	case !from.alive() || !to.alive() || source == target:
		return fmt.Errorf("merge: two living patients are needed")
	case gjson.GetBytes(from.current().body, `link.#(type=="replaced-by")`).Exists():
		return fmt.Errorf("merge: the source was merged before")
	}
	old, survivor := from.current().body, to.current().body
	link := func(kind, id string) map[string]any {
		return map[string]any{"other": map[string]string{"reference": "Patient/" + id}, "type": kind}
	}
	var err error
	set := func(body *[]byte, path string, value any) {
		if err == nil {
			*body, err = sjson.SetBytes(*body, path, value)
		}
	}
	for _, identifier := range gjson.GetBytes(old, "identifier").Array() {
		copied := []byte(identifier.Raw)
		set(&copied, "use", "old")
		if err == nil {
			survivor, err = sjson.SetRawBytes(survivor, "identifier.-1", copied)
		}
	}
	if !deleteSource {
		set(&survivor, "link.-1", link("replaces", source))
		set(&old, "active", false)
		set(&old, "link.-1", link("replaced-by", target))
	}
	if err != nil {
		return fmt.Errorf("merge: %w", err)
	}
	if deleteSource {
		old = nil
	}
	if _, err := s.store.save(target, survivor); err != nil {
		return err
	}
	_, err = s.store.save(source, old)
	return err
}
