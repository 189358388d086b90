package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"patientgraph/db/dbtest"
)

// TestEachLookUpFindsItsOwnPatient has many at the same time ask for patients who are there,
// who are not, and who cannot be read, with different columns, while one is changed: who asks
// after a change is answered with it.
func TestEachLookUpFindsItsOwnPatient(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		const patients, callers, rounds = 20, 40, 25
		for n := range patients {
			add(t, s, testTime, NewPatient{Number: fmt.Sprintf("P-%d", n), State: FHIRState{Phone: fmt.Sprint(n), GivenName: fmt.Sprintf("given %d", n)}})
		}
		s.damage(t, "patients", "allergies", "P-3", "[")
		sets := [][]Column{{ColPhone}, {ColGivenName, ColAllergies}, {ColVersion}, nil}
		var all sync.WaitGroup
		for c := range callers {
			all.Go(func() {
				for round := range rounds {
					n, columns := (c*7+round)%(patients+5), sets[(c+round)%len(sets)]
					id := fmt.Sprintf("P-%d", n)
					p, err := s.Patient(t.Context(), id, columns...)
					unreadable := n == 3 && (len(columns) == 0 || len(columns) == 2)
					switch {
					case n >= patients:
						if !errors.Is(err, ErrNotFound) {
							t.Errorf("%s: %+v, %v", id, p, err)
						}
					case errors.Is(err, ErrUnreadable) != unreadable || err != nil && !unreadable:
						t.Errorf("%s with %v: %v", id, columns, err)
					case unreadable:
					case p.ID != id, len(columns) == 1 && columns[0] == ColPhone && p.Phone != fmt.Sprint(n), len(columns) != 1 && p.GivenName != fmt.Sprintf("given %d", n):
						t.Errorf("%s with %v: %+v", id, columns, p)
					}
				}
			})
		}
		for round := range rounds {
			blood := fmt.Sprint(round)
			if _, err := s.SetProfile("P-0", ProfileEdit{SetBloodType: true, BloodType: blood}, 0, testTime.Add(time.Duration(round)*time.Second)); err != nil {
				t.Error(err)
			}
			if p, err := s.Patient(t.Context(), "P-0", ColBloodType); err != nil || p.BloodType != blood {
				t.Errorf("after a change to %s: %+v, %v", blood, p, err)
			}
		}
		all.Wait()
	})
}

// TestLookUpsGoTogetherWhateverTheNumbersAre: they are an argument, on SQLite a text of JSON.
func TestLookUpsGoTogetherWhateverTheNumbersAre(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		var batch []*lookup
		for _, id := range []string{`'`, `"`, `\`, `\'`, `["a"]`, `{}`, `$1 ? ??`, `<&>`, "\u2028x", "홍", "1", "1.0", "null", "%_"} {
			add(t, s, testTime, NewPatient{Number: id})
			batch = append(batch, &lookup{set: keyColumns, id: id}, &lookup{set: keyColumns, id: id + "%"})
		}
		if err := s.lookUpTogether(batch); err != nil {
			t.Fatal(err)
		}
		for n, l := range batch {
			if is, want := l.found != nil, n%2 == 0; is != want || l.err != nil || is && l.found.ID != l.id {
				t.Errorf("%q: found %+v, %v", l.id, l.found, l.err)
			}
		}
	})
}

// TestWhoGivesALookUpUpReadsNothingOfIt: its statement may end at that moment. The race
// detector finds who does.
func TestWhoGivesALookUpUpReadsNothingOfIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan struct{})
	s := &Store{lookups: newBatcher(1, 1, func(batch []*lookup) error {
		cancel()
		batch[0].found = &Patient{}
		<-answered
		return nil
	})}
	if p, err := s.lookUp(ctx, allColumns, "P-1", time.Now().Add(usualWait)); p != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %+v, %v", p, err)
	}
	close(answered)
	s.lookups.close()
}

// TestLookUpsTakeTurns: what waits for a statement goes together in the next one, but one that
// hangs keeps nobody.
func TestLookUpsTakeTurns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		takes   time.Duration // the first statement
		waited  time.Duration // whoever asks meanwhile
		batches []int
	}{
		{"the usual statement", patience / 2, patience / 2, []int{1, 10}},
		{"one that takes long", usualWait, patience, []int{1, 10}},
	} {
		synctest.Test(t, func(t *testing.T) { // times pass as the test says
			var sizes []int
			s := &Store{lookups: newBatcherInTurns(lookers, lookedUpAtOnce, func(batch []*lookup) error {
				sizes = append(sizes, len(batch))
				if len(sizes) == 1 {
					time.Sleep(c.takes)
				}
				for _, l := range batch {
					l.found = &Patient{ID: l.id}
				}
				return nil
			})}
			var first, others sync.WaitGroup
			ask := func(id string) {
				if p, err := s.lookUp(t.Context(), allColumns, id, time.Now().Add(usualWait)); err != nil || p.ID != id {
					t.Errorf("%s: %s finds %+v, %v", c.name, id, p, err)
				}
			}
			first.Go(func() { ask("P-0") })
			synctest.Wait()
			began := time.Now()
			for n := range 10 {
				others.Go(func() { ask(fmt.Sprint("P-", n+1)) })
			}
			others.Wait()
			if waited := time.Since(began); waited != c.waited || !slices.Equal(sizes, c.batches) {
				t.Errorf("%s: the others waited %v, in statements of %v", c.name, waited, sizes)
			}
			first.Wait()
			s.lookups.close()
		})
	}
}

// TestALookUpEndsByItself: the statement hangs, and who waits has no deadline, or his own.
func TestALookUpEndsByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // times pass as the test says
		hangs := make(chan struct{})
		s := &Store{lookups: newBatcher(lookers, lookedUpAtOnce, func([]*lookup) error {
			<-hangs
			return nil
		})}
		s.asking.Add(1) // somebody else, who asks by himself
		var waiting sync.WaitGroup
		for n := range 40 {
			time.Sleep(sharedEnd / 7)
			waiting.Go(func() {
				ctx, least, most := t.Context(), usualWait, usualWait+sharedEnd
				if n%3 != 0 {
					least = []time.Duration{time.Second, time.Minute}[n%2]
					most = least
					within, cancel := context.WithTimeout(ctx, least)
					defer cancel()
					ctx = within
				}
				began := time.Now()
				_, err := s.Patient(ctx, "P-1")
				if waited := time.Since(began); waited < least || waited > most || !IsAway(err) {
					t.Errorf("caller %d waited %v: %v", n, waited, err)
				}
			})
		}
		waiting.Wait()
		close(hangs)
		s.lookups.close()
	})
}

// TestWhoGivesALookUpUpStopsNobody: the others of the same statement are answered, and who
// gave up hears of it at once, however long the database takes.
func TestWhoGivesALookUpUpStopsNobody(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.Postgres(t))
	add(t, s, testTime, NewPatient{Number: "P-1"})
	lock, err := s.write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec("LOCK TABLE patients IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	const patient, hasty = 20, 20
	answered, gaveUp := make(chan error, patient), make(chan error, hasty)
	for range hasty {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := s.Patient(ctx, "P-1", ColPhone)
			gaveUp <- err
		}()
	}
	for range patient {
		go func() {
			_, err := s.Patient(t.Context(), "P-1", ColPhone)
			answered <- err
		}()
	}
	for range hasty {
		if err := <-gaveUp; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who gave up: %v", err)
		}
	}
	select {
	case err := <-answered:
		t.Errorf("answered while the table is locked: %v", err)
	default:
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	for range patient {
		if err := <-answered; err != nil {
			t.Errorf("who waited: %v", err)
		}
	}
}
