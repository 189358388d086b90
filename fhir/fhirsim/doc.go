// Package fhirsim is a FHIR R4 server for Patient in one process: the demo
// runs on it, and so do the tests. It behaves as a HAPI FHIR JPA server 8.8
// does, or as the Habits given say, and fails on demand (Fault).
//
// It stores what it is sent byte for byte; of meta it sets versionId and
// lastUpdated and nothing else. As OpenEMR it keeps a clinic's columns instead
// (Clinic; the files openemr_*.go). A Subscription (rest-hook, without a payload) is
// told of each change of a Patient, as long as the server runs. It must not know the client that it is there to
// test: it imports nothing of package fhir.
package fhirsim
