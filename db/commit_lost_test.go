package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"patientgraph/db/dbtest"
)

// cutAt stands before PostgreSQL. While armed it lets what is answered like
// this be carried out, and cuts the connection in place of the answer (a
// failover).
func cutAt(t *testing.T, databaseURL, answer string) (string, *atomic.Int64) {
	t.Helper()
	var armed atomic.Int64
	return dbtest.Between(t, databaseURL, func(in, out net.Conn) {
		go func() { _, _ = io.Copy(out, in); out.Close() }()
		defer in.Close()
		defer out.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := out.Read(buf)
			if n > 0 {
				if bytes.Contains(buf[:n], []byte(answer)) && armed.Add(-1) >= 0 {
					return
				}
				if _, err := in.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}), &armed
}

// TestCommitAnswerLost has commits be carried out and their answers lost, so that
// the work runs again: what is done already is not done twice, and is no
// conflict with itself.
func TestCommitAnswerLost(t *testing.T) { onServers(t, commitAnswerLost) }

func commitAnswerLost(t *testing.T, open func(testing.TB) string) {
	const inTransaction, inPipeline, afterBegin = "COMMIT\x00", "UPDATE 1\x00Z", "SELECT 1\x00Z"
	for _, c := range []struct {
		name, answer string
		onFHIR       bool
		change       func(s *Store, id string, expected int64) error
	}{
		{"contact", inTransaction, false, func(s *Store, id string, expected int64) error {
			line := ContactUpdate{ID: "op-" + id, PatientID: id, Actor: "a", IdempotencyKey: "k" + id, Digest: "d"}
			_, err := s.SetContact(id, ContactEdit{SetPhone: true, Phone: "1"}, expected, testTime, line)
			return err
		}},
		{"profile", inTransaction, false, func(s *Store, id string, expected int64) error {
			_, err := s.SetProfile(id, ProfileEdit{SetBloodType: true, BloodType: "A"}, expected, testTime)
			return err
		}},
		{"write-through, begin", afterBegin, true, writeThrough},
		{"write-through, rest", inPipeline, true, writeThrough},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxied, armed := cutAt(t, open(t), c.answer)
			s := openStore(t, proxied)
			const n, cuts = 200, 5
			for k := range n {
				p := NewPatient{Number: fmt.Sprintf("P-%03d", k)}
				if c.onFHIR {
					p.FHIRID = p.Number
				}
				add(t, s, testTime, p)
			}
			armed.Store(cuts)
			var told [n]error
			var wg sync.WaitGroup
			for k := range n {
				wg.Go(func() { told[k] = c.change(s, fmt.Sprintf("P-%03d", k), int64(k%2)) }) // half of them say which version
			}
			wg.Wait()
			if left := armed.Swap(0); left > 0 {
				t.Errorf("only %d answers were lost", cuts-left)
			}
			failed := 0
			for k, err := range told {
				if err != nil {
					failed++ // an answer that is lost again and again is told as a failure
				}
				carriedOut := err == nil || !c.onFHIR // of the write-through that failed, a step
				if err != nil && !c.onFHIR && !errors.Is(err, ErrUnsure) {
					t.Errorf("P-%03d was changed, and its error sounds as if it was not: %v", k, err)
				}
				mistaken := errors.Is(err, ErrVersionMismatch) || errors.Is(err, ErrBusy) || errors.Is(err, ErrLostLease)
				p, readErr := s.Patient(context.Background(), fmt.Sprintf("P-%03d", k))
				if readErr != nil {
					t.Fatal(readErr)
				}
				if mistaken || carriedOut && p.Version != 2 || p.Version > 2 {
					t.Errorf("%s: %v, version %d", p.ID, err, p.Version)
				}
			}
			if failed > cuts {
				t.Errorf("%d answers were lost, %d changes failed", cuts, failed)
			}
		})
	}
}

// writeThrough begins, sends and closes an update, as the writer does.
func writeThrough(s *Store, id string, _ int64) error {
	begun, err := begin(s, "op-"+id, id, "k"+id)
	if err != nil {
		return err
	}
	if err := s.SendUpdate("op-"+id, "me", id, `W/"1"`, "{}"); err != nil {
		return err
	}
	c := usual("op-"+id, begun.Patient, FHIRState{Phone: "1"})
	c.Owner = "me"
	_, err = s.CloseUpdate(c)
	if errors.Is(err, ErrLostLease) { // the writer looks into the journal then
		if u, readErr := s.ContactUpdate(context.Background(), "op-"+id); readErr == nil && u.State == UpdateApplied {
			return nil
		}
	}
	return err
}
