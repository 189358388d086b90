package app

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// hidden are the settings that are never shown, for they are secrets. Of DATABASE_URL the
// log has what is no secret.
var hidden = []string{"FHIR_TOKEN", "FHIR_PASSWORD", "FHIR_CLIENT_SECRET", "FHIR_PRIVATE_KEY", "FHIR_REFRESH_TOKEN", "JWT_SECRET", "SUBSCRIPTION_SECRET"}

// TestTheLogShowsEverySetting: the line at the start has each setting as it was given,
// in the order of the README's table, unless it is a secret.
func TestTheLogShowsEverySetting(t *testing.T) {
	t.Parallel()
	settings, given := allSettings(t), map[string]string{}
	for n, setting := range settings {
		switch setting {
		case "FHIR_TIMEOUT", "SYNC_INTERVAL", "STALE_AFTER", "VERIFY_INTERVAL", "IDEMPOTENCY_TTL":
			given[setting] = fmt.Sprintf("%dm%ds", n, n)
		case "RATE_LIMIT":
			given[setting] = "4711"
		case "FHIR_REWRITE_LINKS", "PLAYGROUND", "INTROSPECTION", "SCHEMA_PUBLIC":
			given[setting] = "true"
		case "FHIR_SERVER", "DEMO_SERVER":
			given[setting] = "openemr"
		case "JWT_PATIENT_CLAIM_KIND":
			given[setting] = "fhir"
		case "TRUSTED_DOCUMENTS_MODE":
			given[setting] = "log"
		case "LOG_LEVEL":
			given[setting] = "warn"
		case "LOG_FORMAT":
			given[setting] = "text"
		default:
			given[setting] = fmt.Sprintf("mark-%d", n)
			if strings.HasSuffix(setting, "_URL") {
				given[setting] = fmt.Sprintf("https://mark-%d.example/x", n)
			}
		}
	}
	c := parseSettings(t, func(setting string) string {
		if strings.HasSuffix(setting, "_URL") {
			return strings.Replace(given[setting], "://", "://user:topsecret@", 1) + "?token=topsecret"
		}
		return given[setting]
	})
	var shown []string
	for _, attr := range c.LogValue().Group() {
		setting := strings.ToUpper(attr.Key)
		shown = append(shown, setting)
		if got := attr.Value.String(); got != given[setting] {
			t.Errorf("%s is shown as %q, want %q", setting, got, given[setting])
		}
	}
	want := slices.DeleteFunc(slices.Clone(settings), func(s string) bool { return slices.Contains(hidden, s) })
	if !slices.Equal(shown, want) {
		t.Errorf("shown are\n%v, want\n%v", shown, want)
	}
	if line := c.LogValue().String(); strings.Contains(line, "topsecret") {
		t.Errorf("the log shows a secret: %s", line)
	}
	var out strings.Builder
	slog.New(slog.NewJSONHandler(&out, nil)).Info("starting", "settings", c)
	if !strings.Contains(out.String(), `"rate_limit":4711`) || !strings.Contains(out.String(), `"playground":true`) {
		t.Errorf("numbers and switches are no JSON of their kind: %s", out.String())
	}
}

// TestEverySettingIsInTheREADME: its table has each setting once, in the order of Config.
func TestEverySettingIsInTheREADME(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| name | default | meaning |")
	table, _, _ = strings.Cut(table, "\n\n")
	var named []string
	for row := range strings.SplitSeq(table, "\n") {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, m := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(cell, -1) {
			named = append(named, m[1])
		}
	}
	if settings := allSettings(t); !slices.Equal(named, settings) {
		t.Errorf("the table has\n%v, Config\n%v", named, settings)
	}
}

// allSettings are the names of all settings, in the order of Config.
func allSettings(t *testing.T) (names []string) {
	t.Helper()
	parser, err := kong.New(&struct{ Config }{}, kong.Vars{"fhir_servers": "auto"})
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range parser.Model.Flags {
		if flag.Name != "help" {
			names = append(names, variable(flag.Name))
		}
	}
	return names
}

func parseSettings(t *testing.T, getenv func(string) string) *Config {
	t.Helper()
	var c struct{ Config }
	parser, err := kong.New(&c, kong.Resolvers(environment(getenv)), kong.Vars{"fhir_servers": "auto,openemr"}, kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	c.complete()
	return &c.Config
}
