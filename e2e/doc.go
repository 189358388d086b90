// Package e2e holds what a caller meets: the tests start the whole program, in front
// of a FHIR server, and ask it over HTTP. What a hostile caller tried stands in
// abuse_*_test.go. How a failure of the machinery behind it ends is a matter of
// package proofs.
package e2e
