package main

import "flag"

// full runs the proofs of the write protocol (crashes, faults,
// linearizability) at full length: go test -run 'TestCrash' -timeout 60m . -full
var full = flag.Bool("full", false, "run the proofs at full length")
