package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/internal/locked"
	"patientgraph/resolvers"
)

// TestPlansAnswerWhatGqlgenAnswers has plans made of random documents while all is well. Then
// it sends each as a random request, with a comment, which makes it a document that gqlgen has
// to answer, and as it is. Answers, headers and lines of the log are the same.
func TestPlansAnswerWhatGqlgenAnswers(t *testing.T) {
	t.Parallel()
	const requests = 3_000
	p := newPlanned(Options{})
	for seed := range uint64(requests) {
		random := rand.New(rand.NewPCG(seed, 2))
		request := randomRequest(random)
		p.row, p.err, p.numbers, p.unreadable, p.viewer = &db.Patient{}, nil, nil, false, auth.Viewer{Role: auth.RoleAdmin}
		first := request
		first.variables = usualVariables
		if strings.Contains(request.query, "patients(") {
			first.variables = usualPage
		}
		p.ask(t, first, "")
		p.shows(random)
		want := p.ask(t, request, fmt.Sprintf("\n# %d", seed))
		if got := p.ask(t, request, ""); got != want {
			t.Fatalf("seed %d: %+v\ngqlgen answers\n%s\nthe plan\n%s", seed, request, want, got)
		}
	}
	if p.byPlan < requests/20 || p.pagesByPlan < requests/20 || p.refusedByPlan < requests/60 {
		t.Errorf("of %d requests plans answered %d, of pages %d, and left %d to gqlgen that they had begun", requests, p.byPlan, p.pagesByPlan, p.refusedByPlan)
	}
}

// TestAPlanIsOfWhatItWasMadeWith has a plan made with some variables, and asks with others that
// the random requests above seldom bring together.
func TestAPlanIsOfWhatItWasMadeWith(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query, made, asked string
		byPlan             int // of the two
	}{
		{"query($n: Int) { patients(first: $n) { nodes { id } } }", `{"n":6}`, `{"n":2}`, 1},
		{"query($n: Int) { patients(first: $n) { nodes { id } } }", `{"n":2}`, `{"n":6}`, 0},
		{"query($n: Int) { patients(first: $n) { nodes { id } } }", `{"n":2}`, `{}`, 0}, // twenty
		{"query($n: Int = 3) { patients(first: $n) { nodes { id } } }", `{"n":30}`, `{}`, 0},
		{"query($n: Int) { patients(first: $n, last: $n) { nodes { id } } }", `{}`, `{"n":2}`, 0},
		{"query($n: Int) { patients(first: $n) { " + manyLists + " } }", `{"n":1}`, `{"n":200}`, 0}, // it would cost too much
	} {
		p := newPlanned(Options{})
		p.row, p.viewer = &db.Patient{}, auth.Viewer{Role: auth.RoleAdmin}
		request := plannedRequest{method: http.MethodPost, query: c.query, variables: c.made, accept: graphQLType}
		p.ask(t, request, "")
		request.variables = c.asked
		want := p.ask(t, request, "\n# gqlgen")
		got := p.ask(t, request, "")
		if got != want || p.pagesByPlan != c.byPlan {
			t.Errorf("%.80s made with %s, asked with %s: %d by plan; gqlgen answers\n%.300s\nthe plan\n%.300s", c.query, c.made, c.asked, p.pagesByPlan, want, got)
		}
	}
}

var manyLists = func() (lists string) {
	for n := range 60 {
		lists += fmt.Sprintf("n%d: nodes { id phone } ", n)
	}
	return lists
}()

// TestAPlanGrowsWithItsPages: a larger page is answered by plan from its second time on, also
// after gqlgen answered a smaller one, whose cursor is long.
func TestAPlanGrowsWithItsPages(t *testing.T) {
	t.Parallel()
	p := newPlanned(Options{})
	p.row, p.viewer = &db.Patient{}, auth.Viewer{Role: auth.RoleAdmin}
	cursor := db.OrderCreatedDesc.Cursor(&db.Patient{ID: strings.Repeat("A", 150)})
	for n, asked := range []struct {
		variables string
		byPlan    int // of all till then
	}{{`{"n":2}`, 0}, {`{"n":6}`, 0}, {`{"n":6}`, 1}, {`{"n":1,"c":"` + cursor + `"}`, 1}, {`{"n":6}`, 2}, {`{"n":1}`, 3}} {
		query := "query($n: Int, $c: String) { patients(first: $n, after: $c) { nodes { id } } }"
		p.ask(t, plannedRequest{method: http.MethodPost, query: query, variables: asked.variables}, "")
		if p.pagesByPlan != asked.byPlan {
			t.Errorf("after %d requests %d were answered by plan, not %d", n+1, p.pagesByPlan, asked.byPlan)
		}
	}
}

// TestPlansLeaveTimeToTell has the cache hang: gqlgen tells it, in the time that there is.
func TestPlansLeaveTimeToTell(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ query, variables string }{
		{"query($id: ID!) { patient(id: $id) { id } }", usualVariables},
		{"query($id: ID!) { patient(id: $id) { id } }", `{"id":" P-1 "}`}, // looked up as it stands, and without the blanks
		{"query($n: Int!) { patients(first: $n) { nodes { id } } }", usualPage},
	} {
		synctest.Test(t, func(t *testing.T) { // times pass as the test says
			stopping := make(chan struct{})
			defer close(stopping)
			p := newPlanned(Options{Stopping: stopping})
			p.row, p.viewer = &db.Patient{}, auth.Viewer{Role: auth.RoleAdmin}
			request := plannedRequest{method: http.MethodPost, query: c.query, variables: c.variables, accept: graphQLType}
			p.ask(t, request, "")
			p.err = context.DeadlineExceeded
			want := p.ask(t, request, "\n# gqlgen")
			began := time.Now()
			got := p.ask(t, request, "")
			if got != want || p.refusedByPlan != 1 {
				t.Errorf("gqlgen answers\n%s\nthe plan\n%s", want, got)
			}
			if took := time.Since(began); took != queryTimeout {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestAPlanIsOfATrustedDocument: what is on the list no more is refused, or the log says so,
// though there is a plan of it.
func TestAPlanIsOfATrustedDocument(t *testing.T) {
	t.Parallel()
	const query = "query One($id: ID!) { patient(id: $id) { id } }"
	for _, enforce := range []bool{true, false} {
		tr := newTrusting(t, fmt.Sprintf(`{"one": %q}`, query), enforce, Options{})
		p := newPlanned(Options{TrustedDocuments: tr.documents})
		p.row, p.viewer = &db.Patient{}, auth.Viewer{Role: auth.RoleAdmin}
		send := func(members string) string {
			t.Helper()
			_, code := read(t, ask(p.handler, http.MethodPost, "/graphql", `{"variables":`+usualVariables+","+members+"}"))
			return code
		}
		text := fmt.Sprintf(`"query":%q`, query)
		for _, members := range []string{text, text, `"documentId":"one"`, text} {
			if code := send(members); code != "" {
				t.Errorf("listed: %s gives %q", members, code)
			}
		}
		if p.byPlan != 3 {
			t.Fatalf("plans answered %d times, not 3", p.byPlan)
		}
		tr.write(t, fmt.Sprintf(`{"1": %q}`, unlisted))
		tr.clock.Pass(trustedLookEvery)
		want := map[bool]string{true: "BAD_USER_INPUT"}[enforce]
		if code := send(text); code != want {
			t.Errorf("listed no more, enforce %v: %q, want %q", enforce, code, want)
		}
		if p.byPlan != 3 || !strings.Contains(tr.log.String(), "an operation is not in TRUSTED_DOCUMENTS") {
			t.Errorf("listed no more, enforce %v: plans answered %d times; the log has\n%s", enforce, p.byPlan, tr.log)
		}
	}
}

// TestAbusePlansKeepToTheBounds: of queries under way, and of what a document kept may have.
func TestAbusePlansKeepToTheBounds(t *testing.T) {
	t.Parallel()
	p := newPlanned(Options{})
	p.row, p.viewer = &db.Patient{}, auth.Viewer{Role: auth.RoleAdmin}
	long := plannedRequest{method: http.MethodPost, query: "query($id: ID!) { patient(id: $id) { id } }" + strings.Repeat(" ", maxCachedQuery), variables: usualVariables}
	p.ask(t, long, "")
	p.ask(t, long, "")
	if p.byPlan != 0 {
		t.Error("a plan of a long document is kept")
	}
	page := plannedRequest{method: http.MethodPost, query: "query($n: Int!) { patients(first: $n) { nodes { fullName } } }", variables: usualPage}
	p.ask(t, page, "")
	p.row.FullName = strings.Repeat("x", maxAnswer/5)
	want := p.ask(t, page, "\n# gqlgen")
	for range 2 {
		if got := p.ask(t, page, ""); got != want {
			t.Errorf("a plan refuses a large answer with\n%s\ngqlgen with\n%s", got, want)
		}
	}
	if p.pagesByPlan != 1 {
		t.Errorf("a plan that was too large was tried %d times", p.pagesByPlan)
	}
	deadline := &operationDeadline{}
	made := newPlans(&resolvers.Resolver{Store: p, Now: time.Now}, persistedDocuments{}, deadline, viewerPatients{}, newAnswerLimit())
	for _, c := range []struct {
		underWay int64
		answered bool
	}{{maxQueries - 1, true}, {maxQueries, false}} {
		deadline.queries.Store(c.underWay)
		ctx := withInfo(auth.WithViewer(t.Context(), p.viewer), &requestInfo{size: &answerSize{to: &recipient{}}})
		_, ok := made.carryOut(ctx, &plan{Plan: &resolvers.Plan{}}, resolvers.Asked{})
		if ok != c.answered || deadline.queries.Load() != c.underWay {
			t.Errorf("with %d queries under way: answered %v, then %d", c.underWay, ok, deadline.queries.Load())
		}
	}
}

// plannedCache is a cache with one patient, and what may go wrong with it.
type plannedCache struct {
	resolvers.Store
	row           *db.Patient
	err           error
	numbers       error
	unreadable    bool
	columns       []db.Column // that were read last
	byPlan        int         // look-ups without gqlgen that found somebody or nobody
	pagesByPlan   int
	refusedByPlan int // those that failed
	handler       http.Handler
	viewer        auth.Viewer
	log           *locked.Buffer
}

// newPlanned is a handler with the settings that a test gives it.
func newPlanned(o Options) *plannedCache {
	p := &plannedCache{log: &locked.Buffer{}}
	o.Log = slog.New(LogHandler(slog.NewJSONHandler(writerFunc(func(line []byte) (int, error) { return p.log.Write(line) }), nil)))
	o.Metrics, o.FHIRTimeout = prometheus.NewRegistry(), time.Second
	o.PatientNumbers = func(_ context.Context, claim []string) ([]string, error) { return claim, p.numbers }
	o.Resolver = &resolvers.Resolver{Store: p, Log: o.Log, Now: time.Now}
	s := serverOf(o)
	s.bodies = newBodyRoom(s.faults)
	inner := noteViewer(s.bodies.middleware(checkedRequest(newGraphQL(s))))
	p.handler = accessLog(s, isGraphQL(withLanguage(negotiated(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(auth.WithViewer(r.Context(), p.viewer)))
	})))))
	return p
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Patient is what the resolvers ask of the cache.
func (p *plannedCache) Patient(ctx context.Context, number string, columns ...db.Column) (*db.Patient, error) {
	p.columns = columns
	bounded, cancel := ctx, context.CancelFunc(func() {})
	if _, given := ctx.Deadline(); !given { // as that of package db does
		bounded, cancel = context.WithTimeout(ctx, 9*time.Second+time.Second/4)
	}
	defer cancel()
	err := p.fails(bounded, &p.byPlan)
	if err != nil || p.row == nil {
		return nil, err
	}
	row := *p.row
	row.ID = number
	return &row, nil
}

// fails counts what gqlgen has no part in, and has happen what shall.
func (p *plannedCache) fails(ctx context.Context, byPlan *int) error {
	if !graphql.HasOperationContext(ctx) {
		if p.err == nil || errors.Is(p.err, db.ErrNotFound) {
			*byPlan++
		} else {
			p.refusedByPlan++
		}
	}
	switch {
	case errors.Is(p.err, context.DeadlineExceeded):
		<-ctx.Done()
	case p.err != nil && p.err.Error() == "panic":
		panic(p.err)
	}
	return p.err
}

// Patients is a page of the same patient with many numbers, and now and then of one who
// cannot be shown.
func (p *plannedCache) Patients(ctx context.Context, r db.PageRequest) (*db.Page, error) {
	p.columns = r.Columns
	if err := p.fails(ctx, &p.pagesByPlan); err != nil {
		return nil, err
	}
	page := &db.Page{Order: r.Order, HasNext: r.First > 3, HasPrevious: r.After != ""}
	for n := range max(r.First, r.Last) {
		if p.row == nil || n == 20 {
			break
		}
		row := *p.row
		row.ID = fmt.Sprint("A-", n)
		page.Patients, page.End = append(page.Patients, &row), r.Order.Cursor(&row)
		page.Start = cmp.Or(page.Start, page.End)
	}
	if p.unreadable {
		page.Unreadable = append(page.Unreadable, db.ErrUnreadable)
	}
	return page, nil
}

func (p *plannedCache) EachPatient(ctx context.Context, r db.PageRequest, each func(*db.Patient)) (*db.Page, error) {
	page, err := p.Patients(ctx, r)
	if err != nil {
		return nil, err
	}
	var place db.Patient
	for _, row := range page.Patients {
		place = *row
		each(&place)
	}
	place = db.Patient{}
	page.Patients = nil
	return page, nil
}

func (p *plannedCache) AliasesOf(context.Context, []string) (map[string]string, error) {
	return nil, p.numbers
}

func (p *plannedCache) MergedInto(context.Context, string) (string, string, error) {
	return "", "", db.ErrNotFound
}

// shows chooses what the cache holds.
func (p *plannedCache) shows(random *rand.Rand) {
	text := func(texts ...string) string { return texts[random.IntN(len(texts))] }
	p.row, p.err, p.numbers, p.unreadable = nil, nil, nil, random.IntN(20) == 0
	switch random.IntN(12) {
	case 0:
		p.err = db.ErrNotFound
	case 1:
		p.err = errors.New("the disk is full")
	case 2:
		p.err = errors.New("panic")
	case 3:
		p.numbers = errors.New("the database is away")
		fallthrough
	default:
		p.row = &db.Patient{Version: random.Int64N(99), UpdatedAt: time.UnixMicro(random.Int64N(1e15)), FHIRState: db.FHIRState{
			FullName: text("", "홍길동", `"<&>\`, "a\u2028\n\x7f", strings.Repeat("long ", 20_000)), GivenName: text("", "B"), Phone: text("", "+82 10"), BirthDate: text("", "1990", "1990-05-17", "no date"),
			Gender: text("", "female", "x"), Address: []*db.Address{nil, {City: "Seoul", Lines: []string{"1", ""}}, {}}[random.IntN(3)],
		}, SyncState: db.Synced}
		if random.IntN(8) == 0 {
			p.row.GoneAt = time.Now()
		}
	}
	role := []auth.Role{auth.RoleAdmin, auth.RolePatient, auth.RoleAnalyst, auth.RoleDoctor, "janitor"}[random.IntN(5)]
	p.viewer = auth.Viewer{Role: role, Subject: text("", "kim"), Expires: time.Now().Add(time.Hour)}
	if role == auth.RolePatient {
		p.viewer.PatientClaim = []string{"A-1"}
		p.viewer.PatientIDs = p.viewer.PatientClaim
	}
}

// plannedRequest is one request, but for how its document ends.
type plannedRequest struct {
	method, query, variables, operationName, accept, language string
}

// The variables that plans are made with.
const (
	usualVariables = `{"id":"A-1"}`
	usualPage      = `{"n":6}`
)

func randomRequest(random *rand.Rand) plannedRequest {
	any := func(texts ...string) string { return texts[random.IntN(len(texts))] }
	mostly := func(usual string, others ...string) string {
		if random.IntN(7) > 0 {
			return usual
		}
		return any(others...)
	}
	fields := ""
	for range 1 + random.IntN(6) {
		fields += " " + any("", "", "a: ", "b: ") + any("id", "fullName", "givenName", "phone", "birthDate", "birthYear", "gender", "active", "deceased", "fhirId", "isSynced",
			"syncState", "version", "updatedAt", "lastSyncedAt", "allergies", "__typename", "address { city lines }", "emergencyContact { name source }", "... on Patient { email }", "...F")
	}
	fields = mostly(fields, fields+" replacedBy", fields+" id @include(if: true)", fields+" nothing", fields+" ... { bloodType }")
	fragment := mostly("fragment F on Patient { id createdAt }", "fragment F on Patient { id @skip(if: true) version }")
	asked := plannedRequest{
		method: mostly(http.MethodPost, http.MethodGet), operationName: mostly("", "One", "Other"),
		accept: mostly("application/json", graphQLType, "*/*", ""), language: mostly("", "ko", "fr, ko;q=0.5"),
	}
	root := mostly("patient(id: $id)", "one: patient(id: $id)", `patient(id: "A-1")`, "patient(id: $id) @include(if: true)", "viewer { role } patient(id: $id)", "node(id: $id)")
	declared := mostly("($id: ID!)", `($id: ID! = "A-1")`, "($id: ID!, $other: Int)", "($id: String!)", "")
	selected := "{" + fields + " }"
	asked.variables = mostly(usualVariables, `{"id":"A-2"}`, `{"id":5}`, `{"id":1.5}`, `{"id":null}`, `{}`, `null`, `{"id":"A-1","x":1}`, `{"id":["A-1"]}`, `{"id":""}`, `{"id":" A-1\u200b"}`, `{"id":"`+strings.Repeat("9", 300)+`"}`)
	if random.IntN(2) == 0 {
		root = mostly("patients(", "p: patients(") + mostly("first: $n, after: $c", "first: 5, after: $c", "last: $n, before: $c", "first: $n, last: 2, after: $c", "after: $c, before: $c, first: $n",
			"first: $n, after: $c, orderBy: NAME_ASC", "orderBy: UPDATED_ASC, first: $n, after: $c", "orderBy: $c, first: $n", "first: $n, after: $c, filter: {}", `first: $n, after: $c, filter: { name: "kim" }`, "first: $n, after: null", "after: $c") + ")"
		declared = mostly("($n: Int!, $c: String)", "($n: Int, $c: String!)", "($n: Int = 3, $c: String)", "($c: String)", "($n: Int, $c: ID)", "($n: Int!)")
		list := mostly("nodes {"+fields+" }", "edges { node {"+fields+" } }", "edges { cursor node {"+fields+" } }", "many: nodes {"+fields+" } edges { cursor }", "edges { cursor }", "nodes {"+fields+" } nodes { id }", "")
		selected = "{ " + any("", "__typename ") + mostly("pageInfo { hasNextPage endCursor } ", "", "totalCount ", "pageInfo { __typename startCursor hasPreviousPage } ") + list + any("", " __typename", " info: pageInfo { hasPreviousPage }") + " }"
		cursor := any(string(db.OrderCreatedDesc), string(db.OrderNameAsc), string(db.OrderUpdatedAsc))
		asked.variables = mostly(`{"n":6,"c":null}`, `{"n":4,"c":"`+db.Order(cursor).Cursor(&db.Patient{ID: "A-1", CreatedAt: time.UnixMicro(5)})+`"}`, `{"n":6}`, `{"n":null}`, `{"n":7}`, `{"n":200,"c":null}`, `{"n":0}`, `{"n":-1}`, `{"n":201}`,
			`{"n":2.0}`, `{"n":2.5}`, `{"n":"2"}`, `{"n":99999999999}`, `{"n":1e1}`, `{"n":3,"c":""}`, `{"n":3,"c":"x"}`, `{"n":3,"c":7}`, `{"n":3,"c":["x"]}`, `{"n":3,"x":null}`, `{}`, `null`, `{"c":"`+strings.Repeat("x", 5000)+`","n":2}`)
	}
	name, more := any("", "", "One", "Other"), mostly("", " query Other { viewer { role } }")
	asked.query = "query " + name + declared + " { " + root + " " + selected + " }" + more
	if strings.Contains(fields, "...F") || random.IntN(9) == 0 {
		asked.query += " " + fragment
	}
	return asked
}

// incident is what no two answers and lines have in common, and what a plan alone logs.
var incident = regexp.MustCompile(`(?m)^.*"a plan failed".*\n|[0-9a-f]{8}-[0-9a-f-]{27}|"(time|ms|request_id)":("[^"]*"|[0-9.]+),?|stack":"[^"]*"|goroutine.*?"`)

// ask returns all that an answer shows, what the log says, and which columns were read.
func (p *plannedCache) ask(t *testing.T, asked plannedRequest, comment string) string {
	t.Helper()
	p.log, p.columns = &locked.Buffer{}, nil
	values := map[string]any{"query": asked.query + comment, "variables": json.RawMessage(asked.variables)}
	if asked.operationName != "" {
		values["operationName"] = asked.operationName
	}
	r := httptest.NewRequest(asked.method, "/graphql", nil)
	if asked.method == http.MethodGet {
		form := url.Values{}
		for name, value := range values {
			form.Set(name, fmt.Sprint(value))
			if raw, ok := value.(json.RawMessage); ok {
				form.Set(name, string(raw))
			}
		}
		r.URL.RawQuery = form.Encode()
	} else {
		body, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		r = httptest.NewRequest(asked.method, "/graphql", strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range map[string]string{"Accept": asked.accept, "Accept-Language": asked.language} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	recorder := httptest.NewRecorder()
	p.handler.ServeHTTP(recorder, r)
	recorder.Header().Del(requestIDHeader)
	return incident.ReplaceAllString(fmt.Sprintf("%d %v\n%s\n%s\nread: %v", recorder.Code, recorder.Header(), recorder.Body, p.log, p.columns), "")
}
