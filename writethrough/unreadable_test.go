package writethrough_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
	"patientgraph/writethrough"
)

// untilLogged returns the log once it holds that text.
func untilLogged(t *testing.T, log *locked.Buffer, text string) string {
	t.Helper()
	wait.Until(t, "the log has "+text, func() bool { return strings.Contains(log.String(), text) })
	return log.String()
}

// A PUT in the journal that cannot be read stays open and is named in the log.
// What docs/operations.md says of the column settles it.
func TestAnUnreadablePutIsNamedAndMended(t *testing.T) {
	t.Parallel()
	for n, damaged := range []string{"", `{"edit":"secret`, strings.Repeat("[", 1<<20)} {
		for _, landed := range []bool{true, false} {
			t.Run(fmt.Sprint(n, " landed ", landed), func(t *testing.T) {
				t.Parallel()
				r, url := newDamaged(t, "put", damaged, landed)
				var log locked.Buffer
				r.writer(true, r.client, r.store, func(c *writethrough.Config) {
					c.Log, c.Lease, c.SettleWindow = slog.New(slog.NewTextHandler(&log, nil)), 500*time.Millisecond, time.Second
				})
				if text := untilLogged(t, &log, "operation op, column contact_updates.put"); strings.Contains(text, "secret") || strings.Contains(text, "[[[") {
					t.Error("the log quotes the line")
				}
				if st := r.settled("other"); st != db.UpdateNotApplied {
					t.Errorf("the other patient's update ended as %s", st)
				}
				if st := r.state("op"); !st.Open() {
					t.Fatalf("it was settled as %s", st)
				}
				setColumn(t, url, "op", "put",
					`{"edit":{"setPhone":true,"phone":"010-7777-7777"},"base":{},"intended":{"phone":"010-7777-7777"},"at":"2026-01-31T12:00:00Z"}`)
				want := db.UpdateRejected // what it was before is not known
				if landed {
					want = db.UpdateApplied
				}
				r.endsAs(want, landed)
			})
		}
	}
}

// What the caller was told is no evidence: an update is settled though nobody
// can read it any more.
func TestAnUnreadableAnswerHoldsNothingUp(t *testing.T) {
	t.Parallel()
	for _, landed := range []bool{true, false} {
		t.Run(fmt.Sprint("landed ", landed), func(t *testing.T) {
			t.Parallel()
			r, _ := newDamaged(t, "answer", `{"code":"FHIR_REJ`, landed)
			r.writer(true, r.client, r.store, func(c *writethrough.Config) { c.Lease, c.SettleWindow = 500*time.Millisecond, time.Second })
			want := db.UpdateNotApplied
			if landed {
				want = db.UpdateApplied
			}
			r.endsAs(want, landed)
		})
	}
}

// newDamaged leaves two updates behind, one with a damaged column. landed: its
// PUT took effect.
func newDamaged(t *testing.T, column, damaged string, landed bool) (*rig, string) {
	t.Helper()
	url := dbtest.SQLite(t)
	r := newRigOn(t, url, 2)
	if landed {
		r.put(`{"system":"phone","value":"010-7777-7777","use":"mobile"}`)
	}
	r.leave(0, "op", `W/"1"`)
	r.leave(1, "other", `W/"1"`)
	setColumn(t, url, "op", column, damaged)
	return r, url
}

// endsAs wants the damaged update to end so, and the cache to follow.
func (r *rig) endsAs(want db.UpdateState, landed bool) {
	r.t.Helper()
	if st := r.settled("op"); st != want {
		r.t.Errorf("it ended as %s, want %s", st, want)
	}
	if p, err := r.store.Patient(r.t.Context(), patientID(0)); err != nil || p.SyncState != db.Synced || (p.Phone == "010-7777-7777") != landed {
		r.t.Errorf("the cache has %+v, %v", p, err)
	}
}

// The answer of a settled line that was cleared by hand is not made up.
func TestAClearedAnswer(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	r := newRigOn(t, url, 1)
	r.leave(0, "op", `W/"1"`)
	w := r.writer(true, r.client, r.store, func(c *writethrough.Config) { c.Lease, c.SettleWindow = 500*time.Millisecond, time.Second })
	if st := r.settled("op"); st != db.UpdateNotApplied {
		t.Fatal(st)
	}
	setColumn(t, url, "op", "answer", "")
	u, err := w.ContactUpdate(t.Context(), "op")
	if err != nil || u.State != db.UpdateNotApplied || u.Outcome.Code != writethrough.OutcomeUnknown || !strings.Contains(u.Outcome.Reason, "no longer in the journal") {
		t.Errorf("%+v, %v", u, err)
	}
}

// What docs/operations.md says of a line that nobody can mend.
func TestALineEndedByHand(t *testing.T) {
	t.Parallel()
	for state, landed := range map[db.UpdateState]bool{db.UpdateApplied: true, db.UpdateNotApplied: false} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			url := dbtest.SQLite(t)
			r := newRigOn(t, url, 1)
			shown := "010-0000-0000"
			if landed {
				shown = "010-7777-7777"
				r.put(`{"system":"phone","value":"010-7777-7777","use":"mobile"}`)
			}
			r.leave(0, "op", `W/"1"`)
			setColumn(t, url, "op", "put", "{")
			var log locked.Buffer
			w := r.writer(true, r.client, r.store, func(c *writethrough.Config) {
				c.Log, c.Lease = slog.New(slog.NewTextHandler(&log, nil)), 500*time.Millisecond
			})
			untilLogged(t, &log, "contact_updates.put")
			end := `UPDATE contact_updates SET state = 'APPLIED', owner = '', settled_at = 1769860800000000, answer = ''
				WHERE id = 'op' AND state IN ('SENT', 'UNKNOWN')`
			if !landed {
				end = `UPDATE contact_updates SET state = 'NOT_APPLIED', idempotency_key = '', owner = '', settled_at = 1769860800000000,
					answer = '{"code":"FHIR_UNAVAILABLE","reason":"ended by hand: the write never took effect"}'
					WHERE id = 'op' AND state IN ('SENT', 'UNKNOWN')`
			}
			execute(t, url, end)
			u, err := w.ContactUpdate(t.Context(), "op")
			if err != nil || u.State != state || landed != (u.Outcome.Code == writethrough.Success && u.Outcome.Patient != nil) || !landed && u.Outcome.Code != writethrough.Unavailable {
				t.Fatalf("%+v, %v", u, err)
			}
			versions := len(r.server.History("f0"))
			applied, err := update(t.Context(), w, setPhone(shown))
			if err != nil || applied.Patient.SyncState != db.Synced || applied.Patient.Phone != shown || len(r.server.History("f0")) != versions {
				t.Errorf("a write of what is there already: %+v, %v", applied, err)
			}
		})
	}
}

// setColumn writes a column of a line of the journal, as an operator does.
func setColumn(t *testing.T, databaseURL, id, column, text string) {
	t.Helper()
	execute(t, databaseURL, "UPDATE contact_updates SET "+column+" = $1 WHERE id = $2", text, id)
}
