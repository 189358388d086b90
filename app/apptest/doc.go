// Package apptest starts the product as a user does, in front of a FHIR server of the
// test's own, and asks it what a caller would. It owns the one client and
// System, for what needs no other setting up; it knows nothing of the product's inside.
//
// The tests of e2e and proofs import it with a dot: it is the language that they are
// written in.
package apptest
