package main

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
		all.add(s.extentOf(root), 0)
	}
	switch {
	case s.cycle != "":
		return &gqlerror.Error{
			Message:    `the fragment "` + s.cycle + `" spreads itself`,
			Extensions: map[string]any{"code": resolvers.CodeValidationFailed},
		}
	case all.parts > maxParts:
		return limitExceeded("the query has more than %d fields, fragments, directives, arguments and values, counting a fragment wherever it is spread and once for itself", maxParts)
	case all.depth > maxDepth:
		return limitExceeded("the query is more than %d fields deep", maxDepth)
	}
	for _, root := range roots {
		s.compare([]ast.SelectionSet{root})
	}
	if s.pairs > maxPairs {
		return limitExceeded("the query asks too often for fields with one name in the answer: comparing them takes more than %d steps", maxPairs)
	}
	return nil
}

type surveyor struct {
	fragments map[string]*ast.FragmentDefinition
	extents   map[string]*extent // of fragments; nil while one is being measured
	cycle     string             // a fragment that spreads itself
	pairs     int
}

// extent is how much a selection set holds, its fragments spread.
type extent struct{ parts, depth int }

// add takes in what stands so many fields deeper. It stops counting well above
// every limit, before an int overflows.
func (e *extent) add(inner extent, deeper int) {
	e.parts = min(e.parts+inner.parts, 1<<30)
	e.depth = max(e.depth, inner.depth+deeper)
}

func (s *surveyor) extentOf(set ast.SelectionSet) (e extent) {
	for _, selection := range set {
		switch selected := selection.(type) {
		case *ast.Field:
			e.add(extent{parts: 1 + directiveParts(selected.Directives) + argumentParts(selected.Arguments)}, 0)
			e.add(s.extentOf(selected.SelectionSet), 1)
		case *ast.InlineFragment:
			e.add(extent{parts: 1 + directiveParts(selected.Directives)}, 0)
			e.add(s.extentOf(selected.SelectionSet), 0)
		case *ast.FragmentSpread:
			e.add(extent{parts: 1 + directiveParts(selected.Directives)}, 0)
			e.add(s.extentOfFragment(selected.Name), 0)
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
		s.cycle = name
		return extent{}
	}
	fragment := s.fragments[name]
	if fragment == nil {
		return extent{} // validation says so
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

// compare counts how many pairs of fields meet where these selection sets stand
// for one place of the answer: validation compares each pair, their arguments
// with each other, and what stands below them.
func (s *surveyor) compare(sets []ast.SelectionSet) {
	fields := map[string][]*ast.Field{} // by their name in the answer
	for _, set := range sets {
		s.gather(set, fields)
	}
	for _, same := range fields {
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

func (s *surveyor) gather(set ast.SelectionSet, fields map[string][]*ast.Field) {
	for _, selection := range set {
		switch selected := selection.(type) {
		case *ast.Field:
			fields[selected.Alias] = append(fields[selected.Alias], selected)
		case *ast.InlineFragment:
			s.gather(selected.SelectionSet, fields)
		case *ast.FragmentSpread:
			if fragment := s.fragments[selected.Name]; fragment != nil {
				s.gather(fragment.SelectionSet, fields)
			}
		}
	}
}
