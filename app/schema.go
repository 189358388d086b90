package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/introspection"

	"patientgraph/graph"
)

type schemaCommand struct {
	PossibleTypes bool `xor:"form" help:"Print instead which types each interface and union may be, as the cache of Apollo Client takes it (what /possibleTypes.json serves)."`
	JSON          bool `name:"json" xor:"form" help:"Print instead the answer to an introspection, for code generators."`
}

// Run prints what /schema.graphql and /possibleTypes.json serve.
func (s schemaCommand) Run(p *program) (err error) {
	text := []byte(graph.SDL())
	switch {
	case s.PossibleTypes:
		text, err = graph.PossibleTypesJSON()
	case s.JSON:
		text, err = introspect(p.ctx)
	}
	if err == nil {
		_, err = p.stdout.Write(text)
	}
	return err
}

// introspect returns the schema as introspection shows it, whether callers may ask or not.
func introspect(ctx context.Context) ([]byte, error) {
	e := executor.New(graph.NewExecutableSchema(graph.Config{}))
	e.Use(extension.Introspection{})
	ctx = graphql.StartOperationTrace(ctx)
	operation, faults := e.CreateOperationContext(ctx, &graphql.RawParams{Query: introspection.Query})
	if len(faults) > 0 {
		return nil, fmt.Errorf("introspect: %w", faults)
	}
	respond, ctx := e.DispatchOperation(ctx, operation)
	answer := respond(ctx)
	if len(answer.Errors) > 0 {
		return nil, fmt.Errorf("introspect: %w", answer.Errors)
	}
	var text bytes.Buffer
	err := json.Indent(&text, answer.Data, "", "  ")
	text.WriteByte('\n')
	return text.Bytes(), err
}
