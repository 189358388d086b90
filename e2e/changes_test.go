package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/internal/wait"
)

const pollQuery = `query($filter: PatientFilter!, $first: Int, $after: String) { patients(filter: $filter, first: $first, after: $after) {
  nodes { id changeCursor } pageInfo { hasNextPage endCursor } } }`

// polled pages through what changed after a cursor; it returns the numbers in their
// order and the greatest cursor.
func polled(c *Client, cursor string, size int, more ...string) (ids []string, last string) {
	c.T.Helper()
	last = cursor
	filter := Object{"changedAfter": cursor}
	for _, name := range more {
		filter[name] = true
	}
	for after := any(nil); ; {
		page := c.Query(pollQuery, Object{"filter": filter, "first": size, "after": after})
		nodes, _ := page.At("patients", "nodes").([]any)
		for _, node := range nodes {
			patient := Object(node.(map[string]any))
			ids = append(ids, patient["id"].(string))
			next := patient["changeCursor"].(string)
			if next <= last || len(next) != 13 {
				c.T.Errorf("%s has the cursor %q, after %q", patient["id"], next, last)
			}
			last = next
		}
		if after = page.At("patients", "pageInfo", "endCursor"); page.At("patients", "pageInfo", "hasNextPage") != true {
			return ids, last
		}
	}
}

// cursorOf asks for a patient's changeCursor.
func cursorOf(c *Client, id string) string {
	c.T.Helper()
	cursor, _ := c.Query(`query($id: ID!) { patient(id: $id) { changeCursor } }`, Object{"id": id}).At("patient", "changeCursor").(string)
	return cursor
}

func TestAClientFollowsTheChanges(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		var lines []string
		for n := range 5 {
			lines = append(lines, PatientJSON(fmt.Sprint("b", n), fmt.Sprint("77-", n)))
		}
		if out, err := s.Import(databaseURL, strings.Join(lines, "\n")); err != nil {
			t.Fatal(err, out)
		}
		all, cursor := polled(s.Client, "", 2)
		want := []string{"77-0", "77-1", "77-2", "77-3", "77-4", LocalNumber, Number}
		slices.Sort(want)
		if slices.Sort(all); !slices.Equal(all, want) {
			t.Fatalf("from the beginning: %q", all)
		}
		if again, same := polled(s.Client, cursor, 2); len(again) > 0 || same != cursor {
			t.Errorf("nothing changed, and %q are told", again)
		}
		before := cursorOf(s.Client, Number)
		if again := cursorOf(s.Client, Number); again != before {
			t.Errorf("the cursor went from %q to %q, and nothing changed", before, again)
		}

		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
		Want(t, updateProfile(s.Client, Object{"patientId": "77-3", "allergies": []string{"dust"}}), Object{"__typename": "UpdatePatientProfileSuccess"})
		if first := cursorOf(s.Client, Number); first <= cursor {
			t.Errorf("it changed, and its cursor went from %q to %q", before, first)
		}
		changed, next := polled(s.Client, cursor, 1)
		if !slices.Equal(changed, []string{Number, "77-3"}) {
			t.Errorf("changed: %q", changed)
		}
		answer := s.Query(`mutation { updatePatientProfile(input: {patientId: "77-4", allergies: []}) { ... on UpdatePatientProfileSuccess { patient { changeCursor } } } }`, nil)
		told, _ := answer.At("updatePatientProfile", "patient", "changeCursor").(string)
		if told <= next || told != cursorOf(s.Client, "77-4") {
			t.Errorf("the answer to a change has the cursor %q, and then it is %q, after %q", told, cursorOf(s.Client, "77-4"), next)
		}

		// Who leaves the lists is told to who asks for it.
		inactive := strings.Replace(PatientJSON("b1", "77-1"), `"resourceType"`, `"active":false,"resourceType"`, 1)
		if out, err := s.Import(databaseURL, inactive); err != nil {
			t.Fatal(err, out)
		}
		if left, _ := polled(s.Client, told, 10); len(left) > 0 {
			t.Errorf("without includeInactive %q are told", left)
		}
		if left, _ := polled(s.Client, told, 10, "includeInactive"); !slices.Equal(left, []string{"77-1"}) {
			t.Errorf("with includeInactive %q are told", left)
		}

		// Each follows what it may see.
		patient := s.As(Token(t, auth.RolePatient, "77-3"))
		if own, _ := polled(patient, "", 10); !slices.Equal(own, []string{"77-3"}) {
			t.Errorf("a patient follows %q", own)
		}
		if of, _ := polled(patient, next, 10); len(of) > 0 {
			t.Errorf("a patient whose record stayed is told of %q", of)
		}
		if seen, _ := polled(s.As(Token(t, auth.RoleAnalyst, "")), cursor, 10); len(seen) != 3 {
			t.Errorf("an analyst follows %q", seen)
		}
		if seen, _ := polled(s.As(Token(t, "stranger", "")), "", 10); len(seen) > 0 {
			t.Errorf("a stranger follows %q", seen)
		}
	})
}

// A database that can be read and not written numbers no changes: what has a number is
// told meanwhile, and no cursor passes by what has none.
func TestChangesAreFollowedWhereTheDatabaseOnlyReads(t *testing.T) {
	t.Parallel()
	follow := func(t *testing.T, databaseURL string, onlyReads, writes func()) {
		s := StartSystem(t, databaseURL)
		isBack := func() bool { _, err := s.Call(PatientQuery, Object{"id": Number}); return err == nil }
		_, cursor := polled(s.Client, "", 10)
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})

		onlyReads()
		wait.Until(t, "the database is read", isBack)
		told := []string{cursor, cursorOf(s.Client, Number)}
		for _, node := range s.Query(`{ patients { nodes { changeCursor } } }`, nil).At("patients", "nodes").([]any) {
			told = append(told, node.(map[string]any)["changeCursor"].(string))
		}
		if ids, same := polled(s.Client, cursor, 10); len(ids) > 0 || same != cursor {
			t.Errorf("%q are told without a number, up to %q after %q", ids, same, cursor)
		}
		if n := strings.Count(s.Log.String(), "changes cannot be numbered"); n != 1 {
			t.Errorf("the log says %d times that changes get no numbers", n)
		}

		writes()
		wait.Until(t, "the database is read", isBack)
		if ids, _ := polled(s.Client, slices.Max(told), 10); !slices.Equal(ids, []string{Number}) {
			t.Errorf("after the greatest of %q %q are told", told, ids)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "cache.db")
		follow(t, "sqlite:"+path, func() { rename(t, path, path+".away") }, func() { rename(t, path+".away", path) })
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		databaseURL := dbtest.Postgres(t)
		name, _, _ := strings.Cut(databaseURL[strings.LastIndex(databaseURL, "/")+1:], "?")
		server := dbtest.Open(t, os.Getenv("TEST_POSTGRES_URL"))
		readOnly := func(set string) func() {
			return func() {
				if _, err := server.Exec("ALTER DATABASE " + name + " SET default_transaction_read_only = " + set); err != nil {
					t.Fatal(err)
				}
				dbtest.Shut(t, databaseURL)() // for new sessions alone
			}
		}
		follow(t, databaseURL, readOnly("on"), readOnly("off"))
	})
}

func TestBadCursorsOfChanges(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	_, last := polled(s.Client, "", 10)
	future := "1" + last[1:]
	for _, bad := range []string{"x", " ", last + "0", last[1:], strings.ToUpper(last) + "Z", "-" + last[1:], "+" + last[1:], "zzzzzzzzzzzzz", future, "000000000000\x00", strings.Repeat("0", 5000), "０000000000000"} {
		_, err := s.Call(pollQuery, Object{"filter": Object{"changedAfter": bad}})
		if err == nil || !strings.Contains(err.Error(), "BAD_USER_INPUT") || !strings.Contains(err.Error(), "changeCursor") {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	_, err := s.Call(`{ patients(filter: {changedAfter: ""}, orderBy: NAME_ASC) { nodes { id } } }`, nil)
	if err == nil || !strings.Contains(err.Error(), "BAD_USER_INPUT") || !strings.Contains(err.Error(), "leave out orderBy") {
		t.Errorf("with orderBy: %v", err)
	}
	page := s.Query(`{ patients(first: 1) { pageInfo { endCursor } } }`, nil).At("patients", "pageInfo", "endCursor")
	if _, err := s.Call(pollQuery, Object{"filter": Object{"changedAfter": ""}, "after": page}); err == nil || !strings.Contains(err.Error(), "BAD_USER_INPUT") {
		t.Errorf("with the cursor of another order: %v", err)
	}
}

// following subscribes to a patient's changes.
func following(c *Client, id string) *Stream {
	c.T.Helper()
	return c.Subscribe(`subscription { patientChanged(id: ` + JSON(c.T, id) + `) { id phone allergies fullName changeCursor } }`)
}

func wantChange(t *testing.T, stream *Stream, want Object) {
	t.Helper()
	event, ended := stream.Next()
	changed, _ := event.At("data", "patientChanged").(map[string]any)
	if ended || changed == nil {
		t.Fatalf("it heard %v, ended: %v", event, ended)
	}
	Want(t, changed, want)
}

func TestChangesAreToldToThoseWhoFollow(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		replica := s.Another(databaseURL)
		here, there := following(s.Client, Number), following(replica.Client, Number)
		own := following(s.As(Token(t, auth.RolePatient, Number)), Number)
		analyst := following(s.As(Token(t, auth.RoleAnalyst, "")), Number)
		stranger := following(s.As(Token(t, auth.RolePatient, LocalNumber)), Number)
		if event, _ := stranger.Next(); event.ErrorCode() != "BAD_USER_INPUT" {
			t.Errorf("who may not see the patient hears %v", event)
		}

		Want(t, replica.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
		for _, stream := range []*Stream{here, there, own} {
			wantChange(t, stream, Object{"id": Number, "phone": NewPhone})
		}
		wantChange(t, analyst, Object{"id": Number, "phone": nil, "fullName": nil})
		Want(t, updateProfile(s.Client, Object{"patientId": Number, "allergies": []string{"dust"}}), Object{"__typename": "UpdatePatientProfileSuccess"})
		for _, stream := range []*Stream{here, there, own, analyst} {
			wantChange(t, stream, Object{"allergies": []string{"dust"}, "changeCursor": cursorOf(s.Client, Number)})
		}
		// By another process, as the mirror would bring it from the EMR.
		newer := strings.Replace(PatientJSON("a1", Number), `"id":"a1"`, `"id":"a1","meta":{"versionId":"9","lastUpdated":"2100-01-01T00:00:00Z"}`, 1)
		if out, err := s.Import(databaseURL, newer); err != nil {
			t.Fatal(err, out)
		}
		for _, stream := range []*Stream{here, there, own} {
			wantChange(t, stream, Object{"phone": "010-1111-2222", "allergies": []string{"dust"}})
		}
		if err := replica.Stop(); err != nil {
			t.Errorf("the shutdown ended with %v", err)
		}
		if event, ended := there.Next(); !ended {
			t.Errorf("at the shutdown it heard %v", event)
		}
	})
}
