// Package auth owns who the caller is and what that allows: it verifies JWTs
// and holds the one table of roles. It must not know GraphQL, FHIR or the
// cache.
package auth
