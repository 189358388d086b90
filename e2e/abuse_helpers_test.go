package e2e_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
)

// The abuse suite: what a hostile caller, FHIR server or neighbour tried, one
// test each, in the files abuse_*_test.go. Costs are compared with a normal
// request of the same run.

// liveHeap is what stays after a collection.
func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold goes with the second
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// repeated writes a text n times, with the number of each in the place of %d.
func repeated(n int, text string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(text, "%d", strconv.Itoa(i)))
	}
	return b.String()
}

// chain is n fragments on Patient and a last one with a field; the text of each
// has the number of the next in the place of %d.
func chain(n int, text string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "fragment F%d on Patient { %s } ", i, strings.ReplaceAll(text, "%d", strconv.Itoa(i+1)))
	}
	fmt.Fprintf(&b, "fragment F%d on Patient { id }", n)
	return b.String()
}
