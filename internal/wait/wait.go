// Package wait is the one way in which tests wait, and let time pass. The product does
// not import it.
package wait

import (
	"testing"
	"time"
)

// Until waits until done reports true. After two minutes it fails the test and says
// what was waited for. It looks often at first, then less: many may wait at once.
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	const most = 250 * time.Millisecond
	pause, deadline := 5*time.Millisecond, time.Now().Add(2*time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(pause)
		pause = min(pause*5/4, most)
	}
}
