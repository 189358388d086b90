package graph

import (
	"encoding/json"
	"slices"
)

// SDL returns schema.graphqls as it was when the code was generated from it.
func SDL() string { return sources[0].Input }

// PossibleTypesJSON says which types each interface and union may be, as the cache of
// Apollo Client takes it. Its text is always the same.
func PossibleTypesJSON() ([]byte, error) {
	possible := map[string][]string{}
	for name, t := range parsedSchema.Types {
		if !t.IsAbstractType() {
			continue
		}
		for _, member := range parsedSchema.GetPossibleTypes(t) {
			possible[name] = append(possible[name], member.Name)
		}
		slices.Sort(possible[name])
	}
	text, err := json.MarshalIndent(map[string]any{"possibleTypes": possible}, "", "  ")
	return append(text, '\n'), err
}

// gqlparser gives every schema the directive @defer. No transport of ours carries it
// out, so it is unknown here: in introspection, and to the validation.
func init() { delete(parsedSchema.Directives, "defer") }
