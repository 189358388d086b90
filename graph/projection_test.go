package graph_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/graph"
)

// TestProjectionWritesWhatTheGeneratedCodeWrites gives random documents to the generated
// code alone and with the projection: the answers are the same to the byte.
func TestProjectionWritesWhatTheGeneratedCodeWrites(t *testing.T) {
	t.Parallel()
	schema := graph.NewExecutableSchema(graph.Config{Resolvers: patientsOf{}})
	generated, projected := executor.New(schema), executor.New(schema)
	var taken atomic.Int64
	projected.Use(projecting(func(ctx context.Context, value any) any {
		json, ok, err := graph.Project(ctx, value, func(int64) error { return nil })
		if err != nil {
			t.Error(err)
		}
		if !ok {
			return value
		}
		taken.Add(1)
		return graphql.WriterFunc(func(w io.Writer) { _, _ = w.Write(json) })
	}))
	const documents = 1_500
	for seed := range uint64(documents) {
		d := document{rand.New(rand.NewPCG(seed, 1)), schema.Schema(), nil}
		query := d.query()
		variables := map[string]any{"yes": seed%2 == 0, "seed": fmt.Sprint(seed), "id": fmt.Sprint(seed)}
		want, got := answerOf(t, generated, query, variables), answerOf(t, projected, query, variables)
		if !bytes.Equal(want, got) {
			t.Fatalf("seed %d: %s\nthe generated code writes\n%s\nthe projection\n%s", seed, query, want, got)
		}
	}
	if taken.Load() < documents/4 {
		t.Errorf("of %d documents only %d values were projected", documents, taken.Load())
	}
}

// TestProjectionKnowsEveryField holds that what has no resolver is written by it, and that
// it writes nothing at all beside what has one.
func TestProjectionKnowsEveryField(t *testing.T) {
	t.Parallel()
	schema := graph.NewExecutableSchema(graph.Config{Resolvers: patientsOf{}})
	var everything func(of string) string
	everything = func(of string) string {
		text := "{ __typename"
		for _, f := range schema.Schema().Types[of].Fields {
			if f.Name == "replacedBy" || f.Name == "changeCursor" {
				continue
			}
			text += " " + f.Name
			if schema.Schema().Types[f.Type.Name()].IsCompositeType() {
				text += " " + everything(f.Type.Name())
			}
		}
		return text + " }"
	}
	all := everything("PatientConnection")
	for query, projected := range map[string]bool{
		all: true,
		strings.ReplaceAll(all, "fullName", "fullName replacedBy"):        false,
		strings.ReplaceAll(all, "fullName", "fullName changeCursor"):      false,
		strings.ReplaceAll(all, "fullName", "... on Node { id }"):         true,
		strings.ReplaceAll(all, "fullName", "... @skip(if: true) { id }"): true,
	} {
		asked := 0
		e := executor.New(schema)
		e.Use(projecting(func(ctx context.Context, value any) any {
			if _, isPage := value.(*graph.PatientConnection); !isPage {
				return value
			}
			asked++
			told := int64(0)
			json, ok, err := graph.Project(ctx, value, func(more int64) error { told += more; return nil })
			if ok != projected || err != nil || told > 0 != projected || len(json) > 0 != projected {
				t.Errorf("%s: projected %v, %d bytes, %d told, error %v", query, ok, len(json), told, err)
			}
			return value
		}))
		answerOf(t, e, "query($seed: String) { patients(filter: { name: $seed }, first: 20) "+query+" }", map[string]any{"seed": "1"})
		if asked != 1 {
			t.Errorf("%s: %d pages", query, asked)
		}
	}
}

// TestProjectionTellsHowMuchItWrites holds that it tells of all, before it has written very
// much more than it has told of, and that an error of more ends it. So does a PageWriter.
func TestProjectionTellsHowMuchItWrites(t *testing.T) {
	t.Parallel()
	const patients, mostAtOnce = 500, 130 << 10
	enough := errors.New("enough")
	for _, c := range []struct {
		end   int // the call that ends it
		write func(context.Context, *graph.PatientConnection, func(int64) error) ([]byte, bool, error)
	}{{0, projectPage}, {3, projectPage}, {0, writePage}, {3, writePage}} {
		end, calls, told := c.end, 0, int64(0)
		e := executor.New(graph.NewExecutableSchema(graph.Config{Resolvers: patientsOf{}}))
		e.Use(projecting(func(ctx context.Context, value any) any {
			page, isPage := value.(*graph.PatientConnection)
			if !isPage {
				return value
			}
			for _, p := range page.Nodes[1:] {
				p.Version = strings.Repeat("x", 2000)
			}
			page.Nodes[0].Version = strings.Repeat("\x01", 10_000) // of one patient too
			json, ok, err := c.write(ctx, page, func(more int64) error {
				if calls++; more > mostAtOnce {
					t.Errorf("%d bytes at once", more)
				}
				told += more
				if calls == end {
					return enough
				}
				return nil
			})
			switch {
			case end == 0 && told != int64(len(json)):
				t.Errorf("%d bytes told of %d", told, len(json))
			case end == 0 && (!ok || err != nil || len(json) < patients*2000):
				t.Errorf("ok %v, error %v, %d bytes", ok, err, len(json))
			case end > 0 && (ok || err != nil && !errors.Is(err, enough) || calls != end || len(json) > end*mostAtOnce):
				t.Errorf("ok %v, error %v, %d calls, %d bytes", ok, err, calls, len(json))
			}
			return value
		}))
		answerOf(t, e, `query($seed: String) { patients(filter: { name: $seed }, first: 500) { nodes { id `+aliased("version", 40)+` } } }`, map[string]any{"seed": "1"})
		if calls == 0 {
			t.Error("nothing was projected")
		}
	}
}

func projectPage(ctx context.Context, page *graph.PatientConnection, more func(int64) error) ([]byte, bool, error) {
	return graph.Project(ctx, page, more)
}

// writePage has no error of its own: that there is one shows in ok.
func writePage(ctx context.Context, page *graph.PatientConnection, more func(int64) error) (json []byte, ok bool, err error) {
	selection, ok := graph.SelectionOfPage(graphql.GetOperationContext(ctx), graphql.GetFieldContext(ctx).Field.Selections)
	if !ok {
		return nil, false, errors.New("the page has no selection")
	}
	w := selection.Writer(0, more)
	for _, p := range page.Nodes {
		w.Add(p, "")
	}
	json, ok = w.AppendJSON(nil, page.PageInfo)
	return json, ok, nil
}

// TestAbuseAPageTakesLittleBeforeItIsWritten: nobody counts what is not written yet, and a
// document may have many lists.
func TestAbuseAPageTakesLittleBeforeItIsWritten(t *testing.T) {
	e := executor.New(graph.NewExecutableSchema(graph.Config{Resolvers: patientsOf{}}))
	lists := ""
	for n := range 90 {
		lists += fmt.Sprintf("n%d: nodes { id } e%d: edges { cursor } ", n, n)
	}
	operation, errs := e.CreateOperationContext(graphql.StartOperationTrace(t.Context()), &graphql.RawParams{Query: "{ patients { " + lists + "} }"})
	if errs != nil {
		t.Fatal(errs)
	}
	selection, ok := graph.SelectionOfPage(operation, operation.Operation.SelectionSet[0].(*ast.Field).SelectionSet)
	if !ok {
		t.Fatal("it has no selection")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := selection.Writer(16<<20, func(int64) error { return nil })
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 100<<10 {
		t.Errorf("%d KiB are taken before anything is written", taken>>10)
	}
	if json, ok := w.AppendJSON(nil, &graph.PageInfo{}); !ok || len(json) < len(lists)/3 {
		t.Errorf("ok %v: %.100s", ok, json)
	}
}

// TestPatientSelectionStaysSmall holds that it keeps no document.
func TestPatientSelectionStaysSmall(t *testing.T) {
	t.Parallel()
	e := executor.New(graph.NewExecutableSchema(graph.Config{Resolvers: patientsOf{}}))
	operation, errs := e.CreateOperationContext(graphql.StartOperationTrace(context.Background()), &graphql.RawParams{Query: `{ patient(id: "1") { ` + aliased("version", 90) + `} }`})
	if errs != nil {
		t.Fatal(errs)
	}
	set := operation.Operation.SelectionSet[0].(*ast.Field).SelectionSet
	field := weak.Make(set[0].(*ast.Field))
	selection, ok := graph.SelectionOfPatient(operation, set)
	if !ok {
		t.Fatal("it has no selection")
	}
	if runtime.GC(); field.Value() != nil {
		t.Error("it keeps the document")
	}
	for length, want := range map[int]bool{500: true, 60_000: false} {
		json, ok := selection.AppendJSON(nil, &graph.Patient{Version: strings.Repeat("x", length)}, func(told int64) error {
			if told > 64<<10 {
				return errors.New("too much")
			}
			return nil
		})
		if ok != want || len(json) > 130<<10 {
			t.Errorf("a text of %d bytes under 90 names: ok is %v, %d bytes", length, ok, len(json))
		}
	}
}

func aliased(field string, times int) (selection string) {
	for n := range times {
		selection += fmt.Sprintf("a%d: %s ", n, field)
	}
	return selection
}

func answerOf(t *testing.T, e *executor.Executor, query string, variables map[string]any) []byte {
	t.Helper()
	ctx := graphql.StartOperationTrace(context.Background())
	operation, errs := e.CreateOperationContext(ctx, &graphql.RawParams{Query: query, Variables: variables})
	if errs != nil {
		t.Fatalf("%s: %v", query, errs)
	}
	respond, ctx := e.DispatchOperation(ctx, operation)
	response := respond(ctx)
	slices.SortFunc(response.Errors, func(a, b *gqlerror.Error) int { return strings.Compare(a.Error(), b.Error()) }) // fields are resolved at once
	return fmt.Append(nil, string(response.Data), response.Errors)
}

// projecting is an extension that changes the values of fields.
type projecting func(ctx context.Context, value any) any

func (projecting) ExtensionName() string                   { return "Projecting" }
func (projecting) Validate(graphql.ExecutableSchema) error { return nil }
func (p projecting) InterceptField(ctx context.Context, next graphql.Resolver) (any, error) {
	value, err := next(ctx)
	if err != nil {
		return value, err
	}
	return p(ctx, value), nil
}

// document makes a valid query from the schema.
type document struct {
	*rand.Rand
	schema    *ast.Schema
	fragments []string
}

func (d *document) query() string {
	var roots []string
	for n := range 1 + d.IntN(3) {
		var field string
		switch d.IntN(4) {
		case 0:
			field = fmt.Sprintf(`node(id: $id) { __typename ... on Patient %s ... on Node { id } }`, d.selection("Patient", 0))
		case 1:
			field = fmt.Sprintf(`patient(id: $id) %s`, d.selection("Patient", 0))
		default:
			field = fmt.Sprintf(`patients(filter: { name: $seed }, first: %d) %s`, d.IntN(4), d.selection("PatientConnection", 0))
		}
		field = fmt.Sprintf("r%d: %s", n, field)
		roots = append(roots, field)
	}
	return "query($yes: Boolean!, $id: ID!, $seed: String) { __typename @include(if: $yes) all: patients(filter: { name: $seed }, first: 1) { totalCount } one: patient(id: $id) { id } " + strings.Join(roots, " ") + " }\n" + strings.Join(d.fragments, "\n")
}

// selection is a selection set of a type.
func (d *document) selection(of string, depth int) string {
	fields := slices.Clone(d.schema.Types[of].Fields)
	d.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	parts := []string{}
	for n, f := range fields[:1+d.IntN(len(fields))] {
		if strings.HasPrefix(f.Name, "__") || (f.Name == "replacedBy" || f.Name == "changeCursor") && d.IntN(8) > 0 {
			continue
		}
		part := f.Name
		if d.IntN(4) == 0 {
			part = fmt.Sprintf("a%d_%d: %s", depth, n, part)
		}
		part += d.directive()
		if definition := d.schema.Types[f.Type.Name()]; definition.IsCompositeType() {
			part += " " + d.selection(definition.Name, depth+1)
		}
		switch d.IntN(8) {
		case 0:
			part = "... on " + of + d.directive() + " { " + part + " }"
		case 1:
			part = "..." + d.directive() + " { " + part + " }"
		case 2:
			name := fmt.Sprintf("F%d", len(d.fragments))
			d.fragments = append(d.fragments, "fragment "+name+" on "+of+" { "+part+" }")
			part = "... " + name + d.directive()
		}
		parts = append(parts, part)
	}
	if d.IntN(4) == 0 || len(parts) == 0 {
		parts = append(parts, "__typename")
	}
	if of == "Patient" && d.IntN(8) == 0 {
		parts = append(parts, "... on Node { id }")
	}
	if d.IntN(8) == 0 { // merged with what is there already
		parts = append(parts, parts[d.IntN(len(parts))])
	}
	return "{ " + strings.Join(parts, " ") + " }"
}

func (d *document) directive() string {
	return []string{"", "", "", "", "", " @skip(if: $yes)", " @include(if: $yes)", " @skip(if: false)"}[d.IntN(8)]
}

// patientsOf answers with patients that a seed makes.
type patientsOf struct{ graph.ResolverRoot }

func (patientsOf) Query() graph.QueryResolver     { return patientsOf{}.query() }
func (patientsOf) Patient() graph.PatientResolver { return patientFields{} }
func (patientsOf) query() seededQuery             { return seededQuery{} }

type seededQuery struct{ graph.QueryResolver }

func (seededQuery) Patient(_ context.Context, id string) (*graph.Patient, error) {
	return randomPatient(seeded(id)), nil
}

func (seededQuery) Node(_ context.Context, id string) (graph.Node, error) {
	return randomPatient(seeded(id)), nil
}

func (seededQuery) Patients(_ context.Context, filter *graph.PatientFilter, _ *graph.PatientOrder, first *int, _ *string, _ *int, _ *string) (*graph.PatientConnection, error) {
	random := seeded(*filter.Name)
	c := &graph.PatientConnection{TotalCount: random.IntN(1000), PageInfo: &graph.PageInfo{
		HasNextPage: random.IntN(2) == 0, StartCursor: randomText(random), EndCursor: randomText(random),
	}}
	for range *first {
		p := randomPatient(random)
		c.Nodes = append(c.Nodes, p)
		c.Edges = append(c.Edges, &graph.PatientEdge{Cursor: p.ID, Node: p})
	}
	return c, nil
}

type patientFields struct{}

func (patientFields) ReplacedBy(context.Context, *graph.Patient) (*string, error) {
	return nil, errors.New("replacedBy is an error here")
}
func (patientFields) ChangeCursor(_ context.Context, p *graph.Patient) (string, error) {
	return "cursor of " + p.ID, nil
}

func seeded(seed string) *rand.Rand {
	var n uint64
	_, _ = fmt.Sscan(seed, &n)
	return rand.New(rand.NewPCG(n, 2))
}

// randomText is null, or text with whatever JSON has to escape.
func randomText(random *rand.Rand) *string {
	texts := []string{"", "Kim", "홍길동", `a "quote" \ and more`, "line\nend\ttab\r", "\x01\x1f\x7f", "<b>&amp;</b>", "\u2028\u2029", "e\u0301🙂", strings.Repeat("long ", 40)}
	n := random.IntN(len(texts) + 3)
	if n >= len(texts) {
		return nil
	}
	return &texts[n]
}

func randomPatient(random *rand.Rand) *graph.Patient {
	text := func() *string { return randomText(random) }
	must := func() string {
		if s := text(); s != nil {
			return *s
		}
		return "there"
	}
	list := func() []string {
		if random.IntN(3) == 0 {
			return nil
		}
		texts := []string{}
		for range random.IntN(3) {
			texts = append(texts, must())
		}
		return texts
	}
	instant := time.Unix(random.Int64N(4_000_000_000), random.Int64N(1e9)).In(time.FixedZone("", random.IntN(9)*3600))
	year := random.IntN(3000)
	p := &graph.Patient{
		ID: "P-" + must(), FamilyName: text(), GivenName: text(), FullName: text(), Gender: graph.GenderFemale, Phone: text(), Email: text(),
		BirthDate: (*graph.PartialDate)(text()), Allergies: list(), BloodType: text(), Active: random.IntN(2) == 0, Deceased: random.IntN(2) == 0, FhirID: text(),
		IsSynced: random.IntN(2) == 0, SyncState: graph.SyncStateStale, Version: must(), CreatedAt: instant, UpdatedAt: instant.Add(time.Hour),
	}
	if random.IntN(2) == 0 {
		p.BirthYear, p.LastSyncedAt = &year, &instant
		p.Address = &graph.Address{Text: text(), Lines: list(), City: text(), District: text(), State: text(), PostalCode: text(), Country: text()}
	}
	if random.IntN(2) == 0 {
		p.EmergencyContact = &graph.EmergencyContact{Name: must(), Relationship: text(), Phone: text(), Source: graph.EmergencyContactSourceLocal}
	}
	return p
}
