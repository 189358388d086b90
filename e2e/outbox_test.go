package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// phone is a phone with the outbox of examples/mobile, before the program in a process of
// its own and a FHIR server whose PUTs can be counted.
type phone struct {
	*Process // asked as an admin
	fhir     *fhirsim.Server
	files    string
	token    string // the user's, who looks after these patients but the last
	// between, if it is set, takes what the phone sends; next passes it on.
	between atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)]
	front   string
}

// phonePatients are on the FHIR server, by their id there.
var phonePatients = map[string]string{"a1": Number, "refused": "P-2025-000003", "away": "P-2025-000004", "other": "P-2025-000005"}

func startPhone(t *testing.T, settings ...string) *phone {
	t.Helper()
	files := clientFiles(t)
	if err := os.CopyFS(filepath.Join(files, "mobile"), os.DirFS("../examples/mobile")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("node", filepath.Join(files, "node_modules/typescript/bin/tsc"),
		"-p", filepath.Join(files, "mobile/outbox")).CombinedOutput(); err != nil {
		t.Fatalf("tsc: %v\n%s", err, out)
	}
	var patients []string
	for id, number := range phonePatients {
		patients = append(patients, PatientJSON(id, number))
	}
	server, fhirURL := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, patients...)
	databaseURL := dbtest.SQLite(t)
	MustImport(t, databaseURL, append(patients, PatientJSON("stranger", "P-2025-000006"))...)
	p := &phone{Process: Launch(t, Binary(t, ""), fhirURL, databaseURL, settings...), fhir: server, files: files}
	p.token = TokenOf(t, Object{"role": auth.RolePatient, "sub": "carer",
		"patient_id": []string{Number, "P-2025-000003", "P-2025-000004", "P-2025-000005", "P-2025-000009"}})
	product, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	next := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(product) }}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if between := p.between.Load(); between != nil {
			(*between)(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	p.front = front.URL
	return p
}

// command is the app, which is started anew for each.
func (p *phone) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.T.(*testing.T).Context(), "node", append([]string{"outbox.js", "disk.json"}, args...)...)
	cmd.Dir = p.files
	cmd.Env = append(os.Environ(), "SERVER="+p.front, "TOKEN="+p.token)
	return cmd
}

// told is what the app prints: what was said, sent and waited for, and its changes.
type told struct{ gjson.Result }

func (p *phone) run(args ...string) told {
	p.T.Helper()
	cmd := p.command(args...)
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		p.T.Fatalf("%v: %v\n%s", args, err, errors.String())
	}
	return told{gjson.ParseBytes(out)}
}

// save is what the user does; the key of the change.
func (p *phone) save(patient string, fields Object) string {
	p.T.Helper()
	seen, err := p.Read(patient)
	if err != nil {
		p.T.Fatal(err)
	}
	return p.run("add", patient, seen.Version, JSON(p.T, fields)).Get("said").Str
}

func (p *phone) flush(turns ...string) told {
	p.T.Helper()
	return p.run(append([]string{"flush"}, turns...)...)
}

func (told told) want(t *testing.T, expected Object) {
	t.Helper()
	for path, value := range expected {
		if got, wanted := told.Get(path), JSON(t, value); got.String() != gjson.Parse(wanted).String() {
			t.Errorf("%s is %s, want %s in\n%s", path, got, wanted, told)
		}
	}
}

// puts are the phones that the FHIR server was to store for a patient, in order.
func (p *phone) puts(id string) (phones []string) {
	for _, r := range p.fhir.Requests() {
		if r.Method == http.MethodPut && r.ID == id {
			phones = append(phones, gjson.GetBytes(r.Body, `telecom.#(system=="phone").value`).Str)
		}
	}
	return phones
}

func (p *phone) wantPuts(id string, phones ...string) {
	p.T.Helper()
	if got := p.puts(id); strings.Join(got, " ") != strings.Join(phones, " ") {
		p.T.Errorf("the FHIR server was to store %v for %s, want %v", got, id, phones)
	}
}

// TestOutboxMembers has a change in the outbox for each way in which it can end.
func TestOutboxMembers(t *testing.T) {
	t.Parallel()
	p := startPhone(t)
	p.fhir.SetFault("refused", fhirsim.Fault{On: http.MethodPut, RejectPhone: "Invalid phone format"})
	p.fhir.SetFault("away", fhirsim.Fault{Close: true})
	p.save(Number, Object{"phone": NewPhone, "email": nil})
	p.save(Number, Object{"email": "no address"})
	p.save(Number, Object{"address": Object{"floor": 3}}) // of an app that is newer than the server
	p.save("P-2025-000003", Object{"phone": NewPhone})
	p.save("P-2025-000004", Object{"phone": NewPhone})
	conflicting := p.save("P-2025-000005", Object{"phone": NewPhone})
	p.run("add", "P-2025-000006", "1", `{"phone":"1"}`)
	p.run("add", "P-2025-000009", "1", `{"phone":"1"}`)
	Want(t, p.Update(Object{"patientId": "P-2025-000005", "phone": "010-3333-4444"}), Object{"__typename": "UpdatePatientContactSuccess"})

	told := p.flush("3")
	told.want(t, Object{
		"changes.#":                           7,
		"changes.#.parked.__typename":         []string{"InvalidInput", "RequestRefused", "FhirRejected", "UpdateConflict", "NotPermitted", "PatientNotFound"},
		"changes.0.parked.fieldErrors.0.rule": "email",
		"changes.2.parked.message":            "Invalid phone format",
		"changes.3.patientId":                 "P-2025-000004",
		"changes.4.parked.current.phone":      "010-3333-4444",
		"changes.4.parked.conflictingFields":  []string{"phone"},
		"changes.5.parked.message":            "이 환자의 정보를 변경할 권한이 없습니다",
	})
	p.WantRead(Number, NewPhone, "SYNCED")
	p.wantPuts("a1", NewPhone)

	p.fhir.ClearFaults()
	p.run("overwrite", conflicting)
	told = p.flush()
	told.want(t, Object{"said": nil, "changes.#.parked.__typename": []string{"InvalidInput", "RequestRefused", "FhirRejected", "NotPermitted", "PatientNotFound"}})
	p.WantRead("P-2025-000004", NewPhone, "SYNCED")
	p.wantPuts("other", "010-3333-4444", NewPhone)
	for _, change := range told.Get("changes").Array() {
		told = p.run("discard", change.Get("key").Str)
	}
	told.want(t, Object{"changes": []any{}})
}

// TestOutboxKilled kills the app at each moment of a send; what it sends when it is
// started again is written once.
func TestOutboxKilled(t *testing.T) {
	t.Parallel()
	for moment, kill := range map[string]func(p *phone, end func()){
		"before it arrives": func(p *phone, end func()) {
			p.meanwhile(func(http.ResponseWriter, *http.Request, http.Handler) { end() })
		},
		"while the FHIR server writes": func(p *phone, end func()) {
			p.fhir.SetFault("a1", fhirsim.Fault{On: http.MethodPut, Times: 1, Store: func(_, resource []byte) []byte {
				end()
				return resource
			}})
		},
		"between send and answer": func(p *phone, end func()) {
			p.meanwhile(func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(httptest.NewRecorder(), r)
				end()
			})
		},
	} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			p := startPhone(t)
			p.save(Number, Object{"phone": NewPhone})
			app, started := p.command("flush"), make(chan struct{})
			kill(p, func() {
				<-started
				_ = app.Process.Kill() // how it ended is seen below
			})
			if err := app.Start(); err != nil {
				t.Fatal(err)
			}
			close(started)
			if err := app.Wait(); err == nil || app.ProcessState.ExitCode() != -1 {
				t.Fatalf("the app was not killed: %v", err)
			}
			p.between.Store(nil)
			p.flush().want(t, Object{"changes": []any{}, "sent.0": Number + " UpdatePatientContactSuccess"})
			p.wantPuts("a1", NewPhone)
			p.WantRead(Number, NewPhone, "SYNCED")
		})
	}
}

// meanwhile has the requests of the phone taken by what is between it and the program.
func (p *phone) meanwhile(between func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	p.between.Store(&between)
}

// TestOutboxWaitsUntilItIsKnown: while the outcome of a change is not known, later changes
// of the patient wait, and other patients do not.
func TestOutboxWaitsUntilItIsKnown(t *testing.T) {
	t.Parallel()
	p := startPhone(t, "FHIR_TIMEOUT=3s")
	p.fhir.SetFault("a1", fhirsim.Fault{On: http.MethodPut, Apply: true, Hang: true, Times: 1})
	p.fhir.SetFault("a1", fhirsim.Fault{On: http.MethodGet, After: 1, Status: http.StatusServiceUnavailable})
	p.save(Number, Object{"phone": "010-1000-0001"})
	p.save(Number, Object{"phone": "010-1000-0002"})
	p.save("P-2025-000005", Object{"phone": NewPhone})
	told := p.flush("3")
	told.want(t, Object{"changes.#": 2, "changes.#.parked": []any{}, `sent.#(=="P-2025-000005 UpdatePatientContactSuccess")`: "P-2025-000005 UpdatePatientContactSuccess"})
	operation := told.Get("changes.0.operationId").Str
	Want(t, p.ContactUpdate(operation), Object{"state": "PENDING"})
	p.wantPuts("a1", "010-1000-0001")

	p.fhir.ClearFaults()
	p.flush().want(t, Object{"changes": []any{}})
	Want(t, p.Settled(operation), Object{"state": "APPLIED"})
	p.wantPuts("a1", "010-1000-0001", "010-1000-0002") // both of the version that the user saw: a conflict with ourselves is none
	p.WantRead(Number, "010-1000-0002", "SYNCED")
}

// TestOutboxOfAKeyThatIsForgotten: after IDEMPOTENCY_TTL nobody knows the key any more.
// What has been written is not written again, and nobody's later change is overwritten.
func TestOutboxOfAKeyThatIsForgotten(t *testing.T) {
	t.Parallel()
	p := startPhone(t)
	address := Object{"lines": []string{"2 Main St"}, "city": "Seoul", "postalCode": "04524", "country": "KR"}
	p.save(Number, Object{"phone": NewPhone, "address": address})
	p.save("P-2025-000005", Object{"phone": NewPhone})
	disk := filepath.Join(p.files, "disk.json")
	kept, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	p.flush().want(t, Object{"changes": []any{}})
	Want(t, p.Update(Object{"patientId": "P-2025-000005", "phone": "010-3333-4444"}), Object{"__typename": "UpdatePatientContactSuccess"})

	// The app has heard nothing of that, and comes back with keys that are as good as new.
	var changes []Object
	if err := json.Unmarshal(kept, &changes); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change["key"] = "again " + change["key"].(string)
	}
	if err := os.WriteFile(disk, []byte(JSON(t, changes)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.flush().want(t, Object{"changes.#": 1, "changes.0.patientId": "P-2025-000005", "changes.0.parked.current.phone": "010-3333-4444"})
	p.wantPuts("a1", NewPhone)
	p.wantPuts("other", NewPhone, "010-3333-4444")
}

// TestOutboxOfARecordThatOthersChange: a conflict that may pass, and a fault of ours, are of
// one patient alone.
func TestOutboxOfARecordThatOthersChange(t *testing.T) {
	t.Parallel()
	p := startPhone(t)
	p.fhir.SetFault("a1", fhirsim.Fault{Compete: true})
	p.save(Number, Object{"phone": NewPhone})
	p.save("P-2025-000004", Object{"phone": NewPhone})
	p.save("P-2025-000005", Object{"phone": NewPhone})
	var failed atomic.Bool
	p.meanwhile(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if bytes.Contains(body, []byte("P-2025-000004")) && !failed.Swap(true) {
			_, _ = w.Write([]byte(`{"errors":[{"message":"…","extensions":{"code":"INTERNAL","incident":"…"}}],"data":null}`))
			return
		}
		next.ServeHTTP(w, r)
	})
	p.flush("1").want(t, Object{"changes.#.patientId": []string{Number, "P-2025-000004"}, "changes.#.parked": []any{}, "changes.#.tries": []int{1, 1}})
	p.fhir.ClearFaults()
	p.flush().want(t, Object{"changes": []any{}, "sent.#": 2})
	p.WantRead(Number, NewPhone, "SYNCED")
}

// TestOutboxWaitsAsItIsTold: what is no outcome keeps the change, and the server's word
// says for how long.
func TestOutboxWaitsAsItIsTold(t *testing.T) {
	t.Parallel()
	p := startPhone(t)
	p.save(Number, Object{"phone": NewPhone})
	p.save("P-2025-000005", Object{"phone": NewPhone})
	good := p.token
	p.token = TokenOf(t, Object{"role": auth.RolePatient, "sub": "carer", "exp": 1})
	p.flush().want(t, Object{"said": "sign in", "changes.#": 2, "waits": []any{}})

	p.token = good
	var asked atomic.Int32
	p.meanwhile(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		const unavailable = `{"errors":[{"message":"…","extensions":{"code":"UNAVAILABLE","retryAfterSeconds":5}}]}`
		switch asked.Add(1) {
		case 1, 2: // of both patients
			panic(http.ErrAbortHandler)
		case 3, 4, 5, 6, 7, 8:
			w.Header().Set("Retry-After", "7")
			http.Error(w, "too many requests", http.StatusTooManyRequests)
		case 9, 10:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(unavailable))
		case 11, 12:
			http.Error(w, "<html>Bad gateway</html>", http.StatusBadGateway)
		default:
			next.ServeHTTP(w, r)
		}
	})
	p.run("hurry").want(t, Object{"sent.#": 4, "changes.#": 2}) // not heard: at once, when the network is back
	p.run("hurry").want(t, Object{"sent.#": 2, "changes.#": 2}) // asked to wait: not even then
	told := p.flush()
	told.want(t, Object{"changes": []any{}, "waits.0": 7, "waits.1": 5})
	if told.Get("sent.#").Int() != 8 {
		t.Errorf("sent: %s", told)
	}
	p.wantPuts("a1", NewPhone)
	p.wantPuts("other", NewPhone)
}
