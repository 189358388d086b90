// Package graph is the GraphQL layer that gqlgen generates from
// schema.graphqls, with what is written by hand for it: two scalars, and the
// inputs of the mutations, whose tags are the rules of validation. It must hold
// no logic.
package graph
