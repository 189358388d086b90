// Package resolvers turns GraphQL requests into calls of writethrough and db,
// and their outcomes into GraphQL types: authorise, validate, call, map. It
// must not know FHIR resources, SQL or HTTP.
package resolvers
