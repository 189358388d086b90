package main

import (
	"context"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

const (
	// maxAnswer bounds the data of one answer, in bytes of JSON.
	maxAnswer = 16 << 20
	// longText is from how many bytes on a text is counted. What is shorter is
	// bounded by the cost of the operation.
	longText = 64
	// maxErrors bounds how many errors are told: a document can have one for
	// each of its fields.
	maxErrors = 50
)

// answerLimit ends an operation whose answer grows beyond maxAnswer, before its
// texts are written: a long text can be asked for under thousands of names.
type answerLimit struct{}

// answerSize counts the long texts of one answer.
type answerSize struct{ bytes atomic.Int64 }

func (answerLimit) ExtensionName() string                   { return "AnswerLimit" }
func (answerLimit) Validate(graphql.ExecutableSchema) error { return nil }

func (answerLimit) InterceptResponse(ctx context.Context, next graphql.ResponseHandler) *graphql.Response {
	size := &answerSize{}
	response := next(context.WithValue(ctx, answerLimit{}, size))
	if response != nil && len(response.Errors) > maxErrors {
		response.Errors = response.Errors[:maxErrors]
	}
	if response != nil && (len(response.Data) > maxAnswer || size.bytes.Load() > maxAnswer) {
		return &graphql.Response{Errors: gqlerror.List{answerTooLong()}}
	}
	return response
}

func (answerLimit) InterceptField(ctx context.Context, next graphql.Resolver) (any, error) {
	value, err := next(ctx)
	if !isLong(value) {
		return value, err
	}
	size, ok := ctx.Value(answerLimit{}).(*answerSize)
	if ok && (size.bytes.Load() > maxAnswer || size.bytes.Add(textBytes(value)) > maxAnswer) {
		return nil, answerTooLong()
	}
	return value, err
}

func answerTooLong() *gqlerror.Error {
	return limitExceeded("the answer would have more than %d MiB: ask for fewer patients or fields at once (what a mutation changed stays changed)", maxAnswer>>20)
}

// isLong reports whether a field's texts are worth counting.
func isLong(value any) bool {
	switch text := value.(type) {
	case string:
		return len(text) >= longText
	case *string:
		return text != nil && len(*text) >= longText
	case []string:
		return len(text) > 0
	}
	return false
}

// textBytes is how many bytes of JSON a field's texts take at most.
func textBytes(value any) (bytes int64) {
	switch text := value.(type) {
	case string:
		return jsonBytes(text)
	case *string:
		return jsonBytes(*text)
	case []string:
		for _, s := range text {
			bytes += 3 + jsonBytes(s)
		}
	}
	return bytes
}

// jsonBytes counts six bytes for what may be written as an escape.
func jsonBytes(text string) int64 {
	escaped := 0
	for i := range len(text) {
		if mayEscape[text[i]] {
			escaped++
		}
	}
	return int64(len(text) + 5*escaped)
}

var mayEscape = func() (table [256]bool) {
	for c := range byte(' ') {
		table[c] = true
	}
	for _, c := range []byte(`"\<>&`) {
		table[c] = true
	}
	return table
}()

var _ interface {
	graphql.ResponseInterceptor
	graphql.FieldInterceptor
} = answerLimit{}
