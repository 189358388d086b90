package apptest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patientgraph/app"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// Product is the whole program in the test's own process.
type Product struct {
	*Client
	Log, Stdout *locked.Buffer
	Stop        func() error // ends it and returns what app.Run returned
}

// Start runs the product with these settings ("FHIR_TIMEOUT=2s") until the test
// ends; without any it is the demo.
func Start(t testing.TB, settings ...string) *Product {
	t.Helper()
	p := &Product{Client: newClient(t), Log: &locked.Buffer{}, Stdout: &locked.Buffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var failure error
	go func() {
		defer close(ended)
		failure = Run(ctx, nil, p.Stdout, p.Log, slices.Concat([]string{"LISTEN_ADDR=127.0.0.1:0", "LOG_LEVEL=debug", "VERIFY_INTERVAL=0", "RATE_LIMIT=0"}, settings)...)
	}()
	p.Stop = func() error {
		http.DefaultClient.CloseIdleConnections() // one that was never used keeps a server from its end for 5 s
		cancel()
		<-ended
		return failure
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("the product ended with: %v", err)
		}
	})
	wait.Until(t, "the product serves", func() bool {
		select {
		case <-ended:
			t.Fatalf("the product did not start: %v", failure)
		default:
		}
		p.URL = servingAt(p.Log)
		return p.URL != ""
	})
	return p
}

// StartWith runs the product against a FHIR server and a database.
func StartWith(t testing.TB, fhirURL, databaseURL string, settings ...string) *Product {
	t.Helper()
	return Start(t, slices.Concat(OutsideDemo(fhirURL, databaseURL), []string{"FHIR_TIMEOUT=2s"}, settings)...)
}

// OutsideDemo are the settings of a product against a FHIR server and a database.
func OutsideDemo(fhirURL, databaseURL string) []string {
	return []string{
		"FHIR_BASE_URL=" + fhirURL, "DATABASE_URL=" + databaseURL, "JWT_SECRET=" + Secret,
		"PATIENT_ID_SYSTEM=" + fhirsim.DemoIdentifierSystem,
		"SYNC_INTERVAL=0", // who tests what follows the FHIR server says so
	}
}

// Run runs a command to its end; of a setting that is given twice the last counts.
func Run(ctx context.Context, args []string, stdout, stderr *locked.Buffer, settings ...string) error {
	values := map[string]string{}
	for _, setting := range settings {
		name, value, found := strings.Cut(setting, "=")
		if !found {
			return fmt.Errorf("no setting: %q", setting)
		}
		values[name] = value
	}
	return app.Run(ctx, args, func(name string) string { return values[name] }, stdout, stderr)
}

// servingAt is the URL that the log says is served; "" as long as there is none.
func servingAt(log *locked.Buffer) string {
	for line := range strings.Lines(log.String()) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
			return "http://" + entry.Address
		}
	}
	return ""
}

// WantLog fails unless the log has this text.
func (p *Product) WantLog(text string) {
	p.T.Helper()
	if !strings.Contains(p.Log.String(), text) {
		p.T.Errorf("the log lacks %q:\n%s", text, p.Log)
	}
}

// UntilLog waits until the log has this text.
func (p *Product) UntilLog(text string) {
	p.T.Helper()
	wait.Until(p.T, "the log has "+text, func() bool { return strings.Contains(p.Log.String(), text) })
}

// Import runs the import command on these patients, one a line, and returns what it
// printed and logged.
func Import(t testing.TB, databaseURL, patients string, settings ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "patients.ndjson")
	if err := os.WriteFile(file, []byte(patients), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, log locked.Buffer
	err := Run(context.Background(), []string{"import", file}, &out, &log,
		slices.Concat([]string{"DATABASE_URL=" + databaseURL, "PATIENT_ID_SYSTEM=" + fhirsim.DemoIdentifierSystem}, settings)...)
	return out.String() + log.String(), err
}

// MustImport imports patients that nothing is wrong with.
func MustImport(t testing.TB, databaseURL string, patients ...string) {
	t.Helper()
	if out, err := Import(t, databaseURL, strings.Join(patients, "\n")); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
}
