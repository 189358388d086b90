package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// spare is what the heap, small here, may grow by between collections beside doubling:
// requests are then answered faster (BenchmarkPatientOverHTTP), and a heap that is large
// is not multiplied. Nobody touches it, so it takes no memory, though it is counted as
// part of the heap. The runtime's own variable GOGC takes its place.
const spare = 16 << 20

// memoryLimit is from how many bytes on the runtime collects more often, so that a burst of
// large answers is not doubled. GOMEMLIMIT overrides it.
const memoryLimit = 512<<20 + spare

// tuneMemory sets how the runtime collects, unless its own variables say. The spare memory
// counts as long as it is kept.
func tuneMemory(getenv func(string) string) (spared []byte) {
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if getenv("GOGC") == "" {
		spared = make([]byte, spare)
	}
	return spared
}

// A process that allocates less than little in each restsFor is at rest.
const (
	restsFor = 2 * time.Second
	little   = 1 << 20
)

// restWhenIdle gives memory back when the start, or people, have used some and the process
// has come to rest. The runtime would keep most of it for as long as it runs.
func restWhenIdle(ctx context.Context) {
	ticker := time.NewTicker(restsFor)
	defer ticker.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	for seen, rested := uint64(0), uint64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		before := seen
		metrics.Read(sample)
		if seen = sample[0].Value.Uint64(); seen-before < little && seen-rested > 4*little {
			debug.FreeOSMemory()
			rested = seen
		}
	}
}
