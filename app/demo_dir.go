package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// demoDir is where one demo keeps its cache. Its lock says that the demo lives:
// the system lets go of it when the process ends, however it does.
type demoDir struct {
	path string
	lock *flock.Flock
}

const (
	demoDirPattern = "patientgraph-demo-*"
	demoLock       = "lock"
)

// newDemoDir makes a directory, and removes those of demos that were killed.
func newDemoDir() (*demoDir, error) {
	removeDeadDemos()
	for range 10 {
		path, err := os.MkdirTemp("", demoDirPattern)
		if err != nil {
			return nil, err
		}
		d := &demoDir{path, flock.New(filepath.Join(path, demoLock))}
		locked, err := d.lock.TryLock()
		if locked {
			return d, nil
		}
		// Another demo, starting just now, took it for a dead one's.
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), os.RemoveAll(path))
		}
	}
	return nil, errors.New("too many demos start at once; try again")
}

// remove deletes the directory.
func (d *demoDir) remove() {
	_ = os.RemoveAll(d.path) // what is left harms nobody, and the next demo tries again
	_ = d.lock.Unlock()      // of a file that is gone
}

func removeDeadDemos() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), demoDirPattern)) // the pattern is well-formed
	for _, dir := range dirs {
		if !isOwnDemo(dir) {
			continue
		}
		d := &demoDir{dir, flock.New(filepath.Join(dir, demoLock))}
		if locked, err := d.lock.TryLock(); err == nil && locked { // else it lives, or is not ours to touch
			d.remove()
		}
	}
}

// isOwnDemo reports whether a directory was made by a demo of this user. Others may
// put something of that name where temporary files are, with links in it that lead
// anywhere.
func isOwnDemo(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || !isOurs(info) {
		return false
	}
	lock, err := os.Lstat(filepath.Join(dir, demoLock))
	return err == nil && lock.Mode().IsRegular() && isOurs(lock)
}
