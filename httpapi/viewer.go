package httpapi

import (
	"context"
	"log/slog"
	"slices"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
)

// viewerPatients looks up the patients of the viewer's token once for each
// operation, before anything asks what the viewer may do: from there on they are
// patient numbers, and nothing else. A subscription keeps those of its start.
type viewerPatients struct {
	numbers func(ctx context.Context, claim []string) ([]string, error)
	log     *slog.Logger
}

func (viewerPatients) ExtensionName() string                   { return "ViewerPatients" }
func (viewerPatients) Validate(graphql.ExecutableSchema) error { return nil }

func (p viewerPatients) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	v, _ := auth.FromContext(ctx)
	if !p.needed(v) {
		return next(ctx)
	}
	lookup, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	v, err := p.lookUp(lookup, v)
	if err != nil {
		if ctx.Err() == nil { // else the client is gone
			p.log.ErrorContext(ctx, "the patients of a token cannot be looked up", "error", err)
		}
		return graphql.OneShot(&graphql.Response{Errors: gqlerror.List{
			unavailable("the database cannot be asked whose records you may see: nothing was read or changed; try again later", 5),
		}})
	}
	return next(auth.WithViewer(ctx, v))
}

// needed reports whether it depends on the claim what the viewer may do.
func (p viewerPatients) needed(v auth.Viewer) bool {
	return p.numbers != nil && len(v.PatientClaim) > 0 && v.NeedsPatients()
}

// lookUp is the viewer with the numbers that the patients of the claim have now.
func (p viewerPatients) lookUp(ctx context.Context, v auth.Viewer) (auth.Viewer, error) {
	numbers, err := p.numbers(ctx, v.PatientClaim)
	slices.Sort(numbers)
	v.PatientIDs = slices.Compact(numbers)
	return v, err
}
