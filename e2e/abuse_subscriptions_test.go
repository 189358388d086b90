package e2e_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/internal/wait"
)

// TestAbuseManyIdleSubscriptions opens as many as eight viewers may: what each holds is
// bounded, queries and writes are answered beside them, each hears of a change, and
// when they have left nothing is held. It is not parallel: it counts goroutines.
func TestAbuseManyIdleSubscriptions(t *testing.T) {
	const viewers, each = 8, 50
	s := StartSystem(t, dbtest.SQLite(t), "LOG_LEVEL=info")
	s.Patient(Number)
	heap, goroutines := liveHeap(), runtime.NumGoroutine()
	var streams []*Stream
	var heard atomic.Int64
	for v := range viewers {
		nurse := s.As(TokenOf(t, Object{"sub": fmt.Sprint("nurse ", v), "role": "nurse"}))
		for range each {
			stream := nurse.Subscribe(`subscription { patientChanged(id: "` + Number + `") { phone } }`)
			streams = append(streams, stream)
			go func() {
				if event, ended := stream.Next(); ended || event.At("data", "patientChanged", "phone") == nil {
					t.Errorf("a subscription heard %v, ended: %v", event, ended)
				}
				heard.Add(1)
			}()
		}
	}
	held := float64(liveHeap()-heap) / (viewers * each)
	t.Logf("each holds %.0f KiB, its client in this process included", held/(1<<10))
	if held > 512<<10 {
		t.Errorf("each holds %.0f bytes", held)
	}
	n := 0
	wait.Until(t, "all have heard of a change", func() bool { // a stream begins before its subscription does
		n++
		Want(t, s.Update(Object{"patientId": Number, "phone": fmt.Sprintf("010-3333-%04d", n)}), Object{"__typename": "UpdatePatientContactSuccess"})
		return heard.Load() == viewers*each
	})
	for _, stream := range streams {
		stream.Leave()
	}
	wait.Until(t, "nothing runs for them any more", func() bool { return runtime.NumGoroutine() < goroutines+viewers*each/4 })
}
