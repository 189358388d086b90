package db

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

// Who asks for one list waits for one of another's, not for hundreds.
func TestCallersAreServedInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(2)
		var mu sync.Mutex
		var order []string
		ask := func(caller string) {
			go func() {
				if err := p.take(t.Context(), caller); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, caller)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		for range 5 {
			ask("many")
		}
		ended, end := context.WithCancel(t.Context())
		var left error
		go func() { left = p.take(ended, "gone") }()
		synctest.Wait()
		ask("one")
		ask("other")
		end()
		synctest.Wait()
		if !errors.Is(left, context.Canceled) {
			t.Errorf("who left: %v", left)
		}
		for range 5 {
			p.giveBack()
			synctest.Wait()
		}
		want := []string{"many", "many", "many", "one", "other", "many", "many"}
		for n, caller := range want {
			if n >= len(order) || order[n] != caller {
				t.Fatalf("served %v, want %v", order, want)
			}
		}
		p.giveBack()
		p.giveBack()
		if n := p.inUse(); n != 0 || len(p.waiting)+len(p.turn) != 0 {
			t.Errorf("%d places are taken, %v wait", n, p.turn)
		}
	})
}

// A place that is given to somebody who leaves in this moment goes to the next.
func TestNoPlaceIsLost(t *testing.T) {
	t.Parallel()
	p := newPlaces(3)
	var all sync.WaitGroup
	for n := range 500 {
		all.Go(func() {
			ctx, end := context.WithCancel(t.Context())
			if n%2 == 0 {
				go end()
			}
			if p.take(ctx, string(rune('a'+n%7))) == nil {
				p.giveBack()
			}
			end()
		})
	}
	all.Wait()
	if n := p.inUse(); n != 0 || len(p.waiting)+len(p.turn) != 0 {
		t.Errorf("%d places are taken, %v wait", n, p.turn)
	}
}
