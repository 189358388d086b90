package httpapi

import (
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/resolvers"
)

// survey refuses a document that would cost too much to validate and execute.
// It takes time linear in the document first (extent), and then, once that is
// bounded, in the document with its fragments spread (comparisons).
func survey(document *ast.QueryDocument) *gqlerror.Error {
	if len(document.Operations) > maxOperations {
		return limitExceeded("the query has more than %d operations", maxOperations)
	}
	s := surveyor{fragments: map[string]*ast.FragmentDefinition{}, extents: map[string]*extent{}}
	roots := make([]ast.SelectionSet, 0, len(document.Operations)+len(document.Fragments))
	var all extent
	for _, operation := range document.Operations {
		if len(operation.VariableDefinitions) > maxVariables {
			return limitExceeded("an operation has more than %d variables", maxVariables)
		}
		all.parts += 1 + variableParts(operation.VariableDefinitions) + directiveParts(operation.Directives)
		roots = append(roots, operation.SelectionSet)
	}
	for _, fragment := range document.Fragments {
		s.fragments[fragment.Name] = fragment
		all.parts += 1 + directiveParts(fragment.Directives)
		roots = append(roots, fragment.SelectionSet)
	}
	for _, root := range roots {
		all.add(s.extentOf(root))
	}
	switch {
	case s.wrong != "":
		return &gqlerror.Error{Message: s.wrong, Extensions: map[string]any{"code": resolvers.CodeValidationFailed}}
	case all.parts > maxParts:
		return limitExceeded("the query has more than %d fields, fragments, directives, arguments and values, counting a fragment wherever it is spread and once for itself", maxParts)
	case all.depth > maxDepth:
		return limitExceeded("the query is more than %d fields deep", maxDepth)
	case max(all.within, all.below) > maxWithin:
		return limitExceeded("the query has more than %d fragments within each other", maxWithin)
	}
	for _, root := range roots {
		s.compare([]ast.SelectionSet{root})
	}
	switch {
	case s.fields > maxFields:
		return limitExceeded("the query asks for more than %d fields of one object", maxFields)
	case s.pairs > maxPairs:
		return limitExceeded("the query asks too often for fields with one name in the answer, or spreads too many fragments side by side: comparing them takes more than %d steps", maxPairs)
	}
	return nil
}

type surveyor struct {
	fragments map[string]*ast.FragmentDefinition
	extents   map[string]*extent // of fragments; nil while one is being measured
	wrong     string             // what validation would refuse too, and take long to
	fields    int                // most of one object
	pairs     int
}

// extent is how much a selection set holds, its fragments spread.
type extent struct {
	parts  int
	depth  int // in fields
	within int // fragments within each other, here
	below  int // the same, of one of its fields
}

// add takes in what stands beside. It stops counting well above every limit,
// before an int overflows.
func (e *extent) add(other extent) {
	e.parts = min(e.parts+other.parts, 1<<30)
	e.depth = max(e.depth, other.depth)
	e.within = max(e.within, other.within)
	e.below = max(e.below, other.below)
}

func (s *surveyor) extentOf(set ast.SelectionSet) (e extent) {
	for _, selection := range set {
		switch selected := selection.(type) {
		case *ast.Field:
			field := s.extentOf(selected.SelectionSet)
			field.parts += 1 + directiveParts(selected.Directives) + argumentParts(selected.Arguments)
			field.depth++
			field.within, field.below = 0, max(field.below, field.within)
			e.add(field)
		case *ast.InlineFragment:
			inside := s.extentOf(selected.SelectionSet)
			inside.parts += 1 + directiveParts(selected.Directives)
			inside.within++
			e.add(inside)
		case *ast.FragmentSpread:
			inside := s.extentOfFragment(selected.Name)
			inside.parts += 1 + directiveParts(selected.Directives)
			inside.within++
			e.add(inside)
		}
	}
	return e
}

// extentOfFragment measures each fragment once.
func (s *surveyor) extentOfFragment(name string) extent {
	known, met := s.extents[name]
	switch {
	case known != nil:
		return *known
	case met:
		s.wrong = `the fragment "` + name + `" spreads itself`
		return extent{}
	}
	fragment := s.fragments[name]
	if fragment == nil { // gqlparser compares unknown fragments, too, each with each other
		s.wrong = `unknown fragment "` + name + `"`
		return extent{}
	}
	s.extents[name] = nil
	e := s.extentOf(fragment.SelectionSet)
	e.parts += directiveParts(fragment.Directives)
	s.extents[name] = &e
	return e
}

func variableParts(variables ast.VariableDefinitionList) (parts int) {
	for _, v := range variables {
		parts += 1 + directiveParts(v.Directives)
		if v.DefaultValue != nil {
			parts += valueParts(v.DefaultValue)
		}
	}
	return parts
}

func directiveParts(directives ast.DirectiveList) (parts int) {
	for _, d := range directives {
		parts += 1 + argumentParts(d.Arguments)
	}
	return parts
}

func argumentParts(arguments ast.ArgumentList) (parts int) {
	for _, a := range arguments {
		parts += 1 + valueParts(a.Value)
	}
	return parts
}

func valueParts(value *ast.Value) (parts int) {
	for _, child := range value.Children {
		parts += 1 + valueParts(child.Value)
	}
	return parts
}

// compare counts how many pairs meet where these selection sets stand for one
// object of the answer. Validation compares each two fields with one name, their
// arguments with each other and what stands below them; and each two fragments.
func (s *surveyor) compare(sets []ast.SelectionSet) {
	o := asked{byName: map[string][]*ast.Field{}}
	for _, set := range sets {
		s.gather(set, &o)
	}
	s.fields = max(s.fields, o.fields)
	s.pairs += o.spreads * (o.spreads - 1) / 2
	for _, same := range o.byName {
		arguments := 0
		below := make([]ast.SelectionSet, 0, len(same))
		for _, f := range same {
			arguments += argumentParts(f.Arguments)
			if len(f.SelectionSet) > 0 {
				below = append(below, f.SelectionSet)
			}
		}
		// Each pair, and in each the arguments; a field alone counts for the look at
		// its own.
		s.pairs += len(same) * (len(same) - 1 + arguments) / 2
		if s.pairs > maxPairs {
			return
		}
		if len(below) > 0 {
			s.compare(below)
		}
	}
}

// asked is what is asked for of one object of the answer.
type asked struct {
	byName  map[string][]*ast.Field // by their name in the answer
	fields  int
	spreads int
}

func (s *surveyor) gather(set ast.SelectionSet, o *asked) {
	for _, selection := range set {
		switch selected := selection.(type) {
		case *ast.Field:
			o.byName[selected.Alias] = append(o.byName[selected.Alias], selected)
			o.fields++
		case *ast.InlineFragment:
			s.gather(selected.SelectionSet, o)
		case *ast.FragmentSpread:
			o.spreads++
			s.gather(s.fragments[selected.Name].SelectionSet, o)
		}
	}
}
