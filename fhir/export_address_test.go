package fhir

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"patientgraph/fhir/fhirsim"
)

// Where a file of an export is asked for, and what goes there.
func TestWhereFilesAreFetched(t *testing.T) {
	t.Parallel()
	const base = "https://emr.example/apis/fhir"
	for name, tt := range map[string]struct {
		base, status, file string
		withToken, rewrite bool
		want               string // "token URL", "open URL", or a part of the error
	}{
		"below the base":                      {base, "", base + "/Binary/7", true, false, "token " + base + "/Binary/7"},
		"relative":                            {base, "", "Binary/7", true, false, "token " + base + "/Binary/7"},
		"open, below the base":                {base, "", base + "/Binary/7", false, false, "open " + base + "/Binary/7"},
		"the default port":                    {base, "", "https://EMR.example:443/apis/fhir/x", true, false, "token https://EMR.example:443/apis/fhir/x"},
		"above the base":                      {base, "", "https://emr.example/files/7", true, false, "our credentials do not go"},
		"around the base":                     {base, "", base + "/../../admin", true, false, "our credentials do not go"},
		"a base that begins alike":            {base, "", "https://emr.example/apis/fhirlike/7", true, false, "our credentials do not go"},
		"another host wants a token":          {base, "", "https://files.example/7", true, false, "https://files.example, where our credentials do not go"},
		"another host":                        {base, "", "https://files.example/7?sig=a%2Fb", false, false, "open https://files.example/7?sig=a%2Fb"},
		"above the base, open":                {base, "", "https://emr.example/files/7", false, false, "open https://emr.example/files/7"},
		"another host without TLS":            {base, "", "http://files.example/7", false, false, "without TLS"},
		"both without TLS":                    {"http://emr.example/fhir", "", "http://files.example/7", false, false, "open http://files.example/7"},
		"a password":                          {base, "", "https://u:secret@files.example/7", false, false, "with a password in the address"},
		"this machine":                        {base, "", "https://127.0.0.1/7", false, false, "only this machine"},
		"this machine by name":                {base, "", "https://LocalHost./7", false, false, "only this machine"},
		"this machine in IPv6":                {base, "", "https://[::1]/7", false, false, "only this machine"},
		"this machine, IPv4 in IPv6":          {base, "", "https://[::ffff:127.8.8.8]/7", false, false, "only this machine"},
		"any address":                         {base, "", "https://0.0.0.0/7", false, false, "only this machine"},
		"cloud metadata":                      {base, "", "https://169.254.169.254/latest", false, false, "only this machine"},
		"the network link":                    {base, "", "https://[fe80::1%25eth0]/7", false, false, "only this machine"},
		"all on this machine":                 {"http://localhost:8080/fhir", "", "http://127.0.0.1:9000/7", false, false, "open http://127.0.0.1:9000/7"},
		"no address":                          {base, "", "ftp://files.example/7", false, false, "no http or https address"},
		"no address at all":                   {base, "", "http://%zz", true, true, "no http or https address"},
		"rewritten":                           {base, "", "http://node-3:9090/fhir/Binary/7", true, true, "token " + base + "/Binary/7"},
		"rewritten, open, of the server":      {"http://emr.example/fhir", "http://node-3:9090/fhir/status", "http://node-3:9090/fhir/Binary/7", false, true, "open http://emr.example/fhir/Binary/7"},
		"not rewritten: of another server":    {"http://emr.example/fhir", "http://node-3:9090/fhir/status", "http://files.example/fhir/Binary/7", false, true, "open http://files.example/fhir/Binary/7"},
		"rewritten: cannot be had otherwise":  {base, "", "http://127.0.0.1:9090/fhir/Binary/7", false, true, "open " + base + "/Binary/7"},
		"rewritten, but to where":             {base, "", "http://node-3:9090/files/7", true, true, "lead away"},
		"not rewritten, for it is not set so": {base, "http://node-3:9090/fhir/status", "http://node-3:9090/fhir/Binary/7", true, false, "FHIR_REWRITE_LINKS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := &exporter{Client: newTestClient(t, tt.base, func(o *Options) { o.RewriteLinks = tt.rewrite })}
			x.status, _ = url.Parse(tt.base + "/status")
			if inside, err := url.Parse(tt.status); err == nil {
				x.inside = inside.Scheme + origin(inside)
			}
			f, err := x.place(tt.file, tt.withToken)
			if err != nil {
				e := asError(t, err, Unusable)
				if !strings.Contains(e.Error(), tt.want) || strings.Contains(e.Error(), "secret") {
					t.Errorf("%v", e)
				}
				return
			}
			got := "open "
			if f.withToken {
				got = "token "
			}
			if got += f.url.String(); got != tt.want {
				t.Errorf("%s", got)
			}
			if f.elsewhere == x.below(f.url) {
				t.Errorf("elsewhere is %v", f.elsewhere)
			}
		})
	}
}

// Files may lie with somebody else, who is not shown who we are.
func TestFilesElsewhereAreFetchedWithoutCredentials(t *testing.T) {
	t.Parallel()
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Authorization"]) > 0 || r.URL.RawQuery != "signature=7" {
			t.Errorf("%s with %v", r.URL, r.Header)
		}
		_, _ = w.Write(patientJSON("elsewhere", ""))
	}))
	t.Cleanup(files.Close)
	withToken := func(o *Options) { o.Auth = Auth{Mode: "bearer", Token: "secret"} }
	offer := fhirsim.Export{Open: true, Manifest: func(m map[string]any) {
		m["output"].([]any)[0].(map[string]any)["url"] = files.URL + "/bucket/7.ndjson?signature=7"
	}}
	x := newExporting(t, 1, offer, fhirsim.Options{Bearer: "secret"}, withToken)
	if ids, err := x.ids(t.Context()); err != nil || strings.Join(ids, " ") != "elsewhere" {
		t.Errorf("%v, %v", ids, err)
	}
	offer.Open = false
	x = newExporting(t, 1, offer, fhirsim.Options{Bearer: "secret"}, withToken)
	if _, err := x.ids(t.Context()); err == nil || !strings.Contains(err.Error(), "our credentials do not go") || x.Exports() != 0 {
		t.Errorf("%v", err)
	}
}

// A host whose name leads to this machine is as bad as its address.
func TestFilesOfANameOfThisMachine(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	files := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	t.Cleanup(files.Close)
	x := &exporter{Client: newTestClient(t, "http://emr.example/fhir", nil)}
	u, err := url.Parse(files.URL)
	if err != nil {
		t.Fatal(err)
	}
	err = x.download(t.Context(), exportFile{url: u, elsewhere: true}, &delivered{})
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Error(), "its host's name leads to an address of this machine") || asked.Load() {
		t.Errorf("%v, asked: %v", err, asked.Load())
	}
}

// A server behind a proxy names its export as it knows itself.
func TestAnExportOfAServerThatNamesItselfOtherwise(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		inside := "http://node-3:9090/fhir"
		x := newExporting(t, 3, fhirsim.Export{StatusBase: inside, FileBase: inside, Open: open}, fhirsim.Options{}, func(o *Options) { o.RewriteLinks = true })
		if ids, err := x.ids(t.Context()); err != nil || len(ids) != 3 || x.Exports() != 0 {
			t.Errorf("%v, %v", ids, err)
		}
	}
}
