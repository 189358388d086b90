// Package proofs holds the ten promises of docs/write-through.md in their plainest
// case, and their long proofs: processes killed at every step, every fault of the
// network and of the FHIR server, linearizability, several replicas, databases that
// fail, a FHIR server that others write to. They run in front of HAPI's habits and, but
// for the databases that fail, of OpenEMR's. go test runs them shortened; with -full
// they take an hour.
package proofs
