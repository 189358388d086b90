// Package db owns the read cache: the patients table and its name index on
// SQLite or PostgreSQL, through bun. It must not know FHIR, GraphQL, or who
// the caller is: it stores what it is given and reads it back.
package db
