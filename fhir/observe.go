package fhir

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Observer is told of each request once its answer is there, or will not come: its
// interaction (one of Interactions), how it went (one of Results) and how long that
// took, without what getting a token took. It may be called concurrently.
type Observer func(interaction, result string, took time.Duration)

// What an Observer is told besides the interactions and kinds.
const (
	// ResultOK: the answer is good.
	ResultOK = "ok"
	// ResultCanceled: the caller did not wait; it says nothing of the server.
	ResultCanceled = "canceled"

	// InteractionToken: the authorization server is asked for a token.
	InteractionToken = "token"

	interactionOther = "other"
)

var interactionNames = map[string]string{
	OpRead: "read", OpUpdate: "update", OpSearch: "search", OpHistory: "history", OpCapabilities: "metadata",
}

// Interactions are what an Observer can be told, sorted.
func Interactions() []string {
	names := []string{InteractionToken, interactionOther}
	for _, name := range interactionNames {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Results are what an Observer can be told, sorted: ResultOK, ResultCanceled, or the
// name of the Kind of the failure.
func Results() []string {
	names := []string{ResultOK, ResultCanceled}
	for kind, name := range kindNames {
		if kind != CannotApply { // nothing is sent then
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// IsUnreachable reports whether a result says that no answer of the server's own came,
// or that it failed (5xx).
func IsUnreachable(result string) bool {
	return result == NotSent.String() || result == Lost.String()
}

func resultOf(err error) string {
	var e *Error
	switch {
	case errors.Is(err, context.Canceled):
		return ResultCanceled
	case errors.As(err, &e):
		return e.Kind.String()
	}
	return ResultOK
}

// observe tells the observer, if there is one, of an answer that has just come.
func (c *Client) observe(a *answer, took time.Duration) {
	if c.observer == nil {
		return
	}
	interaction := interactionNames[a.op]
	if interaction == "" {
		interaction = interactionOther
	}
	result := resultOf(a.failure())
	if (a.op == OpUpdate || a.op == OpDelete) && result == Unusable.String() && a.silent() { // an OK that shows nothing
		result = ResultOK
	}
	c.observer(interaction, result, took)
}
