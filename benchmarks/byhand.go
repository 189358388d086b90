package main

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

// serveHello answers what a server does that knows the answer before.
func serveHello(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	if len(args) != 1 {
		return errors.New("hello ADDRESS")
	}
	var one, many answer
	many.Data.Patients = &page{}
	for p := range people(pageSize) {
		one.Data.Patient = &p.patient
		many.Data.Patients.Nodes = append(many.Data.Patients.Nodes, p.patient)
	}
	mux := http.NewServeMux()
	for path, a := range map[string]answer{"POST /patient": one, "POST /patients": many} {
		body, err := json.Marshal(a)
		if err != nil {
			return err
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { write(w, body) })
	}
	return serve(ctx, args[0], mux)
}

// serve leaves the collector as much to spare as PatientGraph does (app/memory.go), so
// that none of them is ahead by that.
func serve(ctx context.Context, address string, handler http.Handler) error {
	defer runtime.KeepAlive(make([]byte, 16<<20))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func write(w http.ResponseWriter, body []byte) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // who does not read it is gone
}

// byHand is what one would write for these two questions alone.
type byHand struct{ one, first, next *sql.Stmt }

// What byHand asks, as PostgreSQL wants it.
const (
	selectOne   = `SELECT id, full_name, birth_date, phone, email FROM plain.patients WHERE id = $1`
	selectFirst = `SELECT id, full_name, birth_date, phone, email, created_at FROM plain.patients ORDER BY created_at DESC, id DESC LIMIT 51`
	selectNext  = `SELECT id, full_name, birth_date, phone, email, created_at FROM plain.patients WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT 51`
)

// serveByHand has as many connections to the database as PatientGraph.
func serveByHand(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	if len(args) != 3 {
		return errors.New("byhand ADDRESS DRIVER SOURCE")
	}
	driver, size, dialect := args[1], 32, strings.NewReplacer()
	if driver == "sqlite" {
		size, dialect = max(4, runtime.GOMAXPROCS(0)*2), strings.NewReplacer("$", "?", "plain.", "")
	}
	pool, err := sql.Open(driver, args[2])
	if err != nil {
		return err
	}
	defer pool.Close()
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	var h byHand
	for text, into := range map[string]**sql.Stmt{selectOne: &h.one, selectFirst: &h.first, selectNext: &h.next} {
		if *into, err = pool.PrepareContext(ctx, dialect.Replace(text)); err != nil {
			return err
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /patient", h.patient)
	mux.HandleFunc("POST /patients", h.patients)
	return serve(ctx, args[0], mux)
}

func (h *byHand) patient(w http.ResponseWriter, r *http.Request) {
	var asked struct{ ID string }
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	var p patient
	var a answer
	switch err := h.one.QueryRowContext(r.Context(), asked.ID).Scan(&p.ID, &p.FullName, &p.BirthDate, &p.Phone, &p.Email); {
	case err == nil:
		a.Data.Patient = &p
	case !errors.Is(err, sql.ErrNoRows):
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, a)
}

func (h *byHand) patients(w http.ResponseWriter, r *http.Request) {
	var asked struct{ After *string }
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	statement, bounds := h.first, []any(nil)
	if asked.After != nil {
		created, id, err := parseCursor(*asked.After)
		if err != nil {
			http.Error(w, "bad cursor", http.StatusBadRequest)
			return
		}
		statement, bounds = h.next, []any{created, id}
	}
	found, err := readPage(r.Context(), statement, bounds)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var a answer
	a.Data.Patients = found
	reply(w, a)
}

// readPage reads a page, and one row more to see whether there are.
func readPage(ctx context.Context, statement *sql.Stmt, bounds []any) (*page, error) {
	rows, err := statement.QueryContext(ctx, bounds...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := page{Nodes: make([]patient, 0, pageSize)}
	var created int64
	for rows.Next() {
		if len(found.Nodes) == pageSize {
			found.PageInfo.HasNextPage = true
			break
		}
		var p patient
		if err := rows.Scan(&p.ID, &p.FullName, &p.BirthDate, &p.Phone, &p.Email, &created); err != nil {
			return nil, err
		}
		found.Nodes = append(found.Nodes, p)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if n := len(found.Nodes); n > 0 {
		end := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d,%s", created, found.Nodes[n-1].ID))
		found.PageInfo.EndCursor = &end
	}
	return &found, nil
}

func parseCursor(text string) (created int64, id string, err error) {
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return 0, "", err
	}
	number, id, _ := strings.Cut(string(decoded), ",")
	created, err = strconv.ParseInt(number, 10, 64)
	return created, id, err
}

func reply(w http.ResponseWriter, a answer) {
	body, err := json.Marshal(a)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, body)
}
