package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// linesOf decodes the lines of a file of testdata.
func linesOf[T any](t *testing.T, file string) (lines []T) {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		var line T
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// The siblings have other ids on the FHIR server than numbers.
var siblings = map[string]string{"88-3001": "okoro-fhir-3001", "88-3002": "okoro-fhir-3002", "88-3003": "lund-fhir-3003"}

// startSiblings starts a FHIR server with three patients, imports them, and returns
// what starts a product with these settings.
func startSiblings(t *testing.T, databaseURL string) (server *fhirsim.Server, start func(settings ...string) *Product) {
	t.Helper()
	var patients []string
	for _, number := range []string{"88-3001", "88-3002", "88-3003"} {
		patients = append(patients, PatientJSON(siblings[number], number))
	}
	server, base := StartFHIR(t, fhirsim.Options{}, patients...)
	MustImport(t, databaseURL, patients...)
	return server, func(settings ...string) *Product { return StartWith(t, base, databaseURL, settings...) }
}

// reads returns which of the siblings a viewer sees by number, and which in the list.
func reads(c *Client) (seen, inList string) {
	c.T.Helper()
	var numbers []string
	for _, number := range []string{"88-3001", "88-3002", "88-3003"} {
		if c.Patient(number) != nil {
			numbers = append(numbers, number)
		}
	}
	ids := c.Query(`{ patients(orderBy: CREATED_ASC) { totalCount nodes { id } } }`, nil)
	inList = strings.Join(listedIn(ids), " ")
	if n := len(strings.Fields(inList)); JSON(c.T, ids.At("patients", "totalCount")) != fmt.Sprint(n) {
		c.T.Errorf("%d are listed, counted are %v", n, ids.At("patients", "totalCount"))
	}
	return strings.Join(numbers, " "), inList
}

const allSiblings = "88-3001 88-3002 88-3003"

func TestTokensOfCarersAndApps(t *testing.T) {
	t.Parallel()
	type token struct {
		Claims   Object
		Settings map[string]string
	}
	fhir := map[string]string{"JWT_PATIENT_CLAIM": "patient", "JWT_PATIENT_CLAIM_KIND": "fhir"}
	both := []string{"lund-fhir-3003", "okoro-fhir-3002"}
	type outcome struct {
		token
		reads, lists, writes string
	}
	given := linesOf[token](t, "tokens.ndjson")
	cases := []outcome{
		{given[0], "88-3001 88-3002", "88-3001 88-3002", "88-3001 88-3002"},
		{given[1], "88-3001", "", ""},
		{given[2], allSiblings, allSiblings, ""},
		{given[3], "", "", ""},
		{given[4], "88-3001", "88-3001", "88-3001"},
		// FHIR ids: one, several, with v1 and v2 scopes, for whom no scope is for.
		{token{Object{"role": "patient", "patient": "okoro-fhir-3001"}, fhir}, "88-3001", "88-3001", "88-3001"},
		{token{Object{"role": "patient", "patient": both}, fhir}, "88-3002 88-3003", "88-3002 88-3003", "88-3002 88-3003"},
		{token{Object{"role": "patient", "patient": both, "scope": "patient/Patient.rs"}, fhir}, "88-3002 88-3003", "88-3002 88-3003", ""},
		{token{Object{"role": "admin", "patient": both, "scope": []string{"openid", "patient/Patient.read", "patient/Patient.write"}}, fhir}, "88-3002 88-3003", "88-3002 88-3003", "88-3002 88-3003"},
		{token{Object{"role": "nurse", "patient": both, "scope": "patient/*.s"}, fhir}, "", "88-3002 88-3003", ""},
		{token{Object{"role": "doctor", "patient": "okoro-fhir-3001"}, fhir}, allSiblings, allSiblings, ""},
		// One kind of id is none of the other, and a reference is no id.
		{token{Object{"role": "patient", "patient": "88-3001"}, fhir}, "", "", ""},
		{token{Object{"role": "patient", "patient": "Patient/okoro-fhir-3001"}, fhir}, "", "", ""},
		{token{Object{"role": "patient", "patient": []any{"OKORO-FHIR-3001", "okoro-fhir-300", "%", "", nil}}, fhir}, "", "", ""},
		{token{Object{"role": "patient", "patient_id": "okoro-fhir-3001"}, fhir}, "", "", ""},
		{token{Object{"role": "patient", "patient_id": "okoro-fhir-3001"}, nil}, "", "", ""},
		// Nobody, and whoever is not here.
		{token{Object{"role": "patient", "patient": []string{}}, fhir}, "", "", ""},
		{token{Object{"role": "patient", "patient_id": []any{nil, "", "88-9999", "88-3003"}}, nil}, "88-3003", "88-3003", "88-3003"},
		{token{Object{"role": "patient", "patient_id": "88-3001,88-3002"}, nil}, "", "", ""},
		{token{Object{"role": []string{"x", "patient"}, "patient_id": []string{"88-3003", "88-3001", "88-3003"}, "scp": []string{"patient/Patient.r", "patient/Patient.u"}}, nil}, "88-3001 88-3003", "", "88-3001 88-3003"},
		{token{Object{"role": "janitor", "patient_id": []string{"88-3001", "88-3002"}}, nil}, "", "", ""},
	}
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		server, start := startSiblings(t, databaseURL)
		byNumber, byFHIR := start(), start("JWT_PATIENT_CLAIM=patient", "JWT_PATIENT_CLAIM_KIND=fhir")
		for n, c := range cases {
			product := byNumber
			if len(c.Settings) > 0 {
				product = byFHIR
			}
			as := product.As(TokenOf(t, c.Claims))
			if seen, inList := reads(as); seen != c.reads || inList != c.lists {
				t.Errorf("%v sees %q and lists %q, want %q and %q", c.Claims, seen, inList, c.reads, c.lists)
			}
			for number, fhirID := range siblings {
				phone := fmt.Sprintf("+47 22 86 %04d", n)
				want := Object{"__typename": "NotPermitted"}
				if strings.Contains(c.writes, number) {
					want = Object{"__typename": "UpdatePatientContactSuccess"}
				}
				Want(t, as.Update(Object{"patientId": number, "phone": phone}), want)
				stored, _, _ := server.Get(fhirID)
				if written := strings.Contains(string(stored), phone); written != strings.Contains(c.writes, number) {
					t.Errorf("%v wrote %s: %v", c.Claims, number, written)
				}
			}
		}
	})
}

// TestACarerIsEachOfThePatients: lists, pages, the profile, what became of an update
// and its subscription, for each of them, and for nobody else.
func TestACarerIsEachOfThePatients(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		_, start := startSiblings(t, databaseURL)
		s := start()
		mother := TokenOf(t, Object{"sub": "mother", "role": "patient", "patient_id": []string{"88-3002", "88-3001"}})
		as := s.As(mother)
		Want(t, as.Query(`{ viewer { role patientId patientIds } }`, nil), Object{"viewer": Object{"role": "patient", "patientId": nil, "patientIds": []string{"88-3001", "88-3002"}}})
		Want(t, s.As(Token(t, auth.RolePatient, "88-3001")).Query(`{ viewer { patientId patientIds } }`, nil), Object{"viewer": Object{"patientId": "88-3001", "patientIds": []string{"88-3001"}}})
		Want(t, s.Query(`{ viewer { patientId patientIds } }`, nil), Object{"viewer": Object{"patientId": nil, "patientIds": []string{}}})

		for filter, want := range map[string]int{`name: "홍"`: 2, `phone: "01011112222"`: 2, `birthDate: "1990", gender: MALE`: 2, `gender: FEMALE`: 0, `name: "zzz"`: 0, `syncState: SYNCED`: 2} {
			found := as.Query(`{ patients(filter: { `+filter+` }) { totalCount nodes { id } } }`, nil)
			if ids := listedIn(found); len(ids) != want || JSON(t, found.At("patients", "totalCount")) != fmt.Sprint(want) || strings.Contains(strings.Join(ids, " "), "88-3003") {
				t.Errorf("%s: %v", filter, found)
			}
		}
		const page = `query($after: String) { patients(first: 1, after: $after, orderBy: NAME_DESC) { nodes { id } pageInfo { hasNextPage endCursor } } }`
		var pages []string
		for after := any(nil); len(pages) < 4; {
			got := as.Query(page, Object{"after": after})
			pages = append(pages, listedIn(got)...)
			if after = got.At("patients", "pageInfo", "endCursor"); got.At("patients", "pageInfo", "hasNextPage") != true {
				break
			}
		}
		if JSON(t, pages) != `["88-3002","88-3001"]` {
			t.Errorf("the pages are %v", pages)
		}

		for number, want := range map[string]string{"88-3001": "UpdatePatientProfileSuccess", "88-3002": "UpdatePatientProfileSuccess", "88-3003": "NotPermitted", "88-9999": "NotPermitted"} {
			Want(t, updateProfile(as, Object{"patientId": number, "emergencyContact": Object{"name": "Ngozi"}}), Object{"__typename": want})
			Want(t, updateProfile(as, Object{"patientId": number, "allergies": []string{}}), Object{"__typename": "NotPermitted"})
		}
		theirs := s.Update(Object{"patientId": "88-3002", "phone": "+47 22 86 40 01"})["operationId"]
		for _, number := range []string{"88-3001", "88-3002"} {
			ours := as.Update(Object{"patientId": number, "phone": "+47 22 86 40 00"})["operationId"]
			Want(t, as.ContactUpdate(ours), Object{"patientId": number, "state": "APPLIED"})
			if event, ended := as.Settlement(ours).Next(); ended || event.At("data", "contactUpdateSettled", "patientId") != number {
				t.Errorf("told %v, ended: %v", event, ended)
			}
			if number == "88-3002" && as.ContactUpdate(theirs) != nil {
				t.Error("another's update of the patient is shown")
			}
			// The same person with one more child, or one less, but not the other parent,
			// nor about a child that the token does not name any more.
			for _, c := range []struct {
				sub   string
				claim any
				sees  bool
			}{
				{"mother", number, true}, {"mother", []string{"88-3001", "88-3002", "88-3003"}, true}, {"mother", []string{"88-3003"}, false},
				{"father", []string{"88-3001", "88-3002"}, false}, {"", []string{"88-3001", "88-3002"}, false},
			} {
				if found := s.As(TokenOf(t, Object{"sub": c.sub, "role": "patient", "patient_id": c.claim})).ContactUpdate(ours); (found != nil) != c.sees {
					t.Errorf("a token of %q for %v is shown %v", c.sub, c.claim, found)
				}
			}
		}
	})
}

// TestAKeyGoesOnWorkingHoweverThePatientsAreListed: the key is the caller's, and the
// caller is the same with the same patients; with a subject whatever patients there are.
func TestAKeyGoesOnWorkingHoweverThePatientsAreListed(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		server, start := startSiblings(t, databaseURL)
		byNumber, byFHIR := start(), start("JWT_PATIENT_CLAIM=patient", "JWT_PATIENT_CLAIM_KIND=fhir")
		subjects := []string{"", "", "", "", "mother"}
		for n, same := range [][]any{
			{"88-3001", []string{"88-3001"}, []any{nil, "88-3001", "88-3001"}},
			{[]string{"88-3001", "88-3002"}, []string{"88-3002", "88-3001"}, []string{"88-3002", "88-3001", "88-3002"}},
			{"okoro-fhir-3001", []string{"okoro-fhir-3001"}},
			{[]string{"okoro-fhir-3001", "okoro-fhir-3002"}, []string{"okoro-fhir-3002", "okoro-fhir-3001"}},
			{"okoro-fhir-3001", []string{"okoro-fhir-3001", "okoro-fhir-3002"}},
		} {
			product, name := byNumber, "patient_id"
			if n >= 2 {
				product, name = byFHIR, "patient"
			}
			input := Object{"patientId": "88-3001", "email": fmt.Sprintf("k%d@post.example", n), "idempotencyKey": "k-1"}
			var first any
			for _, claim := range same {
				before := len(server.Requests())
				answer := product.As(TokenOf(t, Object{"sub": subjects[n], "role": "patient", name: claim})).Update(input)
				Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess", "patient.email": input["email"]})
				if first == nil {
					first = answer["operationId"]
				} else if answer["operationId"] != first || len(server.Requests()) != before {
					t.Errorf("%v: %v, first %v, and FHIR was asked %d times", claim, answer, first, len(server.Requests())-before)
				}
			}
		}
	})
}

// TestPatientClaimsThatAreRefusedSayWhy: over HTTP, and nothing of the token comes back.
func TestPatientClaimsThatAreRefusedSayWhy(t *testing.T) {
	t.Parallel()
	_, start := startSiblings(t, dbtest.SQLite(t))
	s := start()
	many := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprintf("88-%d", i))
		}
		return ids
	}
	for reason, claims := range map[string][]Object{
		"neither a text nor a list of texts": {{"patient_id": 5}, {"patient_id": []any{"88-3001", 883002}}, {"patient_id": []any{[]string{"88-3001"}}}, {"patient_id": Object{"id": "88-3001"}}, {"patient_id": true}},
		"more than 100 patients":             {{"patient_id": many(101)}, {"patient_id": many(1000)}},
		"longer than 16384 bytes":            {{"patient_id": many(4000)}, {"patient_id": "88-3001", "scope": strings.Repeat("patient/Patient.rs ", 1500)}},
	} {
		for _, c := range claims {
			c["role"] = "patient"
			answer := s.As(TokenOf(t, c)).Post(Body(t, `{ patients { nodes { id } } }`, nil))
			errors := JSON(t, answer.At("errors"))
			if answer.Status != http.StatusUnauthorized || answer.ErrorCode() != "UNAUTHENTICATED" || !strings.Contains(errors, reason) || answer.At("data") != nil || strings.Contains(errors, "88-") {
				t.Errorf("%.80s: status %d, %v", JSON(t, c), answer.Status, answer.Object)
			}
		}
	}
	hundred := s.As(TokenOf(t, Object{"role": "patient", "patient_id": append(many(99), "88-3002")}))
	if seen, inList := reads(hundred); seen != "88-3002" || inList != "88-3002" {
		t.Errorf("one of a hundred sees %q and lists %q", seen, inList)
	}
	// As many scopes as a token has room for.
	scopes := s.As(TokenOf(t, Object{"role": "patient", "patient_id": "88-3001", "scope": strings.Repeat("patient/Immunization.rs ", 480) + "patient/Patient.r"}))
	if seen, inList := reads(scopes); seen != "88-3001" || inList != "" {
		t.Errorf("with many scopes it sees %q and lists %q", seen, inList)
	}
}

// TestAMegabyteOfTokenIsRefusedAtOnce: before its end has been read.
func TestAMegabyteOfTokenIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	_, start := startSiblings(t, dbtest.SQLite(t))
	s := start()
	for name, claims := range map[string]Object{
		"scopes":   {"role": "patient", "patient_id": "88-3001", "scope": strings.Repeat("patient/Patient.rs ", 1<<20/19)},
		"patients": {"role": "patient", "patient_id": strings.Split(strings.Repeat("88-3001 ", 1<<17), " ")},
	} {
		token := TokenOf(t, claims)
		connection, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			// The server hangs up before it has all.
			_, _ = io.WriteString(connection, "POST /graphql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+token+"\r\n\r\n")
		}()
		status, err := bufio.NewReader(connection).ReadString('\n')
		if err != nil || !strings.HasPrefix(status, "HTTP/1.1 431 ") {
			t.Errorf("%s: %q, %v", name, status, err)
		}
		connection.Close()
		<-sent
	}
	if seen, _ := reads(s.Client); seen != allSiblings {
		t.Errorf("afterwards an admin sees %q", seen)
	}
}

// TestFHIRIDsNeedTheDatabase: without it nobody is told that the token is bad.
func TestFHIRIDsNeedTheDatabase(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		_, start := startSiblings(t, databaseURL)
		s := start("JWT_PATIENT_CLAIM=patient", "JWT_PATIENT_CLAIM_KIND=fhir")
		as := s.As(TokenOf(t, Object{"sub": "p", "role": "patient", "patient": "okoro-fhir-3001"}))
		database := dbtest.Open(t, databaseURL)
		rename := func(from, to string) {
			t.Helper()
			if _, err := database.Exec("ALTER TABLE " + from + " RENAME TO " + to); err != nil {
				t.Fatal(err)
			}
		}
		rename("patients", "away")
		for _, query := range []string{`{ viewer { patientId } }`, `{ patient(id: "88-3001") { id } }`, `mutation { updatePatientContact(input: { patientId: "88-3001", phone: "1" }) { __typename } }`} {
			answer := as.Post(Body(t, query, nil))
			if answer.ErrorCode() != "UNAVAILABLE" || answer.Status != http.StatusOK || answer.At("data") != nil {
				t.Errorf("%s: status %d, %v", query, answer.Status, answer.Object)
			}
		}
		if event, _ := as.Settlement("x").Next(); event.ErrorCode() != "UNAVAILABLE" {
			t.Errorf("a subscription hears %v", event)
		}
		if strings.Contains(s.Log.String(), "okoro") {
			t.Error("the log holds the FHIR id")
		}
		rename("away", "patients")
		Want(t, as.Query(`{ viewer { patientId } }`, nil), Object{"viewer.patientId": "88-3001"})
		if seen, _ := reads(as); seen != "88-3001" {
			t.Errorf("afterwards it sees %q", seen)
		}
	})
}

// TestWhoMayEditWhichPartOfAProfile: a refused request has changed no part.
func TestWhoMayEditWhichPartOfAProfile(t *testing.T) {
	t.Parallel()
	type edit struct {
		Role  auth.Role
		Own   bool
		Input Object
		Then  string
	}
	given := linesOf[edit](t, "profile-edits.ndjson")
	edits := given
	for _, e := range given {
		for _, role := range []auth.Role{"admin", "lab", "analyst"} {
			then := "NotPermitted"
			if role == "admin" {
				then = "UpdatePatientProfileSuccess"
			}
			edits = append(edits, edit{role, e.Own, e.Input, then})
		}
	}
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		_, start := startSiblings(t, databaseURL)
		s := start()
		Want(t, updateProfile(s.Client, Object{"patientId": "88-3001", "bloodType": "O-", "allergies": []string{"dust"}, "emergencyContact": Object{"name": "Ngozi Okoro"}}), Object{"__typename": "UpdatePatientProfileSuccess"})
		for _, e := range edits {
			claim := []string{"88-3002"}
			if e.Own {
				claim = append(claim, "88-3001")
			}
			before := s.Patient("88-3001")
			input := Object{"patientId": "88-3001"}
			for field, value := range e.Input {
				input[field] = value
			}
			Want(t, updateProfile(s.As(TokenOf(t, Object{"role": string(e.Role), "patient_id": claim})), input), Object{"__typename": e.Then})
			after := s.Patient("88-3001")
			if e.Then == "NotPermitted" {
				Want(t, after, before)
				continue
			}
			for field, value := range e.Input {
				if parts, isObject := value.(map[string]any); isObject {
					Want(t, Object(after[field].(map[string]any)), parts)
				} else {
					Want(t, after, Object{field: value})
				}
			}
		}
	})
}
