package e2e_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
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
			runPage(t, files, "page/states.js", language,
				"DEMO="+demo.URL+map[string]string{"ko": "/apps/records"}[language], "FRONT="+front.URL,
				"READER="+TokenOf(t, Object{"role": auth.RoleAdmin, "sub": "reader", "scope": "user/Patient.rs"}),
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

// runPage runs a script of Playwright; it fails where the script does.
func runPage(t *testing.T, files, script, language string, env ...string) {
	t.Helper()
	chromium := os.Getenv("TEST_CHROMIUM")
	if chromium == "" {
		t.Skip("needs a browser: set TEST_CHROMIUM to the path of a Chromium binary")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", script)
	cmd.Dir = files
	cmd.Env = append(os.Environ(), append(env, "CHROMIUM="+chromium, "LANGUAGE="+language)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("node %s: %v\n%s", script, err, out)
	}
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
var frontPatients = []string{"away", "busy", "refusing", "gone", "merged", "merging", "survivor", "ignoring", "applied", "overtaken", "normalizing",
	"database", "session", "lost", "deleted", "inactive", "limited", "emergency", "forgotten"}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{t: t, databaseURL: dbtest.SQLite(t)}
	var patients []string
	for n, id := range frontPatients {
		patients = append(patients, PatientJSON(id, fmt.Sprintf("P-2026-%06d", n+1)))
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
	case "away": // before anything is sent
		f.fhir.SetFault(id, fhirsim.Fault{On: http.MethodGet, Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"2"}}})
	case "unauthorized":
		f.fhir.SetFault(id, fhirsim.Fault{On: http.MethodGet, Status: http.StatusUnauthorized})
	case "refuse":
		put(fhirsim.Fault{RejectPhone: "Invalid phone format"})
	case "ignore":
		put(fhirsim.Fault{Ignore: true})
	case "normalize":
		put(fhirsim.Fault{Store: func(_, resource []byte) []byte {
			return bytes.Replace(resource, []byte("010-2000-3000"), []byte("01020003000"), 1)
		}})
	case "compete":
		f.fhir.SetFault(id, fhirsim.Fault{Compete: true})
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
		if _, err := f.database.Exec("DELETE FROM patients WHERE fhir_id = ?", id); err != nil {
			f.t.Error(err)
		}
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
