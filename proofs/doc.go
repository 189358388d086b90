// Package proofs holds the nine promises of docs/write-through.md in their plainest
// case, and their long proofs: processes killed at every step, every fault of the
// network and of the FHIR server, linearizability, several replicas, databases that
// fail. go test runs them shortened; with -full they take an hour.
package proofs
