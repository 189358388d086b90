package e2e_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// importSize is how many patients the benchmarks of import take.
func importSize(b *testing.B) int {
	size := os.Getenv("IMPORT_PATIENTS")
	if size == "" {
		return 2500
	}
	n, err := strconv.Atoi(size)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// patients makes an NDJSON of synthetic patients as it is read.
type patients struct {
	total, made int
	rest        []byte
}

var families = []string{"Kim", "Lee", "Park", "Choi", "Müller", "Schmidt", "García", "Nguyen", "Smith", "Hansen", "Rossi", "Tanaka", "김", "이", "박", "최"}
var syllables = []string{"ji", "min", "seo", "yun", "ha", "jun", "woo", "hye", "na", "ra", "eun", "su", "bin", "do", "tae", "ma", "jo", "el"}

func (p *patients) Read(into []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.made == p.total {
			return 0, io.EOF
		}
		p.made++
		n := p.made
		mixed := n * 2654435761 % (1 << 32) // as good as random, and the same each time
		syllable := func(shift int) string { return syllables[mixed>>shift%len(syllables)] }
		p.rest = fmt.Appendf(p.rest, `{"resourceType":"Patient","id":"f%d","meta":{"versionId":"1","lastUpdated":"2026-01-02T03:%02d:%02dZ"},"identifier":[{"use":"official","system":%q,"value":"H-%07d"},{"system":"urn:ssn","value":"%09d"}],"active":true,"name":[{"use":"official","family":"%s%s","given":["%s%s %s"]}],"telecom":[{"system":"phone","use":"mobile","value":"+82-10-%04d-%04d"},{"system":"email","value":"p%d@example.org"}],"gender":"%s","birthDate":"%d-%02d-%02d","address":[{"use":"home","line":["%d Main Street"],"city":"Seoul","postalCode":"%05d","country":"KR"}]}`+"\n",
			n, n/60%60, n%60, fhirsim.DemoIdentifierSystem, n, mixed%1_000_000_000,
			families[mixed%len(families)], syllable(4), syllable(8), syllable(12), syllable(16), mixed>>3%10_000, mixed>>17%10_000, n,
			[]string{"male", "female"}[mixed>>5&1], 1930+mixed>>7%90, 1+mixed>>9%12, 1+mixed>>11%28, 1+mixed%999, mixed%100_000)
	}
	n := copy(into, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// importing is the import command in a process of its own, which reads the patients.
func importing(b *testing.B, databaseURL string, total int) (command *exec.Cmd, out *strings.Builder) {
	command, out = exec.Command(Binary(b, ""), "import", "-"), &strings.Builder{}
	command.Env = slices.Concat(os.Environ(), OutsideDemo("http://127.0.0.1:1/fhir", databaseURL))
	command.Stdin, command.Stdout, command.Stderr = &patients{total: total}, out, out
	return command, out
}

func importedAll(b *testing.B, out string, err error, total int) {
	b.Helper()
	if err != nil || !strings.Contains(out, fmt.Sprint(total, " new, 0 updated, 0 kept as they were, 0 bad")) {
		b.Fatalf("%v\n%s", err, out)
	}
}

// BenchmarkImport imports IMPORT_PATIENTS patients into an empty database as a user does.
// MiB is what the process had in memory at the most (VmHWM), cpu-s its processor time; that
// of PostgreSQL's server is not in it.
func BenchmarkImport(b *testing.B) {
	total := importSize(b)
	Binary(b, "") // builds it
	for name, open := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		b.Run(name, func(b *testing.B) {
			var peak int64
			var cpu time.Duration
			for b.Loop() {
				command, out := importing(b, open(b), total)
				err := command.Run()
				importedAll(b, out.String(), err, total)
				state := command.ProcessState
				cpu += state.UserTime() + state.SystemTime()
				peak = max(peak, state.SysUsage().(*syscall.Rusage).Maxrss>>10)
			}
			b.ReportMetric(float64(peak), "MiB")
			b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s")
			b.ReportMetric(float64(total*b.N)/b.Elapsed().Seconds(), "patients/s")
		})
	}
}

// BenchmarkBesideAnImport writes into a database, again and again, while another process
// imports into it: how long a write waits.
func BenchmarkBesideAnImport(b *testing.B) {
	total := importSize(b)
	Binary(b, "") // builds it
	for name, open := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		b.Run(name, func(b *testing.B) {
			var waits []time.Duration
			for b.Loop() {
				databaseURL := open(b)
				MustImport(b, databaseURL, PatientJSON("a1", Number))
				store, err := db.Open(b.Context(), databaseURL)
				if err != nil {
					b.Fatal(err)
				}
				if err := store.Migrate(b.Context()); err != nil {
					b.Fatal(err)
				}
				command, out := importing(b, databaseURL, total)
				ended := make(chan error, 1)
				if err := command.Start(); err != nil {
					b.Fatal(err)
				}
				go func() { ended <- command.Wait() }()
				for running := true; running; {
					began := time.Now()
					if _, err := store.SetProfile(Number, db.ProfileEdit{SetBloodType: true, BloodType: []string{"A+", "B+"}[len(waits)%2]}, 0, began); err != nil {
						b.Fatal(err)
					}
					waits = append(waits, time.Since(began))
					select {
					case err := <-ended:
						importedAll(b, out.String(), err, total)
						running = false
					case <-time.After(20 * time.Millisecond):
					}
				}
				if err := store.Close(); err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(waits)
			b.ReportMetric(float64(len(waits)), "writes")
			for _, percent := range []int{50, 99, 100} {
				b.ReportMetric(waits[(len(waits)-1)*percent/100].Seconds()*1000, fmt.Sprintf("p%d-ms", percent))
			}
		})
	}
}
