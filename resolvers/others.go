package resolvers

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// othersAnswered is where an operation has, by their response names, its mutations that
// have an answer: the operationId, nil of a profile. An error of one of them makes data
// null, and takes the answers of the others along.
const othersAnswered = "othersAnswered"

// answered notes that the mutation under way has its answer.
func answered(ctx context.Context, operationID *string) {
	if others := othersOf(ctx); others != nil {
		others[graphql.GetFieldContext(ctx).Field.Alias] = operationID
	}
}

// withOthers says in an error of one mutation of several what became of the others: of
// those that follow too, which are carried out all the same.
func withOthers(ctx context.Context, e *gqlerror.Error) {
	if others := othersOf(ctx); others != nil {
		e.Extensions[othersAnswered] = others
	}
}

// othersOf is nil where the operation has one mutation. gqlgen carries them out one after
// the other.
func othersOf(ctx context.Context) map[string]*string {
	if !graphql.HasOperationContext(ctx) {
		return nil
	}
	operation := graphql.GetOperationContext(ctx)
	if len(graphql.CollectFields(operation, operation.Operation.SelectionSet, []string{"Mutation"})) < 2 {
		return nil
	}
	others, _ := operation.Stats.GetExtension(othersAnswered).(map[string]*string)
	if others == nil {
		others = map[string]*string{}
		operation.Stats.SetExtension(othersAnswered, others)
	}
	return others
}
