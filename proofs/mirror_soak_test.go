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
	interval := "250ms"
	if *full {
		interval = "1s"
	}
	s := &soak{
		t: t, fhir: server, database: dbtest.Postgres(t), binary: Binary(t, ""),
		settings: []string{"SYNC_INTERVAL=" + interval, "STALE_AFTER=20s", "FHIR_TIMEOUT=2s", numbersOf(server.habits())},
	}
	if *full {
		s.settings = append(s.settings, "FHIR_TIMEOUT=5s")
	}
	s.soakWork = newSoakWork(t, s)
	t.Cleanup(s.keepLogs)
	for n := range s.replicas {
		s.launch(n)
	}
	return s
}

// rounds is how often a replica is killed: at full length once a minute, for
// SOAK_MINUTES, an hour.
func (s *soak) rounds() int {
	minutes := 60
	if text := os.Getenv("SOAK_MINUTES"); text != "" {
		var err error
		if minutes, err = strconv.Atoi(text); err != nil || minutes < 3 {
			s.t.Fatalf("SOAK_MINUTES=%s: at least 3", text)
		}
	}
	return length(2, minutes)
}

func (s *soak) run() {
	wait.Until(s.t, "the cache is filled", func() bool { return s.mirror()["state"] == "FOLLOWING" })
	stop := s.work()
	rounds := s.rounds()
	for n := range rounds {
		began := time.Now()
		s.replicas[n%2].Kill()
		s.noteKill()
		s.launch(n % 2)
		if n == rounds/3 || *full && n == 2*rounds/3 {
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
			time.Sleep(time.Until(began.Add(time.Minute)))
		}
	}
	stop()
	s.quiet(func() {})
	wait.Until(s.t, "every row is the same", func() bool {
		same := s.verify("in the end", "behind", "unknown")
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
	wait.Until(s.t, "the mirror has looked", func() bool {
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
	mirror := s.mirror()
	var out, log locked.Buffer
	began := time.Now()
	err := Run(s.t.Context(), []string{"verify", "--all", "--json"}, &out, &log,
		slices.Concat([]string{"FHIR_BASE_URL=" + s.fhir.base(), "DATABASE_URL=" + s.database, "JWT_SECRET=" + Secret}, s.settings)...)
	var v verified
	if jsonErr := json.Unmarshal([]byte(out.String()), &v); jsonErr != nil {
		s.t.Errorf("%s: verify: %v: %.500s", when, err, out.String())
		return false
	}
	bad, unseen := 0, 0
	for _, d := range v.Differences {
		switch {
		case d.Kind == "gone" && s.unseen(d.Patient):
			unseen++
		case slices.Contains(append(others, "wrong", "gone", "back"), d.Kind):
			bad++
			s.t.Errorf("%s: %s is %s: %v %s", when, d.Patient, d.Kind, d.Fields, d.Why)
		}
	}
	if err != nil && bad+unseen == 0 {
		s.t.Errorf("%s: verify: %v", when, err)
	}
	s.verifies++
	s.compared += v.Rows
	s.marked += v.Kinds["marked"]
	s.t.Logf("%s %s: %d writes so far; %d rows, %d the same, %v (%d deleted so lately that no listing has shown it) in %v; the mirror: %v",
		began.Format(time.TimeOnly), when, s.written.Load(), v.Rows, v.Same, v.Kinds, unseen, time.Since(began).Round(100*time.Millisecond), mirror)
	return v.Rows > 0 && v.Rows == v.Same
}

// unseen reports whether a patient was deleted so lately that the mirror need not have
// found it: where the server's changes do not show it, by a walk through all patients that
// began since (docs/operations.md). One that ends may have begun before, and one that a
// kill has broken off is not the whole of it.
func (s *soak) unseen(number string) bool {
	if !s.fhir.habits().OpenEMR {
		return false
	}
	deleted, found := s.deletedAt(number)
	if !found {
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
			if strings.Contains(line, "were looked at") && json.Unmarshal([]byte(line), &entry) == nil && entry.Time.After(deleted) {
				ended++
			}
		}
	}
	return ended < need
}
