// Package judge decides what became of a PUT to the FHIR server. It is pure: it
// does no I/O, keeps no state and knows neither the journal nor the cache, nor
// who asks.
package judge
