package proofs_test

import "flag"

// full runs the proofs of the write protocol (crashes, faults,
// linearizability) at full length: go test -run TestCrash -timeout 60m ./proofs -full
var full = flag.Bool("full", false, "run the proofs at full length")

// length is how much a proof does: a little, or with -full a lot.
func length(little, lot int) int {
	if *full {
		return lot
	}
	return little
}
