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
// @skip leaves out; gqlgen would find out when the stream has begun. A large one is
// refused too: what its variables hold is kept as long as it lasts.
type oneStream struct{}

func (oneStream) ExtensionName() string                   { return "OneStream" }
func (oneStream) Validate(graphql.ExecutableSchema) error { return nil }

func (oneStream) MutateOperationContext(ctx context.Context, o *graphql.OperationContext) *gqlerror.Error {
	switch {
	case o.Operation.Operation != ast.Subscription:
		return nil
	case infoOf(ctx).body.isLarge():
		return limitExceeded("the request of a subscription is larger than %d KiB", largeBody>>10)
	case len(graphql.CollectFields(o, o.Operation.SelectionSet, []string{"Subscription"})) == 1:
		return nil
	}
	err := gqlerror.ErrorPosf(o.Operation.Position, "a subscription must select one field, which no @skip or @include leaves out")
	errcode.Set(err, errcode.ValidationFailed)
	return err
}
