package db

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uptrace/bun"
)

// The database is its owner's alone, whatever the umask, and whether it is new
// or was there before.
func TestTheFileIsItsOwnersAlone(t *testing.T) { // not parallel: the umask is the process's
	for name, umask := range map[string]int{"nothing is masked": 0, "everything is masked": 0o777} {
		t.Run(name, func(t *testing.T) {
			old := syscall.Umask(umask)
			defer syscall.Umask(old)
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o700); err != nil { // the umask has taken even this
				t.Fatal(err)
			}
			path := filepath.Join(dir, "x.db")
			if umask == 0 { // an older program's, or one that was copied
				for _, name := range []string{path, path + "-wal", path + "-shm"} {
					if err := os.WriteFile(name, nil, 0o666); err != nil {
						t.Fatal(err)
					}
				}
			}
			s := openStore(t, "sqlite:"+path)
			add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"})
			found := 0
			if err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				found++
				if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s has mode %v (%v)", name, info.Mode(), err)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if found != 3 {
				t.Errorf("%d files, want the database, -wal and -shm", found)
			}
		})
	}
}

// A database whose file is deleted or replaced takes no more writes: they would
// be lost with the file that nobody finds any more.
func TestAReplacedFileIsNoticed(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(path string) error{
		"deleted": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			if err := os.Rename(path, path+".old"); err != nil {
				return err
			}
			return os.WriteFile(path, nil, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.db")
			s := openStore(t, "sqlite:"+path)
			ctx := context.Background()
			add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2"}, NewPatient{Number: "P-3", FHIRID: "a3"})
			begun, err := begin(s, "op-1", "P-1", "")
			if err != nil {
				t.Fatal(err)
			}
			if err := replace(path); err != nil {
				t.Fatal(err)
			}
			_, beginErr := begin(s, "op-2", "P-3", "")
			c := usual("op-1", begun.Patient, FHIRState{Phone: "2"})
			c.Owner = "me"
			_, closeErr := s.CloseUpdate(c)
			_, profileErr := s.SetProfile("P-2", ProfileEdit{SetBloodType: true, BloodType: "A"}, 0, testTime)
			_, contactErr := s.SetContact("P-2", ContactEdit{SetPhone: true, Phone: "1"}, 0, testTime, ContactUpdate{ID: "op-3"})
			_, importErr := s.ImportPatients(ctx, []NewPatient{{Number: "P-4"}}, testTime)
			_, claimErr := s.ClaimUpdates("me", "", time.Minute, 9)
			_, cleanErr := s.CleanUpdates(ctx, 0)
			for what, err := range map[string]error{
				"ping": s.Ping(ctx), "begin": beginErr, "send": s.SendUpdate("op-1", "me", "P-1", "", "{}"), "close": closeErr,
				"profile": profileErr, "contact": contactErr, "import": importErr, "claim": claimErr, "clean": cleanErr,
				"hold": s.HoldUpdate("op-1", "me", "P-1"), "reopen": s.ReopenUpdate("op-1", "P-1"), "renew": s.RenewUpdates("me", []string{"op-1"}, time.Minute),
				"migrate": s.Migrate(ctx),
			} {
				if !errors.Is(err, ErrReplaced) || errors.Is(err, ErrUnsure) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: %v", what, err)
				}
			}
			// What is known is still told, and nothing is read from a stranger.
			if p, err := s.Patient(ctx, "P-1"); err != nil || p.Version != 1 {
				t.Errorf("a read: %+v, %v", p, err)
			}
			if name == "moved" { // and is put back
				if err := os.Rename(path+".old", path); err != nil {
					t.Fatal(err)
				}
				if err := s.Ping(ctx); err != nil {
					t.Errorf("the file is back: %v", err)
				}
				setBloodType(t, s, "P-2")
			}
		})
	}
}

// Another file takes the place for a while, or none: whoever asks meanwhile opens no connection
// to it, and what was committed is there when the file is back.
func TestAFileThatIsPutBackHasWhatWasCommitted(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(path string) error{
		"none":    func(string) error { return nil },
		"another": func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.db")
			s := openStore(t, "sqlite:"+path)
			add(t, s, testTime, NewPatient{Number: "P-1"})
			setBloodType(t, s, "P-1")
			s.read.SetMaxIdleConns(0) // each read opens a connection
			s.write.SetMaxIdleConns(0)
			if err := errors.Join(os.Rename(path, path+".old"), replace(path)); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(path)
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					if _, err := s.Patients(t.Context(), PageRequest{Order: OrderNameAsc, First: 5, Filter: Filter{Name: "a"}}); !errors.Is(err, ErrReplaced) {
						t.Errorf("a search: %v", err)
					}
					_, _ = s.Patient(t.Context(), "P-1") // on the connection that is open, or away
				})
			}
			wg.Wait()
			if _, err := s.SetProfile("P-1", ProfileEdit{SetBloodType: true, BloodType: "B"}, 0, testTime); !errors.Is(err, ErrReplaced) {
				t.Errorf("a write: %v", err)
			}
			if after, err := os.ReadFile(path); len(after) != len(before) || name == "none" && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the other file has %d bytes (%v)", len(after), err)
			}
			if err := os.Rename(path+".old", path); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if p, err := openStore(t, "sqlite:"+path).Patient(t.Context(), "P-1"); err != nil || p.BloodType != "A" {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

// The file goes while a transaction is under way: it is not committed.
func TestAFileThatGoesBeforeTheCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	s := openStore(t, "sqlite:"+path)
	add(t, s, testTime, NewPatient{Number: "P-1"})
	_, err := s.change("P-1", nil, 0, testTime, func(_ context.Context, _ bun.Tx, p *Patient) error {
		p.BloodType = "A"
		return os.Remove(path)
	})
	if !errors.Is(err, ErrReplaced) || errors.Is(err, ErrUnsure) {
		t.Error(err)
	}
	if p, err := s.Patient(context.Background(), "P-1"); err != nil || p.BloodType != "" {
		t.Errorf("%+v, %v", p, err)
	}
}

// Where there is no room nothing is changed, and the error says no more than that.
func TestAFullDiskIsNoDoubt(t *testing.T) {
	t.Parallel()
	s := openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "x.db"))
	add(t, s, testTime, NewPatient{Number: "P-1"})
	if _, err := s.write.Exec("PRAGMA max_page_count = 1"); err != nil { // as many as there are
		t.Fatal(err)
	}
	long := []string{strings.Repeat("x", 100_000)}
	_, err := s.SetProfile("P-1", ProfileEdit{SetAllergies: true, Allergies: long}, 0, testTime)
	if !isFull(err) || errors.Is(err, ErrUnsure) {
		t.Error(err)
	}
	if p, err := s.Patient(context.Background(), "P-1"); err != nil || p.Version != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestAFileThatIsNotOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Open(context.Background(), "sqlite:"+dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: %v", err)
	}
	missing := filepath.Join(dir, "no", "x.db")
	if _, err := Open(context.Background(), "sqlite:"+missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("no such directory: %v", err)
	}
}
