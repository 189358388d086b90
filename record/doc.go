// Package record owns what of a FHIR Patient the cache holds, and how a row of the
// cache is compared with one. It must not know GraphQL, the network or SQL.
package record
