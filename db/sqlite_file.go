package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"

	_ "modernc.org/sqlite" // the pure-Go driver "sqlite"
)

// ErrReplaced: the SQLite file is not the one that was opened. What is written
// into that one now is lost with it.
var ErrReplaced = errors.New("the database file was deleted or replaced while it was in use: nothing is written any more; put the file back, or restart to use the new one")

// sqliteFile is the file of an SQLite database as it was when it was opened.
type sqliteFile struct {
	path string
	info os.FileInfo
}

// openFile makes the file if there is none, and sees to it that its owner alone
// can read it, whatever the umask. SQLite makes -wal and -shm with the mode of
// the file itself; those that are there already are put right too.
func openFile(path string) (*sqliteFile, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	// One that exists is not opened: to close it would drop the locks that
	// another connection of this process has on it (POSIX).
	if err == nil {
		err = file.Close()
	} else if errors.Is(err, os.ErrExist) {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	for _, name := range filesOf(path) {
		info, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) && name != path {
			continue
		}
		switch {
		case err != nil:
		case !info.Mode().IsRegular():
			err = errors.New("it is no file")
		default:
			err = os.Chmod(name, 0o600)
		}
		if err != nil {
			return nil, fmt.Errorf("open database: %s cannot be made readable by its owner alone: %w", name, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &sqliteFile{path, info}, nil
}

// filesOf are the files that SQLite keeps a database in.
func filesOf(path string) []string {
	return []string{path, path + "-wal", path + "-shm", path + "-journal"}
}

// check returns ErrReplaced unless the file is still the one that was opened.
// Other databases have no file: nil is always in order.
func (f *sqliteFile) check() error {
	if f == nil {
		return nil
	}
	info, err := os.Stat(f.path)
	if err != nil || !os.SameFile(info, f.info) {
		return fmt.Errorf("%w (%s)", ErrReplaced, f.path)
	}
	return nil
}

// sqliteConnector opens connections to one file, and to no other that came in its place: to
// read an empty one, or to set its journal mode, deletes the -wal of the file that was there,
// and with it what was committed.
type sqliteConnector struct {
	driver  driver.Driver
	name    string
	file    *sqliteFile
	pragmas []string
}

func (c sqliteConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.name)
	if err != nil {
		return nil, errors.Join(c.file.check(), err)
	}
	if err := c.file.check(); err != nil { // nothing was read yet
		return nil, errors.Join(err, conn.Close())
	}
	for _, pragma := range c.pragmas {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, "PRAGMA "+pragma, nil); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

func (c sqliteConnector) Driver() driver.Driver { return c.driver }

// sqliteDriver is the driver that is registered as "sqlite".
func sqliteDriver() driver.Driver {
	pool, err := sql.Open("sqlite", ":memory:") // opens no connection
	if err != nil {
		panic("db: the driver sqlite is not registered: " + err.Error()) // it is imported here
	}
	defer pool.Close()
	return pool.Driver()
}
