// Package recordings has what real servers answered, for tests. The product does not
// import it.
package recordings

import (
	"bufio"
	"compress/gzip"
	"embed"
	"encoding/json"
	"net/http"
	"path"
	"strings"
	"testing"
)

//go:embed openemr openemr-puts hapi hapi-others
var files embed.FS

// Recording is a request to a real server with its answer.
type Recording struct {
	Name    string
	Request struct {
		Method, Path string
		Headers      map[string]string
		Body         string // HAPI's were recorded without
	}
	Response struct {
		Status  int
		Headers Headers
		Body    string
	}
}

// Headers were recorded as pairs (OpenEMR) or as an object (HAPI).
type Headers http.Header

// UnmarshalJSON implements json.Unmarshaler.
func (h *Headers) UnmarshalJSON(text []byte) error {
	all := http.Header{}
	var pairs [][2]string
	if json.Unmarshal(text, &pairs) != nil {
		var object map[string]string
		if err := json.Unmarshal(text, &object); err != nil {
			return err
		}
		for name, value := range object {
			pairs = append(pairs, [2]string{name, value})
		}
	}
	for _, pair := range pairs {
		all.Add(pair[0], pair[1])
	}
	*h = Headers(all)
	return nil
}

// Of returns those of a server: openemr, hapi, or hapi-others, which our client does
// not ask for.
func Of(t testing.TB, server string) (all []Recording) {
	t.Helper()
	entries, err := files.ReadDir(server)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		r := Recording{Name: strings.TrimSuffix(entry.Name(), ".json")}
		text, err := files.ReadFile(path.Join(server, entry.Name()))
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			t.Fatalf("%s: %v", entry.Name(), err)
		}
		all = append(all, r)
	}
	return all
}

// PUT was sent to a real OpenEMR, which answered so and changed these columns; see
// openemr-puts/README.md.
type PUT struct {
	Name        string            `json:"name"`
	Path        string            `json:"path"`
	Headers     map[string]string `json:"headers"`
	ContentType string            `json:"contentType"`
	Body        string            `json:"body"`
	Before      map[string]string `json:"before"`
	Status      int               `json:"status"`
	AnswerType  string            `json:"answerType"`
	Answer      string            `json:"answer"`
	Changed     map[string]string `json:"changed"`
	Touched     bool              `json:"touched"`
}

// PUTs returns those to an OpenEMR of a version, and the patient's columns before each.
func PUTs(t testing.TB, version string) (row map[string]string, all []PUT) {
	t.Helper()
	file, err := files.Open(path.Join("openemr-puts", version+".ndjson.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(unzipped)
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		var line struct {
			Row map[string]string `json:"row"` // of the first line alone
			PUT
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		if line.Row != nil {
			row = line.Row
			continue
		}
		all = append(all, line.PUT)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return row, all
}
