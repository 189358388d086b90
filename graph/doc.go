// Package graph is the GraphQL layer that gqlgen generates from
// schema.graphqls, and the two scalars that it needs. It must hold no logic.
package graph
