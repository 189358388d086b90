package fhir

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
)

// maxDownload bounds one try to fetch a file. What stands still is given up long before.
const maxDownload = 24 * time.Hour

var (
	errLongLine = errors.New("longer than an answer may be")
	errPage     = errors.New("the server answered with XML or an HTML page, perhaps to log in")
	errChanged  = errors.New("the file is another one than before")
	errFewer    = errors.New("the file holds fewer resources than the manifest says")
	errReader   = errors.New("whoever reads the file wants no more of it")
)

// exportFile is a file of an export.
type exportFile struct {
	url       *url.URL
	withToken bool  // it is asked for with our credentials
	elsewhere bool  // it is not below FHIR_BASE_URL
	count     int64 // resources in it, as the manifest says; 0: it does not
}

// Patients yields the patients, as Search does: in the place of one that is no whole
// Patient an error with the cause BadEntry, and any other error ends it. A file that
// breaks off is fetched again, and read on from where it broke off.
func (e *Export) Patients(ctx context.Context) iter.Seq2[Resource, error] {
	profile := e.by.chooser.current()
	return func(yield func(Resource, error) bool) {
		for line, err := range e.by.lines(ctx, e.patients) {
			r := Resource{}
			if err == nil {
				var doc gjson.Result
				if doc, err = parsePatient(line.text); err == nil && checkID(OpExport, str(doc, "id")) != nil {
					err = errOtherID
				}
				if err != nil {
					err = line.bad(err)
				} else {
					r = profile.show(Resource{ID: str(doc, "id"), JSON: line.text})
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Deleted yields the FHIR ids of the patients that the server says it has deleted. Errors
// are as those of Patients.
func (e *Export) Deleted(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for doc, err := range e.by.objects(ctx, e.deleted) {
			if err != nil && !yield("", err) {
				return
			}
			for _, entry := range elements(member(doc, "entry")) {
				asked := member(entry, "request")
				if str(asked, "method") != http.MethodDelete {
					continue
				}
				id := LocalID(referredPatient(str(asked, "url")), e.by.base.String())
				if id != "" && !yield(id, nil) {
					return
				}
			}
		}
	}
}

// objects yields the lines of files, each a JSON object.
func (x *exporter) objects(ctx context.Context, files []exportFile) iter.Seq2[gjson.Result, error] {
	return func(yield func(gjson.Result, error) bool) {
		for line, err := range x.lines(ctx, files) {
			var doc gjson.Result
			if err == nil {
				if err = jsonlimit.Check(line.text, maxDepth, maxValues); err == nil {
					doc, err = parseObject(line.text)
				}
				if err != nil {
					doc, err = gjson.Result{}, line.bad(err)
				}
			}
			if !yield(doc, err) {
				return
			}
		}
	}
}

// exportLine is a line of a file, both counted from 1.
type exportLine struct {
	file, line int
	text       []byte
}

// bad says why a line cannot be used.
func (l exportLine) bad(err error) *Error {
	e := unusableExport(http.StatusOK, fmt.Sprintf("Line %d of file %d of the export is unusable: %v", l.line, l.file, err), err)
	e.Cause = BadEntry
	return e
}

// lines yields the lines of files that are not blank, and goes on after one that is too
// long.
func (x *exporter) lines(ctx context.Context, files []exportFile) iter.Seq2[exportLine, error] {
	return func(yield func(exportLine, error) bool) {
		for n, f := range files {
			if !x.linesOf(ctx, f, exportLine{file: n + 1}, yield) {
				return
			}
		}
	}
}

func (x *exporter) linesOf(ctx context.Context, f exportFile, at exportLine, yield func(exportLine, error) bool) (more bool) {
	file := x.open(ctx, f)
	defer file.Close()
	r := bufio.NewReaderSize(file, 64<<10)
	for {
		at.line++
		text, err := readLine(r, int(x.maxBody))
		ends := errors.Is(err, io.EOF)
		at.text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
		switch {
		case errors.Is(err, errLongLine):
			more = yield(exportLine{}, at.bad(err))
		case err != nil && !ends:
			yield(exportLine{}, err)
			return false
		case len(at.text) > 0:
			more = yield(at, nil)
		default:
			more = true
		}
		if !more || ends {
			return more
		}
	}
}

// readLine reads a line that its caller may keep; the last one comes with io.EOF. Of one
// that is too long it keeps nothing.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if long = long || len(line)+len(part) > limit; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case long && err == nil:
			return nil, errLongLine
		default:
			return line, err
		}
	}
}

// open begins to fetch a file.
func (x *exporter) open(ctx context.Context, f exportFile) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(x.download(ctx, f, &delivered{to: w})) // nil is io.EOF
	}()
	return &opened{r, cancel}
}

type opened struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close ends the download.
func (o *opened) Close() error {
	o.cancel()
	return o.PipeReader.Close()
}

// download fetches a file, and tries again where it broke off.
func (x *exporter) download(ctx context.Context, f exportFile, to *delivered) error {
	client := *x.Client
	if !f.withToken {
		client.credentials = fixed("")
	}
	if f.elsewhere {
		transport, err := x.transportTo(f.url)
		if err != nil {
			return unusableExport(0, "FHIR_CA_FILE cannot be used", err)
		}
		client.transport = transport
	}
	var again waiting
	for {
		a := client.fetch(ctx, f, to)
		if a.status == http.StatusOK && a.err == nil {
			return nil
		}
		final := slices.ContainsFunc([]error{errReader, errChanged, errFewer, errPage, errLocal}, func(err error) bool { return errors.Is(a.err, err) })
		if final || !a.mayPass() || again.tries == maxExportTries-1 || ctx.Err() != nil {
			return fileError(a, f)
		}
		again.tries++
		if err := x.wait(ctx, &again, a); err != nil {
			return err
		}
	}
}

// fetch asks for a file once. It is given up where nothing comes for a while.
func (c *Client) fetch(ctx context.Context, f exportFile, to *delivered) answer {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := exportPatience * c.timeout
	stalled := time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	defer stalled.Stop()
	return c.exchange(ctx, request{
		op: OpExport, method: http.MethodGet, url: f.url.String(), header: http.Header{"Accept": {"application/fhir+ndjson"}},
		timeout: maxDownload, compressed: true,
		stream: func(body io.Reader) error {
			unpacked, err := unpack(&watched{body, stalled, limit})
			if err != nil {
				return err
			}
			if err := to.resume(unpacked); err != nil {
				return err
			}
			if _, err := io.Copy(to, unpacked); err != nil {
				return err
			}
			if to.resources() < f.count {
				return errFewer
			}
			return nil
		},
	})
}

// watched gives up when a read takes too long; how long its reader takes does not count.
type watched struct {
	io.Reader
	timer *time.Timer
	limit time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.limit)
	defer w.timer.Stop()
	return w.Reader.Read(p)
}

// unpack unpacks a file that is packed by itself, not for the transfer.
func unpack(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, _ := buffered.Peek(2) // an error comes again with the first read
	switch {
	case string(head) == "\x1f\x8b":
		return gzip.NewReader(buffered)
	case len(head) > 0 && head[0] == '<':
		return nil, errPage
	}
	return buffered, nil
}

// delivered remembers what was passed on of a file, to go on after it: the file is to
// begin with the same bytes.
type delivered struct {
	to    io.Writer
	bytes int64
	hash  maphash.Hash
	lines int64
	begun bool // something but blanks stands in the last line
}

func (d *delivered) Write(p []byte) (int, error) {
	n, err := d.to.Write(p)
	d.bytes += int64(n)
	_, _ = d.hash.Write(p[:n]) // it never fails
	for _, b := range p[:n] {
		switch {
		case b == '\n' && d.begun:
			d.lines, d.begun = d.lines+1, false
		case b > ' ':
			d.begun = true
		}
	}
	if err != nil {
		err = errReader
	}
	return n, err
}

func (d *delivered) resources() int64 {
	if d.begun {
		return d.lines + 1
	}
	return d.lines
}

// resume passes over what was passed on already.
func (d *delivered) resume(r io.Reader) error {
	var again maphash.Hash
	again.SetSeed(d.hash.Seed())
	_, err := io.CopyN(&again, r, d.bytes)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && again.Sum64() != d.hash.Sum64() {
		err = errChanged
	}
	return err
}

// fileError says why a file cannot be had.
func fileError(a answer, f exportFile) *Error {
	e := exportError(a.failure())
	switch {
	case errors.Is(a.err, errChanged), errors.Is(a.err, errFewer), errors.Is(a.err, errPage):
		e.Kind, e.Reason = Unusable, a.err.Error()
	case errors.Is(a.err, errLocal):
		e.Reason = "its host's name leads to " + errLocal.Error()
	case a.status == http.StatusNotFound, a.status == http.StatusGone:
		e.Reason = fmt.Sprintf("it is no longer there (status %d)", a.status)
	case (e.Kind == AuthFailed || e.Kind == Forbidden) && !f.withToken:
		e.Reason += "; it was asked for without our credentials, as the manifest says (requiresAccessToken)"
	}
	e.Reason = "A file of the export cannot be had: " + e.Reason + "; run sync --bulk again, or sync without --bulk"
	e.Err = nil // an end within the answer is none within what the file holds
	return e
}
