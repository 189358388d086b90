package resolvers

import (
	"context"

	"github.com/99designs/gqlgen/graphql"

	"patientgraph/db"
)

// columnsOf lists the columns that a field of the GraphQL type Patient needs
// beside the keys.
var columnsOf = map[string][]db.Column{
	"familyName":       {db.ColFamilyName},
	"givenName":        {db.ColGivenName},
	"fullName":         {db.ColFullName},
	"birthDate":        {db.ColBirthDate},
	"birthYear":        {db.ColBirthDate},
	"gender":           {db.ColGender},
	"phone":            {db.ColPhone},
	"email":            {db.ColEmail},
	"address":          {db.ColAddress},
	"emergencyContact": {db.ColEmergencyContact},
	"allergies":        {db.ColAllergies},
	"bloodType":        {db.ColBloodType},
	"fhirId":           {db.ColFHIRID},
	"isSynced":         {db.ColFHIRID},
	"lastSyncedAt":     {db.ColLastSyncedAt},
	"syncState":        {db.ColSyncState},
	"version":          {db.ColVersion},
	"createdAt":        {db.ColCreatedAt},
	"updatedAt":        {db.ColUpdatedAt},
}

// selectedColumns returns the columns that the client asked for under the
// current field, where path leads from it to a Patient: none for the field
// itself, "nodes" or "edges", "node" for a connection. Fragments, aliases,
// @skip and @include are followed.
func selectedColumns(ctx context.Context, paths ...[]string) []db.Column {
	op := graphql.GetOperationContext(ctx)
	found := map[db.Column]bool{db.ColVersion: true} // never empty: that would mean every column
	cols := []db.Column{db.ColVersion}
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
		walk(graphql.CollectFieldsCtx(ctx, nil), path)
	}
	return cols
}

// selected tells whether the client asked for a field directly under the
// current one.
func selected(ctx context.Context, name string) bool {
	for _, f := range graphql.CollectFieldsCtx(ctx, nil) {
		if f.Name == name {
			return true
		}
	}
	return false
}
