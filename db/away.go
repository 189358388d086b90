package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	driverlib "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
	zombiezen "zombiezen.com/go/sqlite"
)

// IsAway reports whether a call failed for the database as a whole and for the moment:
// it cannot be reached, ends connections, has no room, only reads, waits for a lock or
// did not answer in time. The same call may succeed later; whether a write took effect
// all the same is another question.
func IsAway(err error) bool {
	if errors.Is(err, ErrUnreadable) { // what stands in the row: its JSON may end early
		return false
	}
	for _, away := range []error{
		errNotBegun, errLate, errClosed, ErrReplaced, driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded,
	} {
		if errors.Is(err, away) {
			return true
		}
	}
	var connecting *pgconn.ConnectError
	var network net.Error
	var server *pgconn.PgError
	var file *driverlib.Error
	switch {
	case errors.As(err, &connecting), errors.As(err, &network), pgconn.SafeToRetry(err): // the last: the connection was closed before
		return true
	case errors.As(err, &server):
		return len(server.Code) == 5 && (slices.Contains(awayClasses, server.Code[:2]) || slices.Contains(awayStates, server.Code))
	case errors.As(err, &file):
		return slices.Contains(awayResults, file.Code()&0xff)
	}
	return slices.Contains(awayResults, int(zombiezen.ErrCode(err).ToPrimary())) // of a fileReader
}

// isCut reports whether a connection to PostgreSQL ended under a call, or before it: another
// one may be whole. One that could not be made was not cut.
func isCut(err error) bool {
	var connecting *pgconn.ConnectError
	var server *pgconn.PgError
	var network *net.OpError
	switch {
	case errors.As(err, &connecting), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &server):
		return server.SeverityUnlocalized == "FATAL"
	}
	return errors.As(err, &network) || pgconn.SafeToRetry(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, driver.ErrBadConn)
}

// What PostgreSQL says when it is away (SQLSTATE, appendix A of its manual).
var (
	awayClasses = []string{
		"08", // connection exception, also of PgBouncer
		"53", // insufficient resources: connections, memory, disk
		"57", // operator intervention: shut down, starting up, canceled
		"58", // system error: the disk
	}
	awayStates = []string{
		"25006",                   // it only reads: a standby by now
		"40001", "40P01", "55P03", // others write the same
	}
)

// What SQLite says when its file cannot be used (its result codes). That the file is
// damaged is none of these: waiting does not help.
var awayResults = []int{
	sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
	sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
}

// isFull reports whether SQLite had no room: then it has committed nothing.
func isFull(err error) bool {
	var file *driverlib.Error
	return errors.As(err, &file) && file.Code()&0xff == sqlite3.SQLITE_FULL
}
