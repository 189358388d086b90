package mirror

import (
	"context"
	"iter"
	"testing"
	"time"

	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
)

// A history that lags, or has gaps, shows a deletion of a patient who came back. Whoever is
// there stays, and whoever is gone is gone with the same look.
func TestADeletionThatIsOldIsLookedInto(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]time.Duration{"without a time": 0, "of before": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fhirsim.HAPI())
			r.puts("a", "010-1111-1111")
			r.puts("b", "010-1111-1111")
			r.walks()
			r.looks()
			r.fhir.changed = func(context.Context, time.Time) iter.Seq2[fhir.Listing, error] {
				return func(yield func(fhir.Listing, error) bool) {
					l := fhir.Listing{ServerTime: r.clock.Now(), Deletes: true}
					for _, id := range []string{"a", "b"} {
						c := fhir.Change{ID: id, Deleted: true}
						if at != 0 {
							c.At = r.clock.Now().Add(at)
						}
						l.Changes = append(l.Changes, c)
					}
					yield(l, nil)
				}
			}
			r.server.Delete("b")
			r.looks()
			r.wants("who came back", "a", "010-1111-1111")
			r.wants("who is gone", "b", "")
			if row := r.row("a"); !row.UnseenSince.IsZero() {
				t.Errorf("%+v", row)
			}
		})
	}
}
