package fhir

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

// A walk goes on after an upgrade where it stood before: what was stored means the same.
func TestAStoredPositionIsUnderstood(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const stored = `{"base":"https://emr.example/fhir","since":"2026-03-01","sorted":true,"count":200,"byOffset":true,"offset":400,"link":"https://emr.example/fhir?page=3",` +
		`"last":["a 1"],"mixed":true,"from":"2026-03-01T12:00:00Z","lower":"2026-03-01T12:00:00Z","began":"2026-03-01T12:00:00Z","failed":true,"total":1000,"shown":400}`
	is, err := json.Marshal(position{Base: "https://emr.example/fhir", Since: "2026-03-01", Sorted: true, PageSize: 200, ByOffset: true, Offset: 400, Link: "https://emr.example/fhir?page=3",
		Last: []string{"a 1"}, Mixed: true, From: noon, Lower: noon, Began: noon, Failed: true, Total: 1000, Shown: 400})
	if err != nil || string(is) != stored {
		t.Errorf("%v: stored as %s", err, is)
	}
	c := newTestClient(t, "https://emr.example/fhir", nil)
	for text, wants := range map[string]bool{
		`{"base":"https://emr.example/fhir","offset":400}`:                 true,
		`{"base":"https://other.example/fhir","offset":400}`:               false,
		`{"base":"https://emr.example/fhir","offset":400,"direction":"x"}`: false,
		`page 3`: false,
	} {
		w := walk{c: c, longest: 200, position: position{PageSize: 200, ByOffset: true}}
		err := w.continueFrom(text)
		var f *Error
		if (err == nil) != wants || !wants && (!errors.As(err, &f) || f.Cause != ListingExpired) {
			t.Errorf("%s: %v", text, err)
		}
		if wants && (w.PageSize != 0 || w.ByOffset) {
			t.Errorf("%s: what is not in it was kept: %+v", text, w.position)
		}
	}
}
