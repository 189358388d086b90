package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"patientgraph/db/dbtest"
)

// cutAtCommit stands before PostgreSQL. While armed it lets the next COMMIT be
// carried out, and cuts the connection in place of its answer (a failover).
func cutAtCommit(t *testing.T, databaseURL string) (string, *atomic.Int64) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var armed atomic.Int64
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); out.Close() }()
			go func() {
				defer in.Close()
				defer out.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := out.Read(buf)
					if n > 0 {
						if bytes.Contains(buf[:n], []byte("COMMIT\x00")) && armed.Add(-1) >= 0 {
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
			}()
		}
	}()
	u.Host = l.Addr().String()
	return u.String(), &armed
}

// TestCommitAnswerLost has COMMITs be carried out and their answers lost, so that
// the work runs again: what is done already is not done twice, and is no
// conflict with itself.
func TestCommitAnswerLost(t *testing.T) {
	for name, change := range map[string]func(s *Store, id string, expected int64) error{
		"contact": func(s *Store, id string, expected int64) error {
			line := ContactUpdate{ID: "op-" + id, PatientID: id, Actor: "a", IdempotencyKey: "k" + id, Digest: "d", Asked: "{}"}
			_, err := s.SetContact(id, ContactEdit{SetPhone: true, Phone: "1"}, expected, testTime, line)
			return err
		},
		"profile": func(s *Store, id string, expected int64) error {
			_, err := s.SetProfile(id, ProfileEdit{SetBloodType: true, BloodType: "A"}, expected, testTime)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			proxied, armed := cutAtCommit(t, dbtest.Postgres(t))
			s := openStore(t, proxied)
			const n, cuts = 200, 5
			for k := range n {
				add(t, s, testTime, NewPatient{HospitalID: fmt.Sprintf("P-%03d", k)})
			}
			armed.Store(cuts)
			var wg sync.WaitGroup
			for k := range n {
				wg.Go(func() {
					id := fmt.Sprintf("P-%03d", k)
					err := change(s, id, int64(k%2)) // half of them say which version
					// An answer that is lost again and again is told as a failure.
					mistaken := errors.Is(err, ErrVersionMismatch) || errors.Is(err, ErrBusy)
					if p, readErr := s.Patient(context.Background(), id); mistaken || readErr != nil || p.Version != 2 {
						t.Errorf("%s: %v, %v, version %d", id, err, readErr, p.Version)
					}
				})
			}
			wg.Wait()
			if armed.Load() > 0 {
				t.Errorf("only %d answers were lost", cuts-armed.Load())
			}
		})
	}
}
