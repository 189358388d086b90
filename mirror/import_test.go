package mirror_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/mirror"
)

// store takes everything, and remembers the FHIR ids.
type store struct {
	ids  []string
	fail error
}

func (s *store) ImportPatients(_ context.Context, batch []db.NewPatient, _ time.Time) ([]db.ImportOutcome, error) {
	outcomes := make([]db.ImportOutcome, len(batch))
	for k, n := range batch {
		s.ids = append(s.ids, n.FHIRID)
		outcomes[k].Result = db.Inserted
	}
	return outcomes, s.fail
}

func (s *store) SettleNumbers(context.Context, string, time.Time) ([]db.RefusedNumber, error) {
	return nil, s.fail
}

// load imports a file and returns the ids it had, what was bad, and the error.
func load(t *testing.T, file io.Reader) (ids, bad []string, result mirror.ImportResult, err error) {
	t.Helper()
	s := &store{}
	i := mirror.NewImport(s, mirror.ImportOptions{Now: time.Now, BadLine: func(_ string, line int, err error) {
		bad = append(bad, fmt.Sprintf("%d %v", line, err))
	}})
	err = i.Read(t.Context(), "file", file)
	result = i.Result
	if result.Bad != len(bad) || result.Inserted != len(s.ids) {
		t.Errorf("%+v of %v, bad %v", result, s.ids, bad)
	}
	return s.ids, bad, result, err
}

// quiet is an import that reports nothing.
func quiet(s *store) *mirror.Import {
	return mirror.NewImport(s, mirror.ImportOptions{Now: time.Now, BadLine: func(string, int, error) {}})
}

func patient(id string) string { return `{"resourceType":"Patient","id":"` + id + `"}` }

func entry(resource string) string { return `{"fullUrl":"urn:x","resource":` + resource + `}` }

func bundle(entries ...string) string {
	return `{"resourceType":"Bundle","type":"searchset","entry":[` + strings.Join(entries, ",") + `]}`
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const mark = "\ufeff"

func TestImportTakesFilesAsTheyCome(t *testing.T) {
	t.Parallel()
	a, b, c := patient("a"), patient("b"), patient("c")
	pretty := "{\n  \"resourceType\" : \"Bundle\",\r\n  \"type\": \"collection\",\n \"entry\": [ {\n \"resource\" :\n" + a + "},\n\t{\"resource\":" + b + "\n}\n ]\n}\n"
	for name, c := range map[string]struct{ file, ids string }{
		"lines":                          {a + "\n" + b + "\n", "a b"},
		"no last line break":             {a + "\n" + b, "a b"},
		"CRLF, blank lines":              {"\r\n" + a + "\r\n\r\n  " + b + " \r\n\r\n", "a b"},
		"a byte order mark":              {mark + a + "\n" + b, "a b"},
		"joined files with marks":        {mark + a + "\n" + mark + b, "a b"},
		"a Bundle on one line":           {bundle(entry(a), entry(b)), "a b"},
		"a Bundle a line":                {bundle(entry(a)) + "\n" + bundle(entry(b), entry(c)) + "\r\n" + bundle(), "a b c"},
		"a printed Bundle":               {pretty, "a b"},
		"printed Bundles one by one":     {mark + pretty + mark + pretty, "a b a b"},
		"Bundles and lines":              {a + "\n" + bundle(entry(b)) + "\n" + c, "a b c"},
		"a Bundle with its keys in turn": {`{"entry":[` + entry(a) + `],"id":"x","resourceType":"Bundle","type":"collection"}`, "a"},
		"a long head of a Bundle":        {`{"resourceType":"Bundle","signature":"` + strings.Repeat("x", 1<<20) + `","entry":[` + entry(a) + `],"type":"searchset"}`, "a"},
		"what the search included":       {bundle(entry(`{"resourceType":"Organization","id":"9"}`), entry(a)), "a"},
		"a printed Patient":              {"{\n \"resourceType\":\"Patient\",\n \"id\":\"a\"\n}\n" + b, "a b"},
		"brackets and escapes in text":   {bundle(entry(`{"resourceType":"Patient","id":"a","x":"}]\"\\"}`), entry(b)), "a b"},
	} {
		for _, file := range []string{c.file, zipped(t, c.file), zipped(t, c.file[:9]) + zipped(t, c.file[9:])} {
			ids, bad, _, err := load(t, strings.NewReader(file))
			if got := strings.Join(ids, " "); err != nil || got != c.ids || len(bad) > 0 {
				t.Errorf("%s: %q, bad %v, %v", name, got, bad, err)
			}
		}
	}
}

// What cannot be read is told with its place, and what stands around it is
// imported.
func TestImportLosesNothingAroundWhatIsBad(t *testing.T) {
	t.Parallel()
	a, b, c := patient("a"), patient("b"), patient("c")
	huge := `{"resourceType":"Patient","id":"h","x":"` + strings.Repeat("x", 9<<20) + `"}`
	for name, c := range map[string]struct{ file, ids, bad string }{
		"a broken line":              {a + "\n{broken\n" + b, "a b", "2 "},
		"a line that is cut off":     {a + "\n" + `{"resourceType":"Patient","id":"x"` + "\n" + b, "a b", "2 "},
		"the last line is cut off":   {a + "\n" + b[:9], "a", "2 "},
		"a Bundle that is cut off":   {strings.TrimSuffix(bundle(entry(a)), "]}") + "\n" + bundle(entry(b)) + "\n" + c, "a b c", "2 what began in line 1 breaks off"},
		"cut off in an entry":        {a + "\n" + strings.TrimSuffix(bundle(entry(c)), "}]}") + "\n" + bundle(entry(b)), "a b", "3 what began in line 2 breaks off"},
		"cut off in a text":          {bundle(entry(a), entry(b))[:140] + "\n" + c, "a c", "1 what began in line 1 breaks off"},
		"a brace alone":              {"{\n" + a + "\n" + b, "a b", "2 what began in line 1"},
		"a file that ends too early": {bundle(entry(a), entry(b))[:130], "a", "1 what began in line 1 breaks off: the file ends in it"},
		"a huge line":                {a + "\n" + huge + "\n" + b, "a b", "2 longer than"},
		"a huge entry":               {bundle(entry(a), entry(huge), entry(b)), "a b", "1 entry 2 of the Bundle: longer than"},
		"a Bundle within a Bundle":   {bundle(entry(a), entry(bundle(entry(c))), entry(b)), "a b", "1 entry 2 of the Bundle: a Bundle within a Bundle"},
		"an entry of another type":   {bundle(entry(a), `"text"`, entry(b)), "a b", "1 entry 2 of the Bundle: an entry that holds no resource"},
		"an entry without resource":  {bundle(entry(a), `{"fullUrl":"x"}`, entry(b)), "a b", "1 entry 2"},
		"a number where text is due": {bundle(entry(a), entry(`{"resourceType":"Patient","id":5}`), entry(b)), "a b", "1 entry 2 of the Bundle: its id is no FHIR id"},
		"an entry that is no JSON":   {bundle(entry(a), entry(`{"resourceType":"Patient","id":nul}`), entry(b)), "a b", "1 entry 2"},
		"entries that are no list":   {`{"resourceType":"Bundle","type":"searchset","entry":{"resource":` + a + `}}` + "\n" + b, "b", "1 a Bundle whose entry is no list"},
		"a deep entry":               {bundle(entry(a), entry(`{"resourceType":"Patient","x":`+strings.Repeat("[", 105)+strings.Repeat("]", 105)+`}`), entry(b)), "a b", "1 entry 2"},
		"an endless depth":           {`{"resourceType":"Bundle","entry":` + strings.Repeat("[", 1<<20) + "\n" + a, "a", "1 what began in line 1 breaks off: nested too deeply"},
		"a history":                  {`{"resourceType":"Bundle","type":"history","entry":[` + entry(a) + `]}` + "\n" + b, "b", "1 a Bundle that is neither"},
		"an outcome":                 {a + "\n" + `{"resourceType":"OperationOutcome"}`, "a", "2 "},
	} {
		for _, file := range []string{c.file, zipped(t, c.file)} {
			ids, bad, _, err := load(t, strings.NewReader(file))
			if got := strings.Join(ids, " "); err != nil || got != c.ids || len(bad) != 1 || !strings.HasPrefix(bad[0], c.bad) {
				t.Errorf("%s: %q, bad %v, %v", name, got, bad, err)
			}
		}
	}
}

func TestImportStopsAndSaysWhatTheFileIs(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"<patient><name/></patient>":                   "XML",
		`<Bundle xmlns="http://hl7.org/fhir">`:         "FHIR in XML",
		"<!DOCTYPE html>":                              "web page",
		"17;Hong;Gildong;1990-05-01":                   "table (CSV)",
		"MSH|^~\\&|EMR|A|B|C|20260101||ADT^A08|1|P":    "HL7 version 2",
		"Dear colleague":                               "text that is no JSON",
		`{"resourceType":"Observation","id":"x"}`:      "the type Observation",
		`{"name":"Hong"}`:                              "JSON, but not FHIR Patients",
		`[{"resourceType":"Patient","id":"x"}]`:        "JSON array",
		`{"resourceType":"Patient","id":"Hong Gil"}`:   "Patients that are damaged",
		`{"resourceType":"Bundle","type":"batch"}`:     "the type Bundle",
		bundle(strings.Repeat(`{},`, 30) + entry(`1`)): "the type Bundle",
	} {
		ids, bad, _, err := load(t, strings.NewReader(strings.Repeat(line+"\n", 60)))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "stopped in line") || len(bad) != 20 || len(ids) > 0 || strings.Contains(err.Error(), "Hong") {
			t.Errorf("%s: %d patients, %d bad, %v", line, len(ids), len(bad), err)
		}
		if _, _, _, err := load(t, strings.NewReader(line)); err == nil || !strings.Contains(err.Error(), want) && !strings.HasPrefix(line, "{\"resourceType\":\"Bundle\",\"type\":\"search") {
			t.Errorf("%s alone: %v", line, err)
		}
	}
	// The patients before it are in the cache.
	ids, bad, _, err := load(t, strings.NewReader(patient("a")+"\n"+strings.Repeat("x\n", 60)+patient("b")))
	if !slices.Equal(ids, []string{"a"}) || len(bad) != 20 || err == nil {
		t.Errorf("%v, %d bad, %v", ids, len(bad), err)
	}
	// Bad lines among good ones, or of several kinds, are no other file.
	mixed := strings.Repeat(patient("a")+"\n{broken\n", 60)
	if ids, bad, _, err := load(t, strings.NewReader(mixed)); len(ids) != 60 || len(bad) != 60 || err != nil {
		t.Errorf("%d patients, %d bad, %v", len(ids), len(bad), err)
	}
	kinds := strings.Repeat("{broken\n", 15) + strings.Repeat(`{"resourceType":"Observation"}`+"\n", 15) + patient("a")
	if ids, bad, _, err := load(t, strings.NewReader(kinds)); len(ids) != 1 || len(bad) != 30 || err != nil {
		t.Errorf("%d patients, %d bad, %v", len(ids), len(bad), err)
	}
}

func TestImportRefusesWhatHasNoLines(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"": "empty", "\r\n \n": "empty", mark: "empty", zipped(t, ""): "empty",
		"PK\x03\x04xxxx": "zip", "BZh9": "bzip2", "\xff\xfe{\x00": "UTF-16", "{\x00\"\x00": "UTF-16",
		zipped(t, zipped(t, patient("a"))): "gzip within gzip", "\x1f\x8bxx": "damaged", "\x1f\x8b": "damaged",
	} {
		if ids, _, _, err := load(t, strings.NewReader(file)); err == nil || !strings.Contains(err.Error(), want) || len(ids) > 0 {
			t.Errorf("%q: %v, %v", file, ids, err)
		}
	}
}

// A file that breaks off was good until then.
func TestImportKeepsWhatItReadBeforeAFailure(t *testing.T) {
	t.Parallel()
	var lines, entries []string
	for k := range 2000 {
		p := `{"resourceType":"Patient","id":"` + fmt.Sprint(k*7919%2000, "-", k*k) + `"}`
		lines, entries = append(lines, strings.ReplaceAll(p, " ", "")), append(entries, entry(strings.ReplaceAll(p, " ", "")))
	}
	for name, text := range map[string]string{"lines": strings.Join(lines, "\n"), "Bundle": bundle(entries...)} {
		whole := zipped(t, text)
		ids, bad, _, err := load(t, strings.NewReader(whole[:len(whole)/2]))
		if len(ids) < 500 || len(ids) == 2000 || len(bad) > 0 || err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("%s: %d patients, bad %v, %v", name, len(ids), bad, err)
		}
	}
	broken := errors.New("the disk is gone")
	ids, _, _, err := load(t, io.MultiReader(strings.NewReader(patient("a")+"\n"), failing{broken}))
	if len(ids) != 1 || !errors.Is(err, broken) {
		t.Errorf("%v, %v", ids, err)
	}
	s := &store{fail: broken}
	if err := mirror.NewImport(s, mirror.ImportOptions{Now: time.Now}).Read(t.Context(), "file", strings.NewReader(patient("a"))); !errors.Is(err, broken) || len(s.ids) != 1 {
		t.Errorf("%v, tried %v", err, s.ids)
	}
}

// A file is read on while a batch is stored. What follows one that could not be stored is
// not tried.
func TestImportReadsAhead(t *testing.T) {
	t.Parallel()
	const lines = 12_500 // more than two batches
	text := strings.Repeat(patient("a")+"\n", lines)
	s := &slow{read: make(chan struct{})}
	i := mirror.NewImport(s, mirror.ImportOptions{Now: time.Now})
	if err := i.Read(t.Context(), "file", io.MultiReader(strings.NewReader(text), s)); err != nil || s.waited || i.Result.Inserted != lines {
		t.Errorf("read no further: %v; %+v, %v", s.waited, i.Result, err)
	}
	broken := errors.New("the disk is full")
	failed := &store{fail: broken}
	err := quiet(failed).Read(t.Context(), "file", strings.NewReader(text))
	if n := len(failed.ids); !errors.Is(err, broken) || n == 0 || n == lines || !strings.Contains(err.Error(), fmt.Sprintf("lines 1 to %d:", n)) {
		t.Errorf("%d patients tried: %v", n, err)
	}
}

// slow is a store whose second batch waits until the file was read to its end, and that end.
type slow struct {
	store
	batches int
	read    chan struct{}
	once    sync.Once
	waited  bool // in vain
}

func (s *slow) Read([]byte) (int, error) {
	s.once.Do(func() { close(s.read) })
	return 0, io.EOF
}

func (s *slow) ImportPatients(ctx context.Context, batch []db.NewPatient, at time.Time) ([]db.ImportOutcome, error) {
	if s.batches++; s.batches == 2 {
		select {
		case <-s.read:
		case <-time.After(20 * time.Second):
			s.waited = true
		}
	}
	return s.store.ImportPatients(ctx, batch, at)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// endless repeats a text a number of times, after a head and before a tail.
func endless(head, text string, times int, tail string) io.Reader {
	readers := []io.Reader{strings.NewReader(head)}
	for range times {
		readers = append(readers, strings.NewReader(text))
	}
	return io.MultiReader(append(readers, strings.NewReader(tail))...)
}

// Neither a Bundle of any size nor what it skips is held in memory.
func TestImportInBoundedMemory(t *testing.T) {
	var before, after runtime.MemStats
	filler := strings.Repeat(" ", 1<<10)
	e := entry(patient("a"))
	head := `{"resourceType":"Bundle","type":"collection","entry":[` + e
	for name, file := range map[string]io.Reader{
		"many entries": endless(head, ","+filler+e, 50_000, "]}"),
		"a huge value": endless(head+`],"x":"`, strings.Repeat("y", 1<<20), 50, `"}`),
		"a huge entry": endless(head+`,{"x":"`, strings.Repeat("y", 1<<20), 50, `"}]}`),
		"a huge line":  endless(patient("a")+"\n", strings.Repeat("y", 1<<20), 50, ""),
	} {
		runtime.GC()
		runtime.ReadMemStats(&before)
		peak := uint64(0)
		s := &counting{peak: &peak, Reader: file}
		err := quiet(&store{}).Read(t.Context(), "file", s)
		runtime.ReadMemStats(&after)
		if grown := int64(peak) - int64(before.HeapAlloc); err != nil || grown > 48<<20 {
			t.Errorf("%s: %d MiB, %v", name, grown>>20, err)
		}
	}
}

// counting looks at the heap at every sixteenth read.
type counting struct {
	io.Reader
	reads int
	peak  *uint64
}

func (c *counting) Read(p []byte) (int, error) {
	if c.reads++; c.reads%16 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		*c.peak = max(*c.peak, m.HeapAlloc)
	}
	return c.Reader.Read(p)
}

// FuzzImport: whatever a file holds, import ends, and one good line before it is
// never lost.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{"", "{\n", bundle(entry(patient("a"))), `{"entry":[[`, "{\"a\":\n{\"", mark + "<x>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		s := &store{}
		_ = quiet(s).Read(t.Context(), "file", strings.NewReader(patient("first")+"\n"+rest))
		if len(s.ids) == 0 || s.ids[0] != "first" {
			t.Errorf("%q: %v", rest, s.ids)
		}
	})
}
