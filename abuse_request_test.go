package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"patientgraph/auth"
	"patientgraph/fhir/fhirtest"
)

// TestAbuseLongTextsUnderManyNames asks for 80 KB of allergies 450 times: 7 KB in,
// 36 MB out.
func TestAbuseLongTextsUnderManyNames(t *testing.T) {
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "LOG_LEVEL", "info")
	admin := token(t, auth.RoleAdmin, "")
	allergies := make([]string, 100)
	for i := range allergies {
		allergies[i] = strings.Repeat("😀", 200)
	}
	saved := s.query(admin, `mutation($a: [String!]) { updatePatientProfile(input: {patientId: "`+number+`", allergies: $a}) { __typename } }`, object{"a": allergies})
	want(t, saved, object{"updatePatientProfile.__typename": "UpdatePatientProfileSuccess"})
	for _, times := range []int{1, 50} { // below the limit it is answered whole
		body := requestBody(t, `{ patient(id: "`+number+`") { `+repeated(times, "a%d: allergies ")+`} }`)
		if code, size := s.code(admin, body); code != "" || size < times*80_000 {
			t.Errorf("%d times: %d bytes, code %q", times, size, code)
		}
	}
	var normal cost
	for range 3 {
		normal = spent(t, func() { s.patient(number) }) // with its allergies
	}
	body := requestBody(t, `{ patient(id: "`+number+`") { `+repeated(450, "a%d: allergies ")+`} }`)
	var code string
	var size int
	abuse := spent(t, func() { code, size = s.code(admin, body) })
	t.Logf("normal %v, %d bytes; abuse %v, %d bytes allocated, %d sent", normal.cpu, normal.bytes, abuse.cpu, abuse.bytes, size)
	if code != "LIMIT_EXCEEDED" || size > 10_000 {
		t.Errorf("%d bytes, code %q", size, code)
	}
	if abuse.bytes > 100*normal.bytes { // it was hundreds of times
		t.Errorf("it took %d bytes, a normal request %d", abuse.bytes, normal.bytes)
	}
}

// TestAbuseVariablesThatMultiply sends a megabyte of variables that would be many
// times as large in memory, or that recurse.
func TestAbuseVariablesThatMultiply(t *testing.T) {
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "LOG_LEVEL", "info")
	admin := token(t, auth.RoleAdmin, "")
	const megabyte = 1<<20 - 500
	for name, c := range map[string]struct{ variables, code string }{
		"deep arrays":    {`{"id":` + strings.Repeat("[", megabyte/2) + strings.Repeat("]", megabyte/2) + `}`, "LIMIT_EXCEEDED"},
		"unclosed":       {`{"id":` + strings.Repeat("[", megabyte), "LIMIT_EXCEEDED"},
		"deep objects":   {`{"id":` + strings.Repeat(`{"a":`, megabyte/6) + `1` + strings.Repeat("}", megabyte/6) + `}`, "LIMIT_EXCEEDED"},
		"empty objects":  {`{"id":[` + strings.Repeat(`{},`, megabyte/3) + `{}]}`, "LIMIT_EXCEEDED"},
		"many numbers":   {`{"id":[` + strings.Repeat(`1,`, megabyte/2) + `1]}`, "LIMIT_EXCEEDED"},
		"many variables": {`{` + repeated(100_000, `"v%d":1,`) + `"id":"x"}`, "LIMIT_EXCEEDED"},
		"one long text":  {`{"id":"` + strings.Repeat("x", megabyte) + `"}`, ""},
	} {
		body := `{"query":"query($id: ID!) { patient(id: $id) { id } }","variables":` + c.variables + `}`
		var code string
		used := spent(t, func() { code, _ = s.code(admin, body) })
		t.Logf("%-16s %v, %d bytes allocated", name, used.cpu, used.bytes)
		if code != c.code {
			t.Errorf("%s: code %q, want %q", name, code, c.code)
		}
		if used.bytes > maxAllocated {
			t.Errorf("%s: %d bytes allocated for %d", name, used.bytes, len(body))
		}
	}
	response := getGraphQL(t, s.product, admin, url.Values{"query": {"{ viewer { role } }"}, "variables": {strings.Repeat("[", 5_000)}})
	if code := errorCode(response); code != "LIMIT_EXCEEDED" {
		t.Errorf("by GET: code %q", code)
	}
}

func getGraphQL(t *testing.T, p *product, bearer string, query url.Values) object {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, p.url+"/graphql?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer := object{}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestAbuseFiltersThatExpand searches for what is eighteen times as long once it is
// folded.
func TestAbuseFiltersThatExpand(t *testing.T) {
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "LOG_LEVEL", "info")
	admin := token(t, auth.RoleAdmin, "")
	for _, filter := range []object{
		{"name": strings.Repeat("\uFDFA", 340_000)}, {"phone": strings.Repeat("1", 1_000_000)}, {"name": strings.Repeat("a\u0301", 300_000)},
	} {
		body, err := json.Marshal(object{"query": `query($f: PatientFilter) { patients(filter: $f) { totalCount } }`, "variables": object{"f": filter}})
		if err != nil {
			t.Fatal(err)
		}
		var code string
		used := spent(t, func() { code, _ = s.code(admin, string(body)) })
		if code != "BAD_USER_INPUT" || used.bytes > maxAllocated {
			t.Errorf("code %q, %d bytes allocated for %d", code, used.bytes, len(body))
		}
	}
}

// TestAbuseLongTextsUsedOften names a variable of a megabyte again and again.
func TestAbuseLongTextsUsedOften(t *testing.T) {
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "LOG_LEVEL", "info")
	admin := token(t, auth.RoleAdmin, "")
	const megabyte = 1<<20 - 40_000
	for name, query := range map[string]string{
		"ids":              `query($v: ID!) { ` + repeated(390, "p%d: patient(id: $v) { id } ") + `}`,
		"operations":       `query($v: ID!) { ` + repeated(390, "p%d: contactUpdate(operationId: $v) { state } ") + `}`,
		"times":            `query($v: DateTime) { ` + repeated(90, "p%d: patients(first: 1, filter: {updatedSince: $v}) { nodes { id } } ") + `}`,
		"names":            `query($v: String) { ` + repeated(90, "p%d: patients(first: 1, filter: {name: $v}) { nodes { id } } ") + `}`,
		"cursors":          `query($v: String) { ` + repeated(90, "p%d: patients(first: 1, after: $v) { nodes { id } } ") + `}`,
		"fields of inputs": `mutation($v: String) { ` + repeated(9, "m%d: updatePatientContact(input: {patientId: \"x\", phone: $v, email: $v, address: {text: $v, city: $v, state: $v}}) { __typename } ") + `}`,
		"keys":             `mutation($v: String) { ` + repeated(9, "m%d: updatePatientContact(input: {patientId: \"x\", phone: \"1\", idempotencyKey: $v, expectedVersion: $v}) { __typename } ") + `}`,
	} {
		body, err := json.Marshal(object{"query": query, "variables": object{"v": strings.Repeat("x", megabyte)}})
		if err != nil {
			t.Fatal(err)
		}
		var code string
		used := spent(t, func() { code, _ = s.code(admin, string(body)) })
		t.Logf("%-18s %v, %d bytes allocated", name, used.cpu, used.bytes)
		if code != "LIMIT_EXCEEDED" || used.bytes > maxAllocated {
			t.Errorf("%s: code %q, %d bytes allocated", name, code, used.bytes)
		}
	}
	// A number counts as well where a text is wanted.
	number := `{"query":"mutation($x: String!) { m: updatePatientProfile(input: {patientId: \"x\", allergies: [` + strings.Repeat("$x ", 100) + `]}) { __typename } }","variables":{"x":1.` + strings.Repeat("0", megabyte) + `}}`
	if code, _ := s.code(admin, number); code != "LIMIT_EXCEEDED" {
		t.Errorf("a number of a megabyte: code %q", code)
	}
	// Nor is it repeated where the fault is in its name.
	status, size, _ := s.send(admin, `{"query":"query($f: PatientFilter) { patients(filter: $f) { totalCount } }","variables":{"f":{"`+strings.Repeat("x", megabyte)+`":1}}}`)
	if status >= 500 || size > 2_000 {
		t.Errorf("an unknown member: status %d, %d bytes", status, size)
	}
}

// TestAbuseCachesStaySmall sends a thousand different queries of the size that is
// kept, and of the greatest size.
func TestAbuseCachesStaySmall(t *testing.T) {
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "LOG_LEVEL", "info")
	admin := token(t, auth.RoleAdmin, "")
	s.patient(number)
	before := liveHeap()
	for i := range 1_000 {
		query := fmt.Sprintf(`{x%d:viewer{role}patient(id:"x"){`, i)
		for n := range 460 {
			query += "a" + strconv.FormatInt(int64(n), 36) + ":id "
		}
		query += "}}" + strings.Repeat(" ", 2_000*(i%2)) // one in two is too long to be kept
		if short := len(query) <= 4<<10; short != (i%2 == 0) {
			t.Fatalf("a query of %d bytes", len(query))
		}
		if code, _ := s.code(admin, requestBody(t, query)); code != "" {
			t.Fatalf("code %q", code)
		}
	}
	if after := liveHeap(); after > before+64<<20 {
		t.Errorf("%d MiB are kept", (after-before)>>20)
	} else {
		t.Logf("%.1f MiB are kept", float64(int64(after-before))/(1<<20))
	}
}

// TestAbuseOddValuesAreRefused sends literals and variables that are no values of
// their types: each is the caller's error, not ours.
func TestAbuseOddValuesAreRefused(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "INTROSPECTION", "true")
	admin := token(t, auth.RoleAdmin, "")
	for query, variables := range map[string]string{
		`{ patients(first: 99999999999999999999) { totalCount } }`:                                                  `{}`,
		`{ patients(first: 5000000000) { totalCount } }`:                                                            `{}`,
		`{ patients(first: 1e400) { totalCount } }`:                                                                 `{}`,
		`{ patients(first: -1) { totalCount } }`:                                                                    `{}`,
		`query($n: Int) { patients(first: $n) { nodes { id } } }`:                                                   `{"n":1e999}`,
		`query($n: Int, $m: Int) { a: patients(first: $n) { nodes { id } } b: patients(first: $m) { totalCount } }`: `{"n":"99999999999","m":1.5}`,
		`query($f: PatientFilter) { patients(filter: $f) { nodes { id } } }`:                                        `{"f":[{"name":"x"}]}`,
		`query($f: PatientFilter = {name: 5}) { patients(filter: $f) { nodes { id } } }`:                            `{}`,
		`query($f: PatientFilter) { patients(filter: $f) { nodes { id } } } `:                                       `{"f":{"updatedSince":"9999999999-01-01T00:00:00Z"}}`,
		`query($f: PatientFilter) { patients(filter: $f) { nodes { id } } }  `:                                      `{"f":{"gender":7}}`,
		`query($o: PatientOrder) { patients(orderBy: $o) { nodes { id } } }`:                                        `{"o":"name_asc"}`,
		`query($o: PatientOrder) { patients(orderBy: $o) { nodes { id } } } `:                                       `{"o":{}}`,
		`query($i: ID!) { patient(id: $i) { id } }`:                                                                 `{"i":{"a":1}}`,
		`query($i: ID!) { patient(id: $i) { id } } `:                                                                `{"i":null}`,
		`query($b: Boolean!) { viewer { role @include(if: $b) } }`:                                                  `{"b":"x"}`,
		`mutation($i: UpdatePatientContactInput!) { updatePatientContact(input: $i) { __typename } }`:               `{"i":{"patientId":["x"],"phone":{}}}`,
		`mutation($i: UpdatePatientContactInput!) { updatePatientContact(input: $i) { __typename } } `:              `{"i":"x"}`,
		`mutation { updatePatientContact(input: {patientId: 99999999999999999999999, phone: 1}) { __typename } }`:   `{}`,
		`mutation($i: UpdatePatientProfileInput!) { updatePatientProfile(input: $i) { __typename } }`:               `{"i":{"patientId":"x","allergies":[["x"]]}}`,
		`{ __type(name: 5) { name } }`:                                                                              `{}`,
		`subscription { contactUpdateSettled(operationId: "x") { state } }`:                                         `{}`,
		`query A { viewer { role } } query B { viewer { role } }`:                                                   `{}`,
		`fragment F on Patient { id }`:                                                                              `{}`,
		`{ ...F }`:                                                                                                  `{}`,
		`{ ...F } fragment F on Nothing { id }`:                                                                     `{}`,
		`{ viewer { role @skip } }`:                                                                                 `{}`,
		`{ viewer { role @skip(if: "x") } }`:                                                                        `{}`,
	} {
		text, err := json.Marshal(query)
		if err != nil {
			t.Fatal(err)
		}
		status, answer := s.post(admin, `{"query":`+string(text)+`,"variables":`+variables+`}`)
		if code := errorCode(answer); code == "" || code == "INTERNAL" || status >= 500 {
			t.Errorf("%s with %s: status %d, %v", query, variables, status, answer)
		}
	}
}

// TestAbuseMembersInAnotherCase sends bodies that encoding/json would take for others.
func TestAbuseMembersInAnotherCase(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	admin := token(t, auth.RoleAdmin, "")
	for _, body := range []string{
		`{"QUERY":"{ viewer { role } }"}`,
		`{"query":"{ viewer { role } }","Query":"{ patients { totalCount } }"}`,
		`{"query":"query($id: ID!) { patient(id: $id) { id } }","variableſ":{"id":"x"}}`,
		`{"query":"{ viewer { role } }","query":"{ patients { totalCount } }"}`,
	} {
		status, answer := s.post(admin, body)
		if status != http.StatusBadRequest || errorCode(answer) != "BAD_USER_INPUT" || answer["data"] != nil {
			t.Errorf("%s: status %d, %v", body, status, answer)
		}
	}
	want(t, s.query(admin, `{ viewer { role } }`, nil), object{"viewer.role": "admin"})
}

// TestAbuseSuggestionsHideTheSchema asks for names that are nearly right.
func TestAbuseSuggestionsHideTheSchema(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	admin := token(t, auth.RoleAdmin, "")
	for query, hidden := range map[string]string{
		`{ patient(id: "x") { phon } }`:                                                   "phone",
		`{ patiens { totalCount } }`:                                                      "patients",
		`{ patients(firts: 1) { totalCount } }`:                                           `"first"`,
		`{ patients(filter: {nam: "x"}) { totalCount } }`:                                 `"name"`,
		`{ patients(filter: {gender: MALES}) { totalCount } }`:                            `"MALE"`,
		`{ patients(orderBy: "NAME_ASC") { totalCount } }`:                                "Did you mean",
		`query($x: PatientFilte) { patient(id: $x) { id } }`:                              `"PatientFilter"`,
		`{ patient(id: "x") { ... on Patien { id } } }`:                                   `"Patient"`,
		`mutation { updatePatientContact(input: {patientId: "x"}) { operationId } }`:      "UpdatePatientContactSuccess\"",
		`mutation { updatePatientContac(input: {patientId: "x"}) { __typename } }`:        "updatePatientContact\"",
		`{ patient { id } }`:                                                              "Did you mean",
		`{ patient(id: "x") }`:                                                            "Did you mean",
		`query($f: PatientFilter) { patients(filter: $f) { totalCount @includ(if: 1) } }`: "include\"",
	} {
		_, answer := s.post(admin, requestBody(t, query))
		text, err := json.Marshal(answer["errors"])
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.ReplaceAll(string(text), `\"`, `"`)
		if answer["errors"] == nil || strings.Contains(plain, hidden) || strings.Contains(plain, "Did you mean") {
			t.Errorf("%s: %s", query, plain)
		}
	}
}

// TestAbuseHeadersOfEveryAnswer wants no answer with patient data kept or guessed at.
func TestAbuseHeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	admin := token(t, auth.RoleAdmin, "")
	for name, c := range map[string]struct{ method, path, bearer, accept, body string }{
		"data":       {http.MethodPost, "/graphql", admin, "", `{"query":"{ viewer { role } }"}`},
		"errors":     {http.MethodPost, "/graphql", admin, "", `{"query":"{ x }"}`},
		"no request": {http.MethodPost, "/graphql", admin, "", `x`},
		"no token":   {http.MethodPost, "/graphql", "", "", `{}`},
		"events":     {http.MethodPost, "/graphql", admin, "text/event-stream", `{"query":"{ viewer { role } }"}`},
		"by GET":     {http.MethodGet, "/graphql?query=%7Bviewer%7Brole%7D%7D", admin, "", ``},
		"readyz":     {http.MethodGet, "/readyz", "", "", ``},
		"metrics":    {http.MethodGet, "/metrics", "", "", ``},
		"not found":  {http.MethodGet, "/nowhere", "", "", ``},
	} {
		request, err := http.NewRequest(c.method, s.url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Accept", c.accept)
		request.Header.Set("Authorization", "Bearer "+c.bearer)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if h := response.Header; h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// TestAbuseReadyzAsksLittle asks 600 times at once while the FHIR server does not
// answer /metadata: one question leaves, and a write is made meanwhile.
func TestAbuseReadyzAsksLittle(t *testing.T) {
	t.Parallel()
	server, base := startFHIR(t, fhirtest.Options{})
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host }}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/metadata") {
			asked.Add(1)
			<-r.Context().Done()
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	databaseURL := "sqlite:" + t.TempDir() + "/cache.db"
	stored, _, _ := server.Get("a1")
	if out, err := importInto(t, databaseURL, string(stored)); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	p := startWith(t, front.URL+target.Path, databaseURL, "FHIR_TIMEOUT", "30s")
	ended := make(chan string)
	for range 600 {
		go func() {
			_, body := get(t, p.url+"/readyz?verbose")
			ended <- strings.TrimSpace(body)
		}()
	}
	for asked.Load() == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	want(t, p.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": newPhone}), object{"__typename": "UpdatePatientContactSuccess"})
	for range 600 {
		if body := <-ended; body != `{"database":"ok","fhir":"unavailable"}` {
			t.Errorf("%s", body)
		}
	}
	if n := asked.Load(); n > 2 { // those that come after ten seconds ask again
		t.Errorf("the FHIR server was asked %d times", n)
	}
}

// TestAbusePatientsChangeTheirRecordAtABoundedRate grows the journal as fast as a
// patient can, until that is refused.
func TestAbusePatientsChangeTheirRecordAtABoundedRate(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	own := token(t, auth.RolePatient, number)
	refused := false
	for i := 0; i < 3_000 && !refused; i++ { // it takes 61 unless each takes a second
		body := requestBody(t, fmt.Sprintf(`mutation { updatePatientContact(input: {patientId: %q, phone: "010-1111-%04d"}) { __typename } }`, number, i))
		_, answer := s.post(own, body)
		if errorCode(answer) == "LIMIT_EXCEEDED" {
			refused = true
			if seconds, _ := object(answer["errors"].([]any)[0].(map[string]any)).at("extensions", "retryAfterSeconds").(float64); seconds < 1 {
				t.Fatalf("no hint when to try again: %v", answer)
			}
		}
	}
	if !refused {
		t.Error("no change was refused")
	}
	want(t, s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "010-2345-6789"}), object{"__typename": "UpdatePatientContactSuccess"})
}

// TestAbuseKilledDemoIsCleanedUp kills a demo and starts the next.
func TestAbuseKilledDemoIsCleanedUp(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	binary := filepath.Join(t.TempDir(), "patientgraph")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	demo := func() (*exec.Cmd, string) {
		command := exec.Command(binary)
		command.Env = append(os.Environ(), "TMPDIR="+temp, "LISTEN_ADDR=127.0.0.1:0")
		output, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
		line, err := bufio.NewReader(output).ReadString('\n') // it says welcome once it is ready
		if err != nil {
			t.Fatal(err)
		}
		return command, line
	}
	first, _ := demo()
	second, _ := demo()
	if dirs := demoDirs(t, temp); len(dirs) != 2 {
		t.Fatalf("two demos have %v", dirs)
	}
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // killed
	third, _ := demo()
	if dirs := demoDirs(t, temp); len(dirs) != 2 { // the second lives, and the third
		t.Errorf("after a kill and a start: %v", dirs)
	}
	for _, command := range []*exec.Cmd{second, third} {
		if err := command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	}
	if dirs := demoDirs(t, temp); len(dirs) != 0 {
		t.Errorf("left: %v", dirs)
	}
}

func demoDirs(t *testing.T, temp string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(temp, "patientgraph-demo-*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}
