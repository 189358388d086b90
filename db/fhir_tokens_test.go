package db

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Of several processes one may ask for tokens; what it saves the others read.
func TestOneProcessAtATimeRenewsTheFHIRToken(t *testing.T) {
	t.Parallel()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			u := open(t)
			replicas := []*Store{openStore(t, u), openStore(t, u)}
			if sealed, version, err := replicas[0].LoadFHIRToken(ctx, "x"); err != nil || sealed != nil || version != 0 {
				t.Fatalf("%q, %d, %v", sealed, version, err)
			}
			var leased atomic.Int32
			var all sync.WaitGroup
			for n := range 8 {
				all.Go(func() {
					got, err := replicas[n%2].LeaseFHIRToken("x", string(rune('a'+n)), time.Hour)
					if err != nil {
						t.Error(err)
					}
					if got {
						leased.Add(1)
					}
				})
			}
			all.Wait()
			if n := leased.Load(); n != 1 {
				t.Fatalf("%d leases", n)
			}
			if got, err := replicas[1].LeaseFHIRToken("y", "z", time.Hour); err != nil || !got {
				t.Errorf("another token: %v, %v", got, err)
			}
			if got, err := replicas[0].SaveFHIRToken("x", []byte{0, 255, '\''}, 0); err != nil || !got {
				t.Fatalf("save: %v, %v", got, err)
			}
			if sealed, version, err := replicas[1].LoadFHIRToken(ctx, "x"); err != nil || string(sealed) != "\x00\xff'" || version != 1 {
				t.Errorf("%q, %d, %v", sealed, version, err)
			}
			if got, err := replicas[1].SaveFHIRToken("x", []byte("late"), 0); err != nil || got {
				t.Errorf("what follows an older version was saved: %v, %v", got, err)
			}

			// Saving ended the lease; one that has run out, or was released, binds nobody.
			for owner, lease := range map[string]time.Duration{"p": -time.Second, "q": time.Hour} {
				got, err := replicas[0].LeaseFHIRToken("x", owner, lease)
				if err != nil || !got {
					t.Errorf("%s: %v, %v", owner, got, err)
				}
				if err := replicas[1].ReleaseFHIRToken("x", owner); err != nil {
					t.Error(err)
				}
			}
			if _, err := replicas[0].LeaseFHIRToken("x", "mine", time.Hour); err != nil {
				t.Fatal(err)
			}
			if err := replicas[1].ReleaseFHIRToken("x", "other"); err != nil {
				t.Fatal(err)
			}
			if got, err := replicas[1].LeaseFHIRToken("x", "other", time.Hour); err != nil || got {
				t.Errorf("somebody else ended the lease: %v, %v", got, err)
			}
		})
	}
}
