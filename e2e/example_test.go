package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/mirror"
	"patientgraph/web"
)

// TestExample drives the front end at /app/ in Chromium through every state that it has, in
// both languages, each at the size of a desktop and of a phone, light and dark; axe must find
// nothing on any of them. EXAMPLE_SCREENSHOTS names a folder for pictures of them all;
// EXAMPLE_DOCS=1 writes those that docs/images shows.
func TestExample(t *testing.T) {
	t.Parallel()
	for _, language := range []string{"en", "ko"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			files := clientFiles(t)
			demo := Start(t, "BASE_PATH="+map[string]string{"en": "/", "ko": "/apps/records"}[language])
			front := newFront(t)
			runPage(t, files, "page/states.js", "LANGUAGE="+language,
				"DEMO="+demo.URL+map[string]string{"ko": "/apps/records"}[language], "FRONT="+front.URL, "PATIENTS="+strings.Join(frontPatients, " "),
				"READER="+TokenOf(t, Object{"role": auth.RoleAdmin, "sub": "reader", "scope": "user/Patient.rs"}),
				"CARER="+TokenOf(t, Object{"role": auth.RolePatient, "sub": "carer", "patient_id": []string{frontNumber("survivor"), frontNumber("emergency")}}),
				"EXAMPLE_SCREENSHOTS="+os.Getenv("EXAMPLE_SCREENSHOTS"), "EXAMPLE_DOCS="+docsImages(t))
		})
	}
}

// docsImages is where the pictures of the docs go; "" leaves them alone.
func docsImages(t *testing.T) string {
	t.Helper()
	if os.Getenv("EXAMPLE_DOCS") == "" {
		return ""
	}
	folder, err := filepath.Abs("../docs/images")
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// BenchmarkExample loads the page in Chromium with an empty cache: what is sent, how long it
// takes until one can sign in, and from there until the list is shown.
func BenchmarkExample(b *testing.B) {
	files, demo := clientFiles(b), Start(b)
	var sum struct{ SignIn, List, Bytes float64 }
	for b.Loop() {
		out := strings.TrimSpace(runPage(b, files, "page/speed.js", "DEMO="+demo.URL))
		var once struct{ SignIn, List, Bytes float64 }
		if err := json.Unmarshal([]byte(out[strings.LastIndexByte(out, '\n')+1:]), &once); err != nil {
			b.Fatal(err)
		}
		sum.SignIn, sum.List, sum.Bytes = sum.SignIn+once.SignIn, sum.List+once.List, sum.Bytes+once.Bytes
	}
	n := float64(b.N)
	b.ReportMetric(sum.SignIn/n, "ms-to-sign-in")
	b.ReportMetric(sum.List/n, "ms-to-list")
	b.ReportMetric(sum.Bytes/n, "bytes-sent")
	b.ReportMetric(0, "ns/op") // of Chromium's start
}

// runPage runs a script of Playwright and returns what it printed; it fails where the
// script does.
func runPage(t testing.TB, files, script string, env ...string) string {
	t.Helper()
	chromium := os.Getenv("TEST_CHROMIUM")
	if chromium == "" {
		t.Skip("needs a browser: set TEST_CHROMIUM to the path of a Chromium binary")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", script)
	cmd.Dir = files
	cmd.Env = append(os.Environ(), append(env, "CHROMIUM="+chromium)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node %s: %v\n%s", script, err, out)
	}
	return string(out)
}

// front serves the page before a product with a FHIR server of its own, as a hospital's
// proxy may, and does what a test asks for at /control/.
type front struct {
	*httptest.Server
	t           *testing.T
	fhir        *fhirsim.Server
	databaseURL string
	database    *sql.DB
	base        string
	limited     *Product // lets nobody ask much
	// What becomes of operations now.
	refused, lost, slow, flooded atomic.Bool
	flood                        sync.WaitGroup
}

// frontPatients are FHIR ids; the numbers are P-2026-000001 and on.
var frontPatients = []string{"away", "busy", "gone", "merged", "merging", "survivor", "ignoring", "applied", "overtaken", "normalizing",
	"database", "session", "lost", "deleted", "inactive", "limited", "emergency", "forgotten", "pending", "conflicting", "broken", "reused"}

func frontNumber(id string) string {
	return fmt.Sprintf("P-2026-%06d", slices.Index(frontPatients, id)+1)
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{t: t, databaseURL: dbtest.SQLite(t)}
	var patients []string
	for _, id := range frontPatients {
		patients = append(patients, PatientJSON(id, frontNumber(id)))
	}
	f.fhir, f.base = StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, patients...)
	f.put("merged", mergedInto("survivor"))
	f.put("inactive", func(s string) string { return strings.Replace(s, `"name"`, `"active":false,"name"`, 1) })
	f.sync()
	f.database = dbtest.Open(t, f.databaseURL)
	settings := []string{"STALE_AFTER=1s"}
	product := StartWith(t, f.base, f.databaseURL, settings...)
	f.limited = StartWith(t, f.base, f.databaseURL, append(settings, "RATE_LIMIT=1")...)

	page, err := web.ExampleHandler(web.ExamplePage{SignIns: []web.SignIn{{Role: "admin", Token: Token(t, auth.RoleAdmin, "")}}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/app/", page)
	mux.HandleFunc("/graphql", func(w http.ResponseWriter, r *http.Request) { f.graphQL(w, r, product) })
	mux.HandleFunc("POST /control/{what}/{id}", f.control)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		f.flooded.Store(false)
		f.flood.Wait()
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

func mergedInto(id string) func(string) string {
	return func(s string) string {
		return strings.Replace(s, `"name"`, `"active":false,"link":[{"type":"replaced-by","other":{"reference":"Patient/`+id+`"}}],"name"`, 1)
	}
}

// put changes a patient on the FHIR server, as another editor would.
func (f *front) put(id string, change func(string) string) {
	resource, _, _ := f.fhir.Get(id)
	if err := f.fhir.Put([]byte(change(string(resource)))); err != nil {
		f.t.Error(err)
	}
}

// sync brings the cache up to date, in another process as it were.
func (f *front) sync() {
	var out, log locked.Buffer
	if err := Run(context.Background(), []string{"sync", "--full"}, &out, &log, OutsideDemo(f.base, f.databaseURL)...); err != nil {
		f.t.Errorf("sync: %v\n%s", err, &log)
	}
}

func (f *front) exec(statement string, args ...any) {
	if _, err := f.database.Exec(statement, args...); err != nil {
		f.t.Error(err)
	}
}

// graphQL passes an operation on, unless something is to become of it.
func (f *front) graphQL(w http.ResponseWriter, r *http.Request, product *Product) {
	to := product.URL
	if f.flooded.Load() {
		to = f.limited.URL
	}
	if f.slow.Load() {
		_, _ = io.Copy(io.Discard, r.Body) // only then is it seen that the browser has left
		<-r.Context().Done()
		return
	}
	if f.refused.Load() {
		r.Header.Set("Authorization", "Bearer of.bad.news")
	}
	address, err := url.Parse(to)
	if err != nil {
		f.t.Error(err)
		return
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(address)
		r.Out.Host = r.In.Host // the page's own, as its origin says
	}}
	if !f.lost.Load() {
		proxy.ServeHTTP(w, r)
		return
	}
	proxy.ServeHTTP(httptest.NewRecorder(), r) // it is done, and nobody hears of it
	panic(http.ErrAbortHandler)
}

// control makes something happen, before it answers.
func (f *front) control(_ http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	put := func(fault fhirsim.Fault) {
		fault.On = http.MethodPut
		f.fhir.SetFault(id, fault)
	}
	database := strings.TrimPrefix(f.databaseURL, "sqlite:")
	switch what := r.PathValue("what"); what {
	case "away", "away-briefly": // before anything is sent
		after := map[string]string{"away": "600", "away-briefly": "1"}[what]
		f.fhir.SetFault(id, fhirsim.Fault{On: http.MethodGet, Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {after}}})
	case "unauthorized":
		f.fhir.SetFault(id, fhirsim.Fault{On: http.MethodGet, Status: http.StatusUnauthorized})
	case "ignore":
		put(fhirsim.Fault{Ignore: true})
	case "normalize":
		put(fhirsim.Fault{Store: func(_, resource []byte) []byte {
			return bytes.Replace(resource, []byte("010-2000-3000"), []byte("01020003000"), 1)
		}})
	case "lose", "lose-and-apply": // the answer, and all reads after it
		put(fhirsim.Fault{Close: true, Apply: what == "lose-and-apply"})
		f.fhir.SetFault(id, fhirsim.Fault{On: http.MethodGet, Close: true, After: 1})
	case "clear":
		f.fhir.ClearFaults()
	case "edit":
		f.put(id, func(s string) string { return strings.Replace(s, OldPhone, "010-4444-5555", 1) })
	case "merge":
		f.put(id, mergedInto("survivor"))
	case "delete":
		f.fhir.Delete(id)
	case "forget": // as a cache does that was restored from before
		f.exec("DELETE FROM patients WHERE fhir_id = ?", id)
	case "break": // what the program takes for its own fault
		f.exec("ALTER TABLE patients RENAME TO mislaid")
	case "mend":
		f.exec("ALTER TABLE mislaid RENAME TO patients")
	case "sync":
		f.sync()
	case "database-away":
		if err := os.Rename(database, database+".away"); err != nil {
			f.t.Error(err)
		}
	case "database-back":
		if err := os.Rename(database+".away", database); err != nil {
			f.t.Error(err)
		}
	case "refused", "lost", "slow":
		map[string]*atomic.Bool{"refused": &f.refused, "lost": &f.lost, "slow": &f.slow}[what].Store(id == "on")
	case "flood":
		f.flooded.Store(id == "on")
		for range 2 {
			f.flood.Go(func() {
				for f.flooded.Load() { // what one caller may ask is all used up
					f.limited.Post(Body(f.t, `{ viewer { role } }`, nil))
				}
			})
		}
	default:
		f.t.Errorf("no such control: %s", what)
	}
}

// BenchmarkSearchAsYouType asks what the list of the page asks after each letter, with the
// page's own query, of 100,000 patients: half of them with Korean names.
func BenchmarkSearchAsYouType(b *testing.B) {
	databaseURL := dbtest.SQLite(b)
	store, err := db.Open(b.Context(), databaseURL)
	if err != nil {
		b.Fatal(err)
	}
	if err := store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	lines, write := io.Pipe()
	go func() {
		for n := range 100_000 {
			_, _ = io.WriteString(write, named(n)+"\n") // the reader says what goes wrong
		}
		write.Close()
	}()
	imported := mirror.NewImport(store, mirror.ImportOptions{
		Now: time.Now, BadLine: func(_ string, line int, err error) { b.Errorf("line %d: %v", line, err) },
	})
	if err := imported.Read(b.Context(), "patients", lines); err != nil || imported.Result.Inserted != 100_000 {
		b.Fatalf("%+v, %v", imported.Result, err)
	}
	store.Close()
	p := StartWith(b, "http://127.0.0.1:1/fhir", databaseURL, "LOG_LEVEL=info")
	operations, err := os.ReadFile("../examples/react/src/operations/patient.graphql")
	if err != nil {
		b.Fatal(err)
	}
	for _, typed := range []string{"", "김", "김민", "김민준", "m", "ma", "mar", "maria s"} {
		b.Run(cmp.Or(typed, "nothing"), func(b *testing.B) {
			variables := Object{"orderBy": "NAME_ASC"}
			if typed != "" {
				variables["filter"] = Object{"name": typed}
			}
			body := JSON(b, Object{"query": string(operations), "operationName": "Patients", "variables": variables})
			for b.Loop() {
				if answer := p.Post(body); answer.At("data", "patients", "totalCount") == 0.0 {
					b.Fatal("nobody is found")
				}
			}
		})
	}
}

// named is the nth of many patients, with a name that others may have too.
func named(n int) string {
	pick := func(from string, by int) string { parts := strings.Fields(from); return parts[n/by%len(parts)] }
	family, given := pick("김 이 박 최 정 강 조 윤 장 임 한 오 서 신 권 황 안 송 전 홍", 2), pick("민 서 지 현 예 수 하 도 시 은", 40)+pick("준 연 우 윤 진 원 호 아 빈 영", 400)
	if n%2 == 1 {
		family, given = pick("Smith Garcia Müller Kowalska Nguyen Sharma Okafor Tanaka Silva Brown", 2), pick("Maria James Mary Ahmed Anna Wei Jürgen Grace Minh Sofia", 20)
	}
	return strings.NewReplacer("홍길동", family+given, `"홍"`, `"`+family+`"`, `"길동"`, `"`+given+`"`).Replace(PatientJSON(fmt.Sprint("f", n), fmt.Sprintf("H-%07d", n)))
}
