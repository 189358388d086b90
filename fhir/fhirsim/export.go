package fhirsim

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Fault.On of the requests of an export.
const (
	OnExport       = "EXPORT" // the kick-off
	OnExportStatus = "EXPORT STATUS"
	OnExportCancel = "EXPORT CANCEL"
	OnExportFile   = "EXPORT FILE"
)

// Export is how a server offers Bulk Data exports ($export). The zero value is as HAPI
// does it, but that an export is finished at once.
type Export struct {
	SystemOnly bool   // there is $export, and no Patient/$export
	Polls      int    // how often it says that it is not finished yet
	RetryAfter string // header of these answers
	Progress   string // the same: X-Progress
	PerFile    int    // patients in one file; 0: 1000
	Gzip       bool   // the files are gzip files
	Open       bool   // requiresAccessToken is false: whoever knows its address gets a file
	StatusBase string // what the server takes for its base in Content-Location; "": it knows
	FileBase   string // the same in the manifest
	Deleted    bool   // the manifest lists whom the server has deleted
	Errors     string // file of errors: OperationOutcomes, one a line; "": none
	Manifest   func(manifest map[string]any)
}

// exports are those under way or finished. A nil offer: there is no $export.
type exports struct {
	mu    sync.Mutex
	offer *Export
	jobs  map[string]*exportJob
	files map[string][]byte
}

type exportJob struct {
	polls    int
	manifest map[string]any
	files    []string
}

// OfferExport has the server offer exports. OpenEMR's habits have none here.
func (s *Server) OfferExport(e Export) {
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	s.exports.offer, s.exports.jobs, s.exports.files = &e, map[string]*exportJob{}, map[string][]byte{}
}

// Exports is how many exports the server keeps: begun, and neither cancelled nor deleted.
func (s *Server) Exports() int {
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	return len(s.exports.jobs)
}

// ExpireExports has the server forget all exports and their files.
func (s *Server) ExpireExports() {
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	clear(s.exports.jobs)
	clear(s.exports.files)
}

// exportRoute finds what answers a request of an export; nil: it is none.
func (s *Server) exportRoute(c *call, parts []string) handler {
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	offer, path := s.exports.offer, strings.Join(parts, "/")
	if offer == nil {
		return nil
	}
	authorized := s.bearer == "" || c.Header.Get("Authorization") == "Bearer "+s.bearer
	var answers handler
	switch {
	case c.Method == http.MethodGet && (path == "$export" || path == "Patient/$export" && !offer.SystemOnly):
		c.export, answers = OnExport, s.beginExport
	case c.Method == http.MethodGet && path == "$export-poll-status":
		c.export, answers = OnExportStatus, s.exportStatus
	case c.Method == http.MethodDelete && path == "$export-poll-status":
		c.export, answers = OnExportCancel, s.cancelExport
	case c.Method == http.MethodGet && parts[0] == "Binary" && len(parts) == 2:
		c.export, answers = OnExportFile, s.exportFile
		authorized = authorized || offer.Open
	default:
		return nil
	}
	if !authorized {
		return nil // as any other request
	}
	return answers
}

// beginExport takes down what is there now.
func (s *Server) beginExport(c *call, _ *Fault) answer {
	if !strings.Contains(c.Header.Get("Prefer"), "respond-async") {
		return s.problem(problem{status: http.StatusBadRequest, hapi: "HAPI-0513", text: "Must request async processing for $export"})
	}
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	offer := s.exports.offer
	job := &exportJob{}
	base := offer.FileBase
	if base == "" {
		base = c.base
	}
	file := func(kind string, lines [][]byte) map[string]any {
		text := append(bytes.Join(lines, []byte("\n")), '\n')
		if offer.Gzip {
			text = zipped(text)
		}
		id := uuid.NewString()
		s.exports.files[id] = text
		job.files = append(job.files, id)
		return map[string]any{"type": kind, "url": base + "/Binary/" + id, "count": len(lines)}
	}
	living, gone := s.stock()
	output, deleted, failed := []any{}, []any{}, []any{}
	perFile := offer.PerFile
	if perFile == 0 {
		perFile = 1000
	}
	for len(living) > 0 {
		n := min(perFile, len(living))
		output = append(output, file("Patient", living[:n]))
		living = living[n:]
	}
	if offer.Deleted && len(gone) > 0 {
		deleted = append(deleted, file("Bundle", gone))
	}
	if offer.Errors != "" {
		failed = append(failed, file("OperationOutcome", [][]byte{[]byte(offer.Errors)}))
	}
	job.manifest = map[string]any{
		"transactionTime": s.now().UTC().Format(time.RFC3339Nano), "request": c.base + strings.TrimPrefix(c.Path, prefix) + question(c.Query),
		"requiresAccessToken": !offer.Open, "output": output, "deleted": deleted, "error": failed,
	}
	if offer.Manifest != nil {
		offer.Manifest(job.manifest)
	}
	id := uuid.NewString()
	s.exports.jobs[id] = job
	base = offer.StatusBase
	if base == "" {
		base = c.base
	}
	return answer{status: http.StatusAccepted, header: http.Header{"Content-Location": {base + "/$export-poll-status?_jobId=" + id}}}
}

// stock is every living patient, and a Bundle for each that was deleted.
func (s *Server) stock() (living, gone [][]byte) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	for _, rec := range s.store.order {
		if rec.alive() {
			living = append(living, bytes.ReplaceAll(rec.current().body, []byte("\n"), nil))
			continue
		}
		gone = append(gone, encode(map[string]any{"resourceType": "Bundle", "type": "transaction", "entry": []any{
			map[string]any{"request": map[string]string{"method": http.MethodDelete, "url": "Patient/" + rec.id}},
		}}))
	}
	return living, gone
}

func zipped(text []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(text) // a Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// job finds what a status address names; nil: nothing. The lock is held.
func (e *exports) job(c *call) (id string, job *exportJob) {
	params, _ := url.ParseQuery(c.Query) // what cannot be read names nothing
	id = params.Get("_jobId")
	return id, e.jobs[id]
}

func (s *Server) unknownExport() answer {
	return s.problem(problem{status: http.StatusNotFound, hapi: "HAPI-2040", text: "Unknown job"})
}

func (s *Server) exportStatus(c *call, _ *Fault) answer {
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	_, job := s.exports.job(c)
	if job == nil {
		return s.unknownExport()
	}
	if job.polls++; job.polls > s.exports.offer.Polls {
		return answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: encode(job.manifest)}
	}
	header := http.Header{}
	for name, value := range map[string]string{"Retry-After": s.exports.offer.RetryAfter, "X-Progress": s.exports.offer.Progress} {
		if value != "" {
			header.Set(name, value)
		}
	}
	return answer{status: http.StatusAccepted, header: header}
}

func (s *Server) cancelExport(c *call, _ *Fault) answer {
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	id, job := s.exports.job(c)
	if job == nil {
		return s.unknownExport()
	}
	for _, file := range job.files {
		delete(s.exports.files, file)
	}
	delete(s.exports.jobs, id)
	return answer{status: http.StatusAccepted, header: http.Header{}}
}

func (s *Server) exportFile(c *call, _ *Fault) answer {
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	text, found := s.exports.files[strings.TrimPrefix(c.Path, prefix+"/Binary/")]
	if !found {
		return s.problem(*s.unknown(http.StatusNotFound, "Binary"))
	}
	return answer{status: http.StatusOK, body: text, header: http.Header{
		"Content-Type": {"application/fhir+ndjson"}, "Content-Length": {strconv.Itoa(len(text))},
	}}
}
