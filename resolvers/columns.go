package resolvers

import (
	"context"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"patientgraph/db"
)

// columnsOf has the columns that a field of the GraphQL type Patient needs beside
// the keys.
var columnsOf = columnsByField()

// columnsByField gives each field the column of its name, birth_date to birthDate,
// and those that have another name or more than one theirs.
func columnsByField() map[string][]db.Column {
	of := map[string][]db.Column{
		"active": {db.ColInactive}, "birthYear": {db.ColBirthDate}, "changeCursor": {db.ColChangeSeq, db.ColVersion}, "emergencyContact": {db.ColFHIRContact}, "isSynced": {db.ColFHIRID},
		"syncState": {db.ColFHIRID, db.ColLastSyncedAt, db.ColUnseenSince},
	}
	for name, c := range db.Columns() {
		words := strings.Split(name, "_")
		for i, word := range words[1:] {
			words[i+1] = strings.ToUpper(word[:1]) + word[1:]
		}
		field := strings.Join(words, "")
		of[field] = append(of[field], c)
	}
	return of
}

// selectedColumns returns the columns that the client asked for under the
// current field, where path leads from it to a Patient: none for the field
// itself, "nodes" or "edges", "node" for a connection. Fragments, aliases,
// @skip and @include are followed.
func selectedColumns(ctx context.Context, paths ...[]string) []db.Column {
	return columnsUnder(graphql.GetOperationContext(ctx), graphql.GetFieldContext(ctx).Field.Selections, paths...)
}

// columnsUnder is selectedColumns for any place in an operation.
func columnsUnder(op *graphql.OperationContext, set ast.SelectionSet, paths ...[]string) []db.Column {
	found := map[db.Column]bool{db.ColID: true} // never empty: that would mean every column
	cols := []db.Column{db.ColID}
	var walk func(fields []graphql.CollectedField, path []string)
	walk = func(fields []graphql.CollectedField, path []string) {
		for _, f := range fields {
			if len(path) > 0 {
				if f.Name == path[0] {
					walk(graphql.CollectFields(op, f.Selections, nil), path[1:])
				}
				continue
			}
			for _, c := range columnsOf[f.Name] {
				if !found[c] {
					found[c] = true
					cols = append(cols, c)
				}
			}
		}
	}
	for _, path := range paths {
		walk(graphql.CollectFields(op, set, nil), path)
	}
	return cols
}

// selected reports whether the client asked for a field directly under the
// current one.
func selected(ctx context.Context, name string) bool {
	for _, f := range graphql.CollectFieldsCtx(ctx, nil) {
		if f.Name == name {
			return true
		}
	}
	return false
}
