// Package auth owns who the caller is and what that allows: it verifies JWTs,
// holds the one table of roles and reads SMART scopes, which narrow them. It
// must not know GraphQL, FHIR or the cache: who has the FHIR ids that a patient
// claim holds is looked up by whoever serves the request.
//
// A token is a bearer token (RFC 6750) in JWS compact form (RFC 7515), signed
// with HS256 and a shared secret, or with RS256/384/512, ES256/384/512 or
// EdDSA and a key of a JWK Set (RFC 7517). It must say when it expires; clocks
// may differ by up to 30 seconds.
package auth
