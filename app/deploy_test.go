package app

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestDeployedSettings: what deploy/ sets are settings of ours, with which the program starts.
func TestDeployedSettings(t *testing.T) {
	t.Parallel()
	dockerfile, unit := deployed(t, "Dockerfile"), deployed(t, "systemd/patientgraph.service")
	var compose struct {
		Services map[string]struct{ Environment map[string]string }
	}
	if err := yaml.Unmarshal([]byte(deployed(t, "compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	image := assignments(dockerfile, `(?m)^ENV (\w+)=(.+)$`)
	if image["ZONEINFO"] == "" {
		t.Error("the image does not say where time zones are")
	}
	delete(image, "ZONEINFO") // Go's own
	container := map[string]string{}
	for _, settings := range []map[string]string{image, compose.Services["patientgraph"].Environment} {
		for name, value := range settings {
			container[name] = regexp.MustCompile(`\$\{[^}]+\}`).ReplaceAllString(value, strings.Repeat("5ec2e7", 8))
		}
	}
	secret := filepath.Join(t.TempDir(), "jwt-secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("5ec2e7", 8)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	service := assignments(unit, `(?m)^Environment=(\w+)=(.+)$`)
	service["FHIR_BASE_URL"] = "http://localhost:8090/fhir" // of EnvironmentFile
	service["JWT_SECRET_FILE"] = strings.Replace(service["JWT_SECRET_FILE"], "%d/jwt-secret", secret, 1)

	known := allSettings(t)
	for _, name := range secrets {
		known = append(known, name+"_FILE")
	}
	for what, settings := range map[string]map[string]string{"the container": container, "the unit": service} {
		for name := range settings {
			if !slices.Contains(known, name) {
				t.Errorf("%s sets %s, which is no setting", what, name)
			}
		}
		if err := parseSettings(t, func(name string) string { return settings[name] }).check(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func deployed(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../deploy", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func assignments(text, pattern string) map[string]string {
	set := map[string]string{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		set[m[1]] = m[2]
	}
	return set
}

// TestImageIsBuilt runs what the Dockerfile builds with, as there is no Docker to run it.
func TestImageIsBuilt(t *testing.T) {
	t.Parallel()
	line := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*) -o /image/patientgraph \.$`).FindStringSubmatch(deployed(t, "Dockerfile"))
	if line == nil {
		t.Fatal("the Dockerfile builds in another way")
	}
	file := filepath.Join(t.TempDir(), "patientgraph")
	build := exec.Command("sh", "-c", line[1]+" -o "+file+" ..")
	build.Env = append(os.Environ(), "GOFLAGS=") // the race detector, say, needs C
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(file, "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "patientgraph ") {
		t.Errorf("%v: %s", err, out)
	}
	zones := exec.Command("sh", "-c", `ls "$(go env GOROOT)/lib/time/zoneinfo.zip"`)
	if out, err := zones.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestUnit has the unit read by systemd.
func TestUnit(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	file := filepath.Join(t.TempDir(), "patientgraph.service")
	unit := strings.ReplaceAll(deployed(t, "systemd/patientgraph.service"), "/usr/local/bin/patientgraph", "/bin/true")
	if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
