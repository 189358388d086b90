package app

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Times pass as the test says (testing/synctest).
func TestACommandHasABoundedEnd(t *testing.T) {
	t.Parallel()
	failure := errors.New("failed")
	for name, tt := range map[string]struct {
		takes time.Duration // after the signal
		want  error
	}{
		"it ends in time":   {time.Minute - time.Second, failure},
		"it does not end":   {time.Hour, errUnended},
		"it ends by itself": {-time.Second, failure},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const signal = 10 * time.Minute
				ctx, stop := context.WithTimeout(t.Context(), signal)
				defer stop()
				began, over := time.Now(), make(chan struct{})
				err := endWithin(ctx, time.Minute, func() error {
					defer close(over)
					time.Sleep(signal + tt.takes)
					return failure
				})
				if took := time.Since(began); !errors.Is(err, tt.want) || took != signal+min(tt.takes, time.Minute) {
					t.Errorf("%v after %v", err, took)
				}
				<-over
			})
		})
	}
}

func TestACommandThatPanicsFails(t *testing.T) {
	t.Parallel()
	if err := endWithin(t.Context(), 0, func() error { panic("a fault") }); err == nil {
		t.Error("it did not fail")
	}
}
