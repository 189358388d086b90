// Package web serves GraphiQL, a page to explore the GraphQL API with, from
// files inside the binary: the page loads nothing from any other server. It
// must not know the schema; the page reads it by introspection.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// Page says what the page shows when it opens.
type Page struct {
	// BasePath is what stands before every path of this server as browsers
	// see it, without a slash at its end. The handler is asked without it.
	BasePath string
	// Endpoint is the path that operations are posted to, "/graphql" below
	// BasePath if empty. It must be on this server.
	Endpoint string
	// Token is sent as "Authorization: Bearer …". The page holds it
	// readable for everybody who can load the page, so set it in the demo
	// only. Empty: the header is there for the user to fill in.
	Token string
	// SignIns are the demo's roles, each with a token that everybody who can
	// load the page may read; empty outside the demo.
	SignIns []SignIn
	// Headers are further request headers, such as Accept-Language.
	Headers map[string]string
	// Query and Variables (a JSON object) are the first tab, if Query is
	// not empty.
	Query, Variables string
	// Examples are further tabs, in this order.
	Examples []Example
}

// SignIn is a role of the demo and the token of somebody who has it.
type SignIn struct {
	Role    string `json:"role"`              // as in the token
	Patient string `json:"patient,omitempty"` // whose record it is, where the role is patient
	Token   string `json:"token"`
}

// Example is an operation to try, in its own tab. GraphiQL names the tab by
// the name of the operation, so give it one.
type Example struct {
	Title     string // first comment line above the query
	Note      string // comment lines below the title; may have several lines
	Query     string
	Variables string // a JSON object, or empty
}

// config is what page.js reads.
type config struct {
	Endpoint string            `json:"endpoint"`
	Headers  map[string]string `json:"headers"`
	Tabs     []tab             `json:"tabs"`
}

type tab struct {
	Query     string `json:"query"`
	Variables string `json:"variables"`
}

// Headers of every answer. The policy lets the page load and ask this server
// alone; style-src has 'unsafe-inline' because GraphiQL's dialogs add a style
// element when they open, and font-src data: because its stylesheet holds its
// fonts.
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; " +
		"font-src data:; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	"X-Content-Type-Options": "nosniff",
	"X-Frame-Options":        "DENY",
	"Referrer-Policy":        "no-referrer",
}

// contentTypes are the files that are served; the system's own table of types
// may say something else or nothing.
var contentTypes = map[string]string{
	".js":  "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".txt": "text/plain; charset=utf-8",
}

type file struct {
	content     []byte
	contentType string
	etag        string
}

// Handler serves the page at / and its files below /static/; everything else
// is 404. It fails if the page's settings cannot work.
func Handler(p Page) (http.Handler, error) {
	index, err := render(p)
	if err != nil {
		return nil, fmt.Errorf("render GraphiQL page: %w", err)
	}
	files, err := staticFiles()
	if err != nil {
		return nil, fmt.Errorf("read static files: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range securityHeaders {
			w.Header().Set(name, value)
		}
		f, ok := files[r.URL.Path]
		if !ok && r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		if r.URL.Path == "/" {
			// It may hold a token.
			w.Header().Set("Cache-Control", "no-store")
			f = file{content: index, contentType: "text/html; charset=utf-8"}
		} else {
			// The names stay the same when the files change.
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("ETag", f.etag)
		}
		w.Header().Set("Content-Type", f.contentType)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	}), nil
}

func render(p Page) ([]byte, error) {
	c, err := p.config()
	if err != nil {
		return nil, err
	}
	page, err := template.ParseFS(static, "static/index.html")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, struct {
		BasePath string
		Config   config
	}{p.BasePath, c}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (p Page) config() (config, error) {
	c := config{Endpoint: p.Endpoint, Headers: map[string]string{"Authorization": "Bearer " + p.Token}}
	if c.Endpoint == "" {
		c.Endpoint = p.BasePath + "/graphql"
	}
	// The policy stops the browser from asking another server.
	if !strings.HasPrefix(c.Endpoint, "/") || strings.HasPrefix(c.Endpoint, "//") {
		return config{}, errors.New("the endpoint must be a path on this server")
	}
	for name, value := range p.Headers {
		c.Headers[name] = value
	}
	if p.Query != "" {
		c.Tabs = append(c.Tabs, tab{Query: p.Query, Variables: p.Variables})
	}
	for _, e := range p.Examples {
		c.Tabs = append(c.Tabs, tab{Query: e.text(), Variables: e.Variables})
	}
	if c.Tabs == nil {
		c.Tabs = []tab{{}}
	}
	return c, nil
}

// text puts title and note above the query as comments.
func (e Example) text() string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(e.Title + "\n" + e.Note)) {
		b.WriteString(strings.TrimSpace("# "+strings.TrimSpace(line)) + "\n")
	}
	b.WriteString(strings.TrimSpace(e.Query) + "\n")
	return b.String()
}

// staticFiles returns the embedded files by URL path.
func staticFiles() (map[string]file, error) {
	files := map[string]file{}
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		contentType, served := contentTypes[path.Ext(name)]
		if !served {
			return nil
		}
		content, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		files["/"+name] = file{content: content, contentType: contentType, etag: fmt.Sprintf(`"%x"`, sum[:16])}
		return nil
	})
	return files, err
}
