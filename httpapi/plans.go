package httpapi

import (
	"context"
	"time"

	"github.com/99designs/gqlgen/graphql"
	lru "github.com/hashicorp/golang-lru/v2"

	"patientgraph/auth"
	"patientgraph/resolvers"
)

// plans answers operations again that gqlgen has read, checked and answered before, where
// resolvers.Plan can: one patient then costs about what the data cost. Whatever is not as it
// was the first time (a document that is not trusted any more, other variables, a refusal, a
// fault) is left to gqlgen, which says what has to be said.
// TestPlansAnswerWhatGqlgenAnswers holds the two together.
type plans struct {
	resolver  *resolvers.Resolver
	documents persistedDocuments
	deadline  *operationDeadline
	viewers   viewerPatients
	answers   *answerLimit
	known     *lru.Cache[planned, *plan]
}

// planTimeout leaves gqlgen the time to begin, and to tell that the database hangs. A single
// look-up of a patient ends by itself before (db.Store.Patient), and is not bounded again.
const planTimeout = queryTimeout - time.Second/2

// planned is an operation as its caller names it.
type planned struct{ query, operationName string }

type plan struct {
	*resolvers.Plan
	key       planned
	operation operation
}

func newPlans(r *resolvers.Resolver, documents persistedDocuments, deadline *operationDeadline, viewers viewerPatients, answers *answerLimit) *plans {
	known, _ := lru.New[planned, *plan](maxCachedQueries) // it refuses only a size below 1
	return &plans{r, documents, deadline, viewers, answers, known}
}

// learn keeps the plan of an operation that was answered without an error. In the place of
// another one: that was of smaller pages, or has failed.
func (p *plans) learn(o *graphql.OperationContext) {
	if len(o.RawQuery) > maxCachedQuery {
		return
	}
	if made := resolvers.PlanOf(o); made != nil {
		key := planned{o.RawQuery, o.OperationName}
		p.known.Add(key, &plan{made, key, operation{o.Operation.Name, o.Operation.Operation}})
	}
}

// find returns the plan of a request, and what it asks for; nil: it has none.
func (p *plans) find(request *graphql.RawParams) (found *plan, asked resolvers.Asked) {
	query, passes := p.documents.passing(request)
	if !passes {
		return nil, asked
	}
	found, known := p.known.Get(planned{query, request.OperationName})
	if !known {
		return nil, asked
	}
	asked, ok := found.Asked(request.Variables)
	if !ok {
		return nil, asked
	}
	return found, asked
}

// carryOut returns the data of the answer. Where ok is false nothing was told, and nothing
// logged but a panic; what was counted is taken back when gqlgen's answer begins.
func (p *plans) carryOut(ctx context.Context, plan *plan, asked resolvers.Asked) (data []byte, ok bool) {
	end, refused := p.deadline.beginQuery(ctx)
	if refused != nil {
		return nil, false
	}
	defer end()
	defer func() {
		if cause := recover(); cause != nil { // gqlgen meets it again, unless it has passed
			p.resolver.Log.ErrorContext(ctx, "a plan failed", "error", resolvers.Panic(cause))
			ok = false
		}
	}()
	viewer, _ := auth.FromContext(ctx)
	needed := p.viewers.needed(viewer)
	if needed || !plan.LooksUpOnce(asked) {
		within, cancel := context.WithTimeout(ctx, planTimeout)
		defer cancel()
		ctx = within
	}
	if needed {
		var err error
		if viewer, err = p.viewers.lookUp(ctx, viewer); err != nil {
			return nil, false
		}
	}
	size := infoOf(ctx).size
	data, ok = plan.Data(ctx, p.resolver, viewer, asked, func(bytes int64) error { return p.answers.countMore(size, bytes) })
	if ok {
		p.answers.count(size, int64(len(data))-size.bytes.Load())
	}
	if size.refusal() != nil { // gqlgen tells it, and has no such answer made twice
		p.known.Remove(plan.key)
		return nil, false
	}
	return data, ok
}
