// Package db owns the read cache and the journal of contact updates: the
// patients table with the indexes of names and phones, and contact_updates, on SQLite or
// PostgreSQL. Of bun only the pools and the transactions are used: the
// statements are written by hand (see sql.go). It must not know FHIR, GraphQL,
// or who the caller is: it stores what it is given and reads it back.
package db
