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
	for _, fragment := range document.Fragments {
		s.fragments[fragment.Name] = fragment
	}
	roots := make([]ast.SelectionSet, 0, len(document.Operations)+len(document.Fragments))
	var all extent
	for _, operation := range document.Operations {
		e := s.extentOf(operation.SelectionSet)
		e.parts++
		s.addVariables(&e, operation.VariableDefinitions)
		s.addDirectives(&e, operation.Directives)
		if err := tooMuch(operation, e); err != nil {
			return err
		}
		all.add(e)
		roots = append(roots, operation.SelectionSet)
	}
	for _, fragment := range document.Fragments {
		e := s.extentOf(fragment.SelectionSet)
		e.parts++
		s.addDirectives(&e, fragment.Directives)
		all.add(e)
		roots = append(roots, fragment.SelectionSet)
	}
	switch {
	case s.wrong != "":
		return &gqlerror.Error{Message: s.wrong, Extensions: map[string]any{"code": resolvers.CodeValidationFailed}}
	case s.atOnce > maxDirectivesAtOnce:
		return limitExceeded("the query has more than %d directives in one place", maxDirectivesAtOnce)
	case s.longest > maxList:
		return listTooLong()
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

// tooMuch refuses one operation for what it holds, whatever stands beside it.
func tooMuch(operation *ast.OperationDefinition, e extent) *gqlerror.Error {
	switch {
	case len(operation.VariableDefinitions) > maxVariables:
		return limitExceeded("the operation has more than %d variables", maxVariables)
	case operation.Operation == ast.Mutation && e.fields > maxMutations:
		return limitExceeded("the operation has more than %d mutations: send the others in further requests", maxMutations)
	case e.fields > maxRootFields:
		return limitExceeded("the operation has more than %d root fields", maxRootFields)
	case e.aliases > maxAliases:
		return limitExceeded("the operation has more than %d aliases, counting those of a fragment wherever it is spread", maxAliases)
	case e.directives > maxDirectives:
		return limitExceeded("the operation has more than %d directives, counting those of a fragment wherever it is spread", maxDirectives)
	}
	return nil
}

type surveyor struct {
	fragments map[string]*ast.FragmentDefinition
	extents   map[string]*extent // of fragments; nil while one is being measured
	wrong     string             // what validation would refuse too, and take long to
	atOnce    int                // most directives in one place
	longest   int                // list
	fields    int                // most of one object
	pairs     int
}

// extent is how much a selection set holds, its fragments spread.
type extent struct {
	parts      int
	fields     int // without those below them
	aliases    int
	directives int
	depth      int // in fields
	within     int // fragments within each other, here
	below      int // the same, of one of its fields
}

// add takes in what stands beside. It stops counting well above every limit,
// before an int overflows.
func (e *extent) add(other extent) {
	e.parts = min(e.parts+other.parts, 1<<30)
	e.fields = min(e.fields+other.fields, 1<<30)
	e.aliases = min(e.aliases+other.aliases, 1<<30)
	e.directives = min(e.directives+other.directives, 1<<30)
	e.depth = max(e.depth, other.depth)
	e.within = max(e.within, other.within)
	e.below = max(e.below, other.below)
}

func (s *surveyor) extentOf(set ast.SelectionSet) (e extent) {
	for _, selection := range set {
		switch selected := selection.(type) {
		case *ast.Field:
			field := s.extentOf(selected.SelectionSet)
			field.parts++
			field.fields = 1
			if selected.Alias != selected.Name {
				field.aliases++
			}
			s.addDirectives(&field, selected.Directives)
			s.addArguments(&field, selected.Arguments)
			field.depth++
			field.within, field.below = 0, max(field.below, field.within)
			e.add(field)
		case *ast.InlineFragment:
			inside := s.extentOf(selected.SelectionSet)
			inside.parts++
			s.addDirectives(&inside, selected.Directives)
			inside.within++
			e.add(inside)
		case *ast.FragmentSpread:
			inside := s.extentOfFragment(selected.Name)
			inside.parts++
			s.addDirectives(&inside, selected.Directives)
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
	s.addDirectives(&e, fragment.Directives)
	s.extents[name] = &e
	return e
}

func (s *surveyor) addVariables(e *extent, variables ast.VariableDefinitionList) {
	for _, v := range variables {
		e.parts++
		s.addDirectives(e, v.Directives)
		if v.DefaultValue != nil {
			s.addValue(e, v.DefaultValue)
		}
	}
}

func (s *surveyor) addDirectives(e *extent, directives ast.DirectiveList) {
	e.directives += len(directives)
	s.atOnce = max(s.atOnce, len(directives))
	for _, d := range directives {
		e.parts++
		s.addArguments(e, d.Arguments)
	}
}

func (s *surveyor) addArguments(e *extent, arguments ast.ArgumentList) {
	for _, a := range arguments {
		e.parts++
		s.addValue(e, a.Value)
	}
}

// addValue adds what a value holds.
func (s *surveyor) addValue(e *extent, value *ast.Value) {
	if value.Kind == ast.ListValue {
		s.longest = max(s.longest, len(value.Children))
	}
	for _, child := range value.Children {
		e.parts++
		s.addValue(e, child.Value)
	}
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
		var arguments extent
		below := make([]ast.SelectionSet, 0, len(same))
		for _, f := range same {
			s.addArguments(&arguments, f.Arguments)
			if len(f.SelectionSet) > 0 {
				below = append(below, f.SelectionSet)
			}
		}
		// Each pair, and in each the arguments; a field alone counts for the look at
		// its own.
		s.pairs += len(same) * (len(same) - 1 + arguments.parts) / 2
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
