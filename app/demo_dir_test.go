package app

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestAbuseDemosOfOthers plants what another user could where temporary files are.
func TestAbuseDemosOfOthers(t *testing.T) {
	temp, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "elsewhere")
	t.Setenv("TMPDIR", temp)
	for name, plant := range map[string]func(dir string) error{
		"link":  func(dir string) error { return os.Symlink(elsewhere, filepath.Join(dir, demoLock)) },
		"fifo":  func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, demoLock), 0o600) },
		"empty": func(string) error { return nil },
	} {
		dir := filepath.Join(temp, "patientgraph-demo-"+name)
		if err := errors.Join(os.Mkdir(dir, 0o700), plant(dir)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(temp, "patientgraph-demo-to")); err != nil {
		t.Fatal(err)
	}
	d, err := newDemoDir()
	if err != nil {
		t.Fatal(err)
	}
	d.remove()
	if _, err := os.Lstat(elsewhere); err == nil {
		t.Error("a file was made where a link leads")
	}
	if dirs, err := filepath.Glob(filepath.Join(temp, demoDirPattern)); err != nil || len(dirs) != 4 {
		t.Errorf("left: %v, %v", dirs, err)
	}
}
