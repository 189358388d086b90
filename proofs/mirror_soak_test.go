package proofs_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// TestMirrorSoak has 20 others edit, delete, bring back and merge the patients of a FHIR
// server, and exchange their numbers, while two replicas follow it and write to it. Again
// and again one of them is killed, and twice the server is restarted. Each time every row
// of the cache is compared with the server: none is wrong that does not say STALE or
// PENDING, and once nobody writes and the mirror has looked, none differs at all. In the
// end all are the same, and what was told of each contact update was true.
func TestMirrorSoak(t *testing.T) {
	t.Parallel()
	t.Run("HAPI", func(t *testing.T) {
		t.Parallel()
		startSoak(t, startHAPI(t)).run()
	})
	t.Run("OpenEMR", func(t *testing.T) {
		t.Parallel()
		startSoak(t, clinicOutside{startSimulated(t, fhirsim.OpenEMR("8.1.1-dev"))}).run()
	})
}

// soak is the product in front of a FHIR server that others use.
type soak struct {
	t        *testing.T
	fhir     outside
	settings []string
	database string
	binary   string

	mu       sync.Mutex
	replicas [2]*Process
	logs     []*locked.Buffer // of all that ever ran
	kills    []time.Time      // also of the FHIR server

	*soakWork
}

func startSoak(t *testing.T, server outside) *soak {
	t.Helper()
	s := &soak{
		t: t, fhir: server, database: dbtest.Postgres(t), binary: Binary(t, ""),
		settings: []string{"SYNC_INTERVAL=1s", "STALE_AFTER=20s", numbersOf(server.habits())},
	}
	if !*full {
		s.settings = append(s.settings, "SYNC_INTERVAL=250ms", "FHIR_TIMEOUT=2s")
	}
	s.soakWork = newSoakWork(t, s)
	t.Cleanup(s.keepLogs)
	for n := range s.replicas {
		s.launch(n)
	}
	return s
}

// until is wait.Until; at full length a busy machine may take longer, and the end of
// -timeout shows what is waited for.
func (s *soak) until(what string, done func() bool) {
	s.t.Helper()
	if !*full {
		wait.Until(s.t, what, done)
		return
	}
	for !done() {
		time.Sleep(time.Second)
	}
}

// lasts is how long the proof takes at full length.
func (s *soak) lasts() time.Duration {
	minutes := 60
	if text := os.Getenv("SOAK_MINUTES"); text != "" {
		var err error
		if minutes, err = strconv.Atoi(text); err != nil || minutes < 1 {
			s.t.Fatalf("SOAK_MINUTES=%s is no number of minutes", text)
		}
	}
	return time.Duration(minutes) * time.Minute
}

// run kills a replica in each round, at full length once a minute.
func (s *soak) run() {
	s.until("the cache is filled", func() bool { return s.mirror()["state"] == "FOLLOWING" })
	stop := s.work()
	start, restarts := time.Now(), 0
	for n := 0; n < 2 || *full && time.Since(start) < s.lasts(); n++ {
		round := time.Now()
		s.replicas[n%2].Kill()
		s.noteKill()
		s.launch(n % 2)
		if restarts < 2 && time.Since(start) >= time.Duration(restarts+1)*s.lasts()/3 || !*full && n == 1 {
			restarts++
			s.fhir.restart()
			s.noteKill()
		}
		s.untilWritten(100)
		if *full {
			time.Sleep(25 * time.Second) // the new process is busy, and others may take over
		}
		s.verify(fmt.Sprintf("round %d", n+1))
		s.quiet(func() { s.verify(fmt.Sprintf("round %d, nobody writes", n+1), "behind", "unknown") })
		if *full {
			time.Sleep(time.Until(round.Add(time.Minute)))
		}
	}
	stop()
	s.until("every row is the same", func() (same bool) {
		s.quiet(func() { same = s.verify("in the end", "behind", "unknown") })
		return same || s.t.Failed()
	})
	s.check()
	s.log()
}

// launch starts a replica anew.
func (s *soak) launch(n int) {
	s.t.Helper()
	p := Launch(s.t, s.binary, s.fhir.base(), s.database, s.settings...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replicas[n] = p
	s.logs = append(s.logs, p.Log)
}

// keepLogs writes the logs of a failed run beside its other artifacts (go test -artifacts).
func (s *soak) keepLogs() {
	for n, log := range s.logs {
		if !s.t.Failed() {
			return
		}
		if err := os.WriteFile(filepath.Join(s.t.ArtifactDir(), fmt.Sprintf("replica-%03d.log", n)), []byte(log.String()), 0o600); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *soak) noteKill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kills = append(s.kills, time.Now())
}

// any is one of the replicas; it may be dead.
func (s *soak) any() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.replicas[rand.IntN(len(s.replicas))]
}

// mirror is what a replica says of the mirror; nil: it does not answer.
func (s *soak) mirror() Object {
	data, _ := s.any().Call(`{ mirror { state lastPollAt patients pending stale } }`, nil)
	mirror, _ := data["mirror"].(map[string]any)
	return mirror
}

// quiet calls a function when nobody writes and the mirror has looked since.
func (s *soak) quiet(do func()) {
	s.pause.Lock()
	defer s.pause.Unlock()
	paused := time.Now()
	s.until("the mirror has looked", func() bool {
		text, _ := s.mirror()["lastPollAt"].(string)
		at, err := time.Parse(time.RFC3339, text)
		return err == nil && at.After(paused)
	})
	do()
}

type verified struct {
	Differences []struct {
		Patient, Kind, Why string
		Fields             []string
	}
	Rows, Same int
	Kinds      map[string]int
}

// verify compares every row and fails if one is wrong that does not say that it may be
// old, or of another kind that must not be now. It reports whether all are the same.
func (s *soak) verify(when string, others ...string) (same bool) {
	s.t.Helper()
	for try := 1; ; try++ {
		mirror := s.mirror()
		looked, _ := time.Parse(time.RFC3339, fmt.Sprint(mirror["lastPollAt"])) // zero: nobody told
		var out, log locked.Buffer
		began := time.Now()
		err := Run(s.t.Context(), []string{"verify", "--all", "--json"}, &out, &log,
			slices.Concat([]string{"FHIR_BASE_URL=" + s.fhir.base(), "DATABASE_URL=" + s.database, "JWT_SECRET=" + Secret}, s.settings)...)
		var v verified
		if jsonErr := json.Unmarshal([]byte(out.String()), &v); jsonErr != nil {
			s.t.Errorf("%s: verify: %v: %.500s", when, err, out.String())
			return false
		}
		var bad []string
		unseen, since := 0, 0
		for _, d := range v.Differences {
			deleted, known := s.deletedAt(d.Patient)
			switch {
			case (d.Kind == "gone" || d.Kind == "behind" && len(d.Fields) == 0) && s.unseen(deleted, began):
				unseen++
			case d.Kind == "gone" && known && deleted.After(looked) && try < 5: // while nobody looked since: once more
				since++
			case slices.Contains(append(others, "wrong", "gone", "back"), d.Kind):
				bad = append(bad, fmt.Sprintf("%s is %s: %v %s", d.Patient, d.Kind, d.Fields, d.Why))
			}
		}
		if err != nil && len(bad)+unseen+since == 0 {
			bad = append(bad, err.Error())
		}
		s.verifies++
		s.compared += v.Rows
		s.marked += v.Kinds["marked"]
		s.t.Logf("%s %s: %d writes so far; %d rows, %d the same, %v (%d deleted since the last listing, %d since the last look) in %v; the mirror: %v",
			began.Format(time.TimeOnly), when, s.written.Load(), v.Rows, v.Same, v.Kinds, unseen, since, time.Since(began).Round(100*time.Millisecond), mirror)
		if len(bad) > 0 {
			s.t.Errorf("%s:\n%s", when, strings.Join(bad, "\n"))
		}
		if since == 0 {
			return v.Rows > 0 && v.Rows == v.Same
		}
	}
}

// unseen reports whether a patient was deleted so lately that the mirror need not have
// found it before the rows were read: where the server's changes do not show it, by a walk
// through all patients that began since (docs/operations.md). One that ends may have begun
// before, and one that a kill has broken off is not the whole of it.
func (s *soak) unseen(deleted, read time.Time) bool {
	if !s.fhir.habits().OpenEMR || deleted.IsZero() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	need := 2
	for _, at := range s.kills {
		if at.After(deleted) {
			need++
		}
	}
	ended := 0
	for _, log := range s.logs {
		for line := range strings.Lines(log.String()) {
			var entry struct {
				Msg  string
				Time time.Time
			}
			if strings.Contains(line, "were looked at") && json.Unmarshal([]byte(line), &entry) == nil && entry.Time.After(deleted) && entry.Time.Before(read) {
				ended++
			}
		}
	}
	return ended < need
}
