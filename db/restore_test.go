package db

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A client may have seen numbers that were given after the backup was made: those given
// once it is restored are greater, or it would pass the changes by.
func TestNumbersGivenAfterARestoreAreAboveThoseGivenBefore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache.db")
	during := func(change func(s *Store)) (last int64) {
		s, err := Open(context.Background(), "sqlite:"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Migrate(context.Background()); err != nil {
			t.Fatal(err)
		}
		change(s)
		return numbered(t, s)
	}
	edit := func(bloodType string) func(s *Store) {
		return func(s *Store) {
			if _, err := s.SetProfile("P-1", ProfileEdit{SetBloodType: true, BloodType: bloodType}, 0, testTime); err != nil {
				t.Fatal(err)
			}
		}
	}
	during(func(s *Store) {
		if _, err := s.ImportPatients(context.Background(), []NewPatient{{Number: "P-1"}}, testTime); err != nil {
			t.Fatal(err)
		}
	})
	backup, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := during(edit("A+"))
	if err := os.WriteFile(path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, beside := range []string{"-wal", "-shm"} {
		_ = os.Remove(path + beside)
	}
	if after := during(edit("B+")); after <= seen {
		t.Errorf("the number %d was given after the restore, and a client has seen %d", after, seen)
	}
}
