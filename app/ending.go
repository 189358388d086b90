package app

import (
	"context"
	"errors"
	"time"

	"patientgraph/resolvers"
)

// What an end may take beside a FHIR conversation: writeGrace is for the rest of a write, and
// more than the 5 s for which http.Server.Shutdown waits for a connection that was never used;
// endGrace for what is closed after that.
const (
	writeGrace = 6 * time.Second
	endGrace   = writeGrace + time.Second
)

var errUnended = errors.New("something, most likely the database, did not answer in the time that an end may take: it is ended all the same, and what was not finished is settled by the next process or another replica")

// endWithin runs a command, and leaves it to itself if it has not ended so long after ctx: a
// database that stands still must not hold up the end of the process.
func endWithin(ctx context.Context, grace time.Duration, run func() error) error {
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if cause := recover(); cause != nil {
				ended <- resolvers.Panic(cause)
			}
		}()
		ended <- run()
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(grace):
		return errUnended
	}
}
