package e2e_test

import (
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// canaryPatient has a mark in each element; what is sent and recorded has others. There is
// one for each answer of the server: what became of a change may stay open for long.
const (
	canaryNumber  = "C-4711"
	canaryPatient = `{"resourceType":"Patient","id":"c1","identifier":[{"system":"` + fhirsim.DemoIdentifierSystem + `","value":"C-4711"},{"system":"urn:insurance","value":"QX-77418829"}],` +
		`"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>suffers from vaxolotl fever</p></div>"},` +
		`"extension":[{"url":"http://example.org/maiden","valueString":"Hovmeistrup"}],"_gender":{"extension":[{"url":"http://example.org/note","valueString":"Brixomund"}]},` +
		`"name":[{"use":"official","family":"Qav\u00f3rim","given":["Z\u00e9lbruk","Wixomar"]},{"use":"old","family":"Jorv\u00e1kel"},{"use":"usual","text":"\uacfd\ub179\ucc28"}],` +
		`"telecom":[{"system":"phone","value":"0209 7731 884","use":"mobile"},{"system":"phone","value":"0331-55-66-99-1","use":"old"},{"system":"email","value":"zelbruk.wixo@mailzona.example"}],` +
		`"gender":"female","birthDate":"1941-09-23","maritalStatus":{"text":"widow of Ostrivald"},"generalPractitioner":[{"display":"Dr Quimbleton"}],` +
		`"address":[{"use":"home","line":["Yxandergatan 41"],"city":"Qwelmsund","district":"Bravholt","state":"Nordflarn","postalCode":"482-1377","country":"NO"}],` +
		`"contact":[{"relationship":[{"coding":[{"code":"C"}]}],"name":{"family":"Tuvexin","given":["Ombrazek"]},"telecom":[{"system":"phone","value":"0877 123 4561"}],"address":{"line":["Krelsteg 7"]}}],"unknownElement":{"kept":"Flumdrigal"}}`
	canaryPhone = "0455 9182 736"
	canaryEmail = "new.xeltorim@otherzona.example"
)

// canaryMarks are looked for in what nobody but the callers may see, in lower case and
// without accents.
var canaryMarks = append(strings.Fields(`
	qavorim zelbruk wixomar jorvakel tuvexin ombrazek hovmeistrup brixomund vaxolotl ostrivald quimbleton flumdrigal mailzona
	yxandergatan qwelmsund bravholt nordflarn krelsteg 482-1377 4821377 qx-77418829 77418829 1941-09-23 23.09.1941 23.9.1941 19410923 9182736 97731884
	xeltorim otherzona brundexvej ruvandil cousin-prall plorazine 6610-2244
	typed-zibbelow zecret-`),
	norm.NFD.String("곽녹차"), "7731 884", "9182 736", "0331-55-66-99-1", Secret)

// readings are a text as a reader may make it out: as it is, and with what is encoded in
// it decoded, one way after the other.
func readings(text string) string {
	all := text
	for range 2 {
		all = html.UnescapeString(percent.ReplaceAllStringFunc(all, func(code string) string {
			n, _ := strconv.ParseUint(code[1:], 16, 8) // the pattern has hexadecimal digits alone
			return string([]byte{byte(n)})
		}))
		all = unicodeEscape.ReplaceAllStringFunc(all, func(code string) string {
			n, _ := strconv.ParseUint(code[len(code)-4:], 16, 16)
			return string(rune(n))
		})
	}
	var read strings.Builder
	read.WriteString(text + "\n" + all)
	for _, run := range base64Run.FindAllString(all, -1) {
		run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
		for from := range 4 { // it may stand behind something else
			if plain, err := base64.RawStdEncoding.DecodeString(run[from : from+(len(run)-from)/4*4]); err == nil {
				read.WriteString("\n" + string(plain))
			}
		}
	}
	return strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(read.String())))
}

var (
	percent       = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
	unicodeEscape = regexp.MustCompile(`\\+u[0-9A-Fa-f]{4}`)
	base64Run     = regexp.MustCompile(`[A-Za-z0-9+/_-]{12,}`)
)

// canary collects what is searched, by where it was.
type canary struct {
	t        *testing.T
	texts    map[string]string
	dir      string // where the commands run, and keep what they keep
	settings []string
}

func (c *canary) saw(where, text string) { c.texts[where] += text + "\n" }

// search fails for each mark that is somewhere.
func (c *canary) search() {
	c.t.Helper()
	if !strings.Contains(readings("%51av%C3%B3rim"), "qavorim") || !strings.Contains(readings(base64.StdEncoding.EncodeToString([]byte("x Qav\\u00f3rim"))), "qav") {
		c.t.Fatal("the search finds nothing")
	}
	for _, where := range slices.Sorted(maps.Keys(c.texts)) {
		text := readings(c.texts[where])
		for _, mark := range canaryMarks {
			if at := strings.Index(text, mark); at >= 0 {
				c.t.Errorf("%s: %s in …%q…", where, mark, text[max(0, at-150):min(len(text), at+100)])
			}
		}
	}
}

// run runs a command of the product to its end. It may fail: only what it says counts.
func (c *canary) run(stdin string, settings []string, arguments ...string) {
	c.t.Helper()
	command := exec.CommandContext(c.t.Context(), Binary(c.t, ""), arguments...)
	command.Dir, command.Stdin = c.dir, strings.NewReader(stdin)
	command.Env = slices.Concat([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + c.dir, "LOG_LEVEL=debug"}, c.settings, settings)
	said, err := command.CombinedOutput()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		c.t.Fatal(err)
	}
	if len(said) == 0 {
		c.t.Errorf("%v says nothing", arguments)
	}
	c.saw(strings.Join(arguments, " "), string(said))
}

// files are what stands in the directory beside the database.
func (c *canary) files() {
	c.t.Helper()
	err := filepath.WalkDir(c.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(entry.Name(), ".db") {
			return err
		}
		text, err := os.ReadFile(path)
		c.saw("file "+entry.Name(), entry.Name()+" "+string(text))
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestNothingOfAPatientOrASecretGetsOut: a product, with every command, meets a FHIR server
// that repeats whatever it knows, and callers who send values where none belong. What it
// logs, measures, prints and refuses, and the files that it leaves, hold none of the marks.
func TestNothingOfAPatientOrASecretGetsOut(t *testing.T) {
	t.Parallel()
	search := func(t *testing.T, databaseURL string, commands []string) {
		c := &canary{t: t, texts: map[string]string{}, dir: t.TempDir()}
		if u, err := url.Parse(databaseURL); err == nil && strings.HasPrefix(databaseURL, "postgres") {
			if _, given := u.User.Password(); !given { // nobody asks for it here
				u.User = url.UserPassword(u.User.Username(), "zecret-database")
				databaseURL = u.String()
			}
		}
		answers := chattyAnswers(t)
		server := startChatty(t, 1+len(answers))
		c.settings = []string{
			"FHIR_BASE_URL=" + server.URL + "/fhir", "DATABASE_URL=" + databaseURL, "JWT_SECRET=" + Secret, "PATIENT_ID_SYSTEM=" + fhirsim.DemoIdentifierSystem, "FHIR_TIMEOUT=2s",
			"FHIR_AUTH=bearer", "FHIR_TOKEN=zecret-token-of-fhir", "SUBSCRIPTION_URL=http://127.0.0.1:1/", "SUBSCRIPTION_SECRET=zecret-subscription-0123456789abcdef",
		}
		c.run("", nil, "doctor")
		c.run("", nil, "sync")
		p := Launch(t, Binary(t, ""), server.URL+"/fhir", databaseURL, slices.Concat(c.settings, []string{
			"TMPDIR=" + c.dir, "LOG_LEVEL=debug", "SYNC_INTERVAL=300ms", "VERIFY_INTERVAL=50ms", "CORS_ORIGINS=https://portal.example", "PLAYGROUND=true",
		})...)
		if !p.Alive() {
			t.Fatalf("it does not start: %s", p.Log)
		}
		for n, name := range append(slices.Sorted(maps.Keys(answers)), "as it is") {
			Want(t, updateProfile(p.Client, Object{"patientId": canaryNo(n), "allergies": []string{"Plorazine"}, "emergencyContact": Object{"name": "Ruvandil", "relationship": "cousin-prall", "phone": "6610-2244"}}),
				Object{"__typename": "UpdatePatientProfileSuccess"})
			server.say(answers[name])
			server.reads.Store(true)
			c.changes(p, canaryNo(n), name)
			server.reads.Store(false)
			c.changes(p, canaryNo(n), name+", to all")
			p.Get("/readyz?verbose")
			server.say(nil)
		}
		c.callers(p)
		for _, command := range commands {
			for _, name := range []string{"422", "401", "302", "200 odd members", "200 odd bundle"} {
				server.say(answers[name])
				c.run("", []string{"FHIR_TIMEOUT=500ms"}, strings.Fields(command)...)
				server.say(nil)
			}
		}
		c.logins(server)
		c.run("", nil, "sync", "--full")
		c.run("", nil, "verify", "--all")
		c.run(canaryImport, nil, "import", "-")
		for _, path := range []string{"/metrics", "/readyz", "/readyz?verbose", "/healthz", "/", "/app"} {
			_, text := p.Get(path)
			c.saw(path, text)
		}
		c.saw("the log", p.Log.String())
		p.Kill()
		c.files()
		c.search()
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		search(t, dbtest.SQLite(t), []string{"sync", "sync --bulk", "verify --all", "doctor --json"})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		search(t, dbtest.Postgres(t), []string{"verify --all"})
	})
}

// canaryImport are lines that no import takes, with marks where they break.
const canaryImport = `{"resourceType":"Patient","name":"Qavorim","birthDate":"Zelbruk"}
{"resourceType":"Patient","name":[{"family":"Qavorim"}],"birthDate":"23.09.1941"}
{"resourceType":"Patient","id":"Zelbruk Qavorim","name":[{"family":"Wixomar"}]}
{"resourceType":"Qavorim","id":"c9"}
{"resourceType":"Patient","id":"c8","identifier":[{"system":"` + fhirsim.DemoIdentifierSystem + `","value":"  "}],"name":[{"family":["Qavorim"]}],"telecom":["0209 7731 884"]}
Zelbruk Qavorim;1941-09-23;0209 7731 884
{"resourceType":"Patient","name":[{"family":"Qavorim"
{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Observation","id":"Qavorim"}}]}
{"resourceType":"Patient","id":"c7","meta":{"lastUpdated":"Zelbruk"},"gender":"Wixomar","deceasedDateTime":"Qavorim","link":[{"type":"Jorvakel","other":{"reference":"Qavorim"}}]}
`

// changes has a change end as the server makes it end, and keeps what is told but for the
// record itself.
func (c *canary) changes(p *Process, number, name string) {
	c.t.Helper()
	for _, more := range []Object{{}, {"expectedVersion": "typed-zibbelow"}, {"idempotencyKey": "typed-zibbelow " + name}} {
		input := Object{"patientId": number, "phone": canaryPhone, "email": canaryEmail, "address": Object{"text": "Brundexvej 9", "lines": []string{"Brundexvej 9"}, "city": "Qwelmsund"}}
		maps.Copy(input, more)
		answer, err := p.TryUpdate(input)
		if err != nil {
			c.saw("answers: "+name, err.Error())
			continue
		}
		id := answer["operationId"]
		for _, shown := range []string{"patient", "current"} {
			delete(answer, shown)
		}
		c.saw("answers: "+name, JSON(c.t, answer))
		if id != nil {
			asked, err := p.Call(`query($id: ID!) { contactUpdate(operationId: $id) { state result { __typename ... on UserError { message code } ... on FhirRejected { detail issues { severity code message expression field } } ... on FhirUnavailable { detail } } } }`, Object{"id": id})
			c.saw("contactUpdate: "+name, fmt.Sprint(JSON(c.t, asked), err))
		}
	}
}

// callers send values where none belong, and get nothing of them back.
func (c *canary) callers(p *Process) {
	c.t.Helper()
	tokens := map[string]string{
		"none": "", "no token": "Qavorim Zelbruk", "another secret": "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiUWF2b3JpbSJ9.UWF2b3JpbQ",
		"a role": TokenOf(c.t, Object{"role": "Qavorim Zelbruk", "sub": "Wixomar"}), "a claim": TokenOf(c.t, Object{"role": "patient", "patient_id": Object{"Qavorim": "Zelbruk"}}),
		"an expiry": TokenOf(c.t, Object{"role": "Qavorim", "exp": "Zelbruk"}), "scopes": TokenOf(c.t, Object{"role": "admin", "scope": "user/Qavorim.read patient/Zelbruk"}),
	}
	// What is wrong with a document is told by the name that stands there: only what is
	// logged of it is searched.
	documents := []string{
		`{"query":"Zelbruk Qavorim"}`, `{"query":"{ patient(id: \"Qavorim\") { Zelbruk } }"}`, `{"query":"{ Qavorim }"}`, `{"query":"{ ` + strings.Repeat("Qavorim ", 600) + `}"}`,
		`{"operationName":"Qavorim","query":"query Zelbruk { viewer { role } }"}`,
		`{"query":"query Q($f: PatientFilter) { patients(filter: $f) { totalCount } }","variables":{"f":{"Qavorim":"Zelbruk","name":{"Zelbruk":1}}}}`,
		`{"query":"query Q($f: PatientFilter) { patients(filter: $f) { totalCount } }","variables":{"f":{"gender":"Qavorim","updatedSince":"Wixomar"}}}`,
	}
	bodies := []string{
		"Zelbruk Qavorim", `["Qavorim"]`, `{"query":["Qavorim"]}`, `{"id":"Qavorim"}`, `{"documentId":"Zelbruk"}`, `{"query":"{ viewer { role } }","query":"Qavorim`,
		`{"query":"{ viewer { role } }","variables":"Qavorim"}`, `{"query":"query Q($i: Int) { patients(first: $i) { totalCount } }","variables":{"i":"Qavorim"}}`,
		`{"query":"query Q($f: PatientFilter) { patients(filter: $f) { totalCount } }","variables":{"f":{"birthDate":"Zelbruk","name":["Qavorim"]}}}`,
		`{"query":"{ patients(filter: {birthDate: \"23.09.1941 Qavorim\"}) { totalCount } }"}`, `{"query":"{ patients(after: \"Qavorim\", filter: {changedAfter: \"Zelbruk\"}) { totalCount } }"}`,
		`{"query":"mutation { updatePatientContact(input: {patientId: \"C-4711-0\", phone: \"` + strings.Repeat("Qavorim", 20) + `\", email: \"Zelbruk\", address: {lines: [\"\"]}}) { __typename ... on InvalidInput { message fieldErrors { field message rule } } } }"}`,
		`{"query":"mutation { updatePatientContact(input: {patientId: \"Zelbruk Qavorim\", phone: \"0209 7731 884\"}) { __typename ... on UserError { message } } }"}`,
		`{"query":"mutation { updatePatientProfile(input: {patientId: \"Zelbruk Qavorim\", bloodType: \"Wixomar\"}) { __typename ... on UserError { message } ... on InvalidInput { fieldErrors { field message rule } } } }"}`,
		`{"query":"mutation { updatePatientProfile(input: {patientId: \"Zelbruk Qavorim\", bloodType: \"O-\"}) { __typename ... on UserError { message } } }"}`,
		`{"query":"{ contactUpdate(operationId: \"Qavorim\") { state } }"}`, `{"query":"subscription { contactUpdateSettled(operationId: \"Qavorim\") { state } }"}`,
		`{"query":"{ viewer { role } }","extensions":{"Qavorim":"Zelbruk","persistedQuery":{"version":"Wixomar","sha256Hash":"Qavorim"}}}`,
	}
	send := func(request *http.Request) {
		c.t.Helper()
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			c.t.Fatal(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body) // a stream may end early
		c.saw("refusals", fmt.Sprint(response.StatusCode, response.Header, string(text)))
	}
	for _, token := range tokens {
		send(p.As(token).Request(http.MethodPost, "/graphql", Body(c.t, `mutation M($i: UpdatePatientContactInput!) { updatePatientContact(input: $i) { __typename } }`, Object{"i": Object{"patientId": "Qavorim", "phone": "Zelbruk"}})))
	}
	for _, body := range documents {
		p.Post(body)
	}
	for _, body := range bodies {
		send(p.Request(http.MethodPost, "/graphql", body))
		send(p.Request(http.MethodPost, "/graphql", body, "Accept", "text/event-stream"))
		send(p.Request(http.MethodGet, "/graphql?query="+url.QueryEscape(body)+"&variables="+url.QueryEscape(body)+"&extensions="+url.QueryEscape(body)+"&operationName=Qavorim", ""))
		send(p.Request(http.MethodPost, "/graphql", body, "Content-Type", "Qavorim/Zelbruk; charset=Wixomar", "Accept", "Qavorim/Zelbruk"))
		send(p.Request(http.MethodPost, "/graphql", body, "Content-Type", "application/x-www-form-urlencoded"))
	}
	const marked = "Zelbruk Qavorim 0209 7731 884"
	for _, path := range []string{"/Qavorim?Zelbruk=Wixomar", "/graphql/Qavorim", "/readyz?Qavorim", "/metrics?Zelbruk", "/fhir-notification/Patient/Qavorim", "/schema.graphql?Qavorim", "/%51avorim"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodOptions, "QAVORIM"} {
			send(p.Request(method, path, marked, "Origin", "https://elsewhere.example", "X-Request-Id", marked, "Accept-Language", marked, "X-Subscription-Secret", "zecret-typed", "User-Agent", marked, "Referer", marked,
				"Traceparent", marked, "X-Forwarded-For", marked, "Access-Control-Request-Method", "QAVORIM", "Access-Control-Request-Headers", "zelbruk", "Last-Event-Id", marked, "Idempotency-Key", marked))
		}
	}
}

// logins logs in in every way at a server that says what it was sent.
func (c *canary) logins(server *chattyServer) {
	c.t.Helper()
	answers := chattyAnswers(c.t)
	key := "-----BEGIN PRIVATE KEY-----\nzecret-key-in-no-form\n-----END PRIVATE KEY-----\n"
	for _, mode := range [][]string{
		{"FHIR_AUTH=basic", "FHIR_USERNAME=zecret-user", "FHIR_PASSWORD=zecret-password"},
		{"FHIR_AUTH=client_credentials", "FHIR_CLIENT_ID=zecret-id", "FHIR_CLIENT_SECRET=zecret-client"},
		{"FHIR_AUTH=client_credentials", "FHIR_CLIENT_ID=zecret-id", "FHIR_PRIVATE_KEY=" + key},
		{"FHIR_AUTH=refresh_token", "FHIR_CLIENT_ID=zecret-id", "FHIR_REFRESH_TOKEN=zecret-refresh-token"},
		{"FHIR_AUTH=password", "FHIR_CLIENT_ID=zecret-id", "FHIR_USERNAME=zecret-user", "FHIR_PASSWORD=zecret-password"},
	} {
		settings := append(mode, "FHIR_TOKEN=", "FHIR_TOKEN_URL="+server.URL+"/zecret-path/token", "FHIR_SCOPES=zecret-scope", "FHIR_TIMEOUT=500ms")
		if mode[0] == "FHIR_AUTH=basic" {
			settings = append(mode, "FHIR_TOKEN=", "FHIR_TIMEOUT=500ms")
		}
		for _, name := range []string{"400 of OAuth", "200 no JSON"} {
			server.say(answers[name])
			c.run("", settings, "doctor")
			server.say(nil)
		}
	}
	c.run("", []string{"DATABASE_URL=postgres://user:zecret-database@127.0.0.1:1/zz"}, "doctor")
	c.run("", []string{"DATABASE_URL=zecret-database"}, "serve")
	c.run("", []string{"JWT_SECRET=zecret-short"}, "serve")
	c.run("", []string{"SUBSCRIPTION_SECRET=zecret-short"}, "serve")
	c.run("", []string{"FHIR_BASE_URL=http://zecret-user:zecret-password@127.0.0.1:1/fhir"}, "doctor")
	c.run("", []string{"JWT_SECRET_FILE=" + c.dir, "JWT_SECRET=zecret-short"}, "doctor")
}
