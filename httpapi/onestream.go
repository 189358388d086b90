package httpapi

import (
	"context"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// oneStream refuses a subscription to none or to several fields before it begins (GraphQL
// section 5.2.3.1). gqlparser (2.5.64) counts one field under two names once, and what
// @skip leaves out; gqlgen would find out when the stream has begun.
type oneStream struct{}

func (oneStream) ExtensionName() string                   { return "OneStream" }
func (oneStream) Validate(graphql.ExecutableSchema) error { return nil }

func (oneStream) MutateOperationContext(_ context.Context, o *graphql.OperationContext) *gqlerror.Error {
	if o.Operation.Operation != ast.Subscription || len(graphql.CollectFields(o, o.Operation.SelectionSet, []string{"Subscription"})) == 1 {
		return nil
	}
	err := gqlerror.ErrorPosf(o.Operation.Position, "a subscription must select one field, which no @skip or @include leaves out")
	errcode.Set(err, errcode.ValidationFailed)
	return err
}
