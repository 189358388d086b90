// Package web serves GraphiQL, a page to explore the GraphQL API with, from
// files inside the binary: the page loads nothing from any other server. Its
// source is in graphiql/, and build.sh makes static/ of it. The page reads the
// schema from /schema.graphql as soon as the server shows it.
package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"time"

	"github.com/klauspost/compress/gzhttp"
)

//go:embed static
var static embed.FS

// Page says what the page shows when it opens.
type Page struct {
	// BasePath is what stands before every path of this server as browsers
	// see it, without a slash at its end. The handler is asked without it.
	BasePath string
	// SignIns are the demo's roles, each with a token that everybody who can
	// load the page may read; empty outside the demo. The first is signed in.
	SignIns []SignIn
	// Examples are queries to choose from; the first is open.
	Examples []Example
}

// SignIn is a role of the demo and the token of somebody who has it.
type SignIn struct {
	Role    string `json:"role"`              // as in the token
	Patient string `json:"patient,omitempty"` // whose record it is, where the role is patient
	Token   string `json:"token"`
}

// Example is an operation to try. GraphiQL names its tab by the name of the
// operation, so give it one.
type Example struct {
	Name      string `json:"name"`
	Group     string `json:"group"` // analysts or developers
	Title     string `json:"title"`
	TitleKo   string `json:"titleKo"`
	Query     string `json:"query"`
	Variables string `json:"variables"` // a JSON object, or empty
}

// config is what graphiql/src/config.ts reads.
type config struct {
	BasePath string    `json:"basePath"`
	SignIns  []SignIn  `json:"signIns"`
	Examples []Example `json:"examples"`
}

// Headers of every answer. The policy lets the page load and ask this server
// alone; style-src has 'unsafe-inline' because the editor, Monaco, makes style
// elements for its themes and places each line by a style attribute, and img-src
// has data: for the pictures in its stylesheet.
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self' 'unsafe-inline'; " +
		"font-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	"X-Content-Type-Options": "nosniff",
	"X-Frame-Options":        "DENY",
	"Referrer-Policy":        "no-referrer",
}

// contentTypes are the files that are served; the system's own table of types
// may say something else or nothing.
var contentTypes = map[string]string{
	".js":  "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".ttf": "font/ttf",
	".txt": "text/plain; charset=utf-8",
}

type file struct {
	content            []byte
	contentType, cache string
}

// Handler serves the page at / and its files below /static/; everything else
// is 404.
func Handler(p Page) (http.Handler, error) {
	index, err := render(p)
	if err != nil {
		return nil, fmt.Errorf("render GraphiQL page: %w", err)
	}
	files, err := staticFiles()
	if err != nil {
		return nil, fmt.Errorf("read static files: %w", err)
	}
	// It may hold tokens.
	files["/"] = file{content: index, contentType: "text/html; charset=utf-8", cache: "no-store"}
	return gzhttp.GzipHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		for name, value := range securityHeaders {
			header.Set(name, value)
		}
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			header.Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		header.Set("Cache-Control", f.cache)
		header.Set("Content-Type", f.contentType)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})), nil
}

func render(p Page) ([]byte, error) {
	page, err := template.ParseFS(static, "static/index.html")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = page.Execute(&b, struct {
		BasePath string
		Config   config
	}{p.BasePath, config(p)})
	return b.Bytes(), err
}

// staticFiles returns the embedded files by URL path. Their names change with
// their content, but for the licenses'.
func staticFiles() (map[string]file, error) {
	files := map[string]file{}
	entries, err := static.ReadDir("static")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		contentType, served := contentTypes[path.Ext(entry.Name())]
		if !served {
			continue
		}
		content, err := static.ReadFile("static/" + entry.Name())
		if err != nil {
			return nil, err
		}
		cache := "public, max-age=31536000, immutable"
		if entry.Name() == "licenses.txt" {
			cache = "no-cache"
		}
		files["/static/"+entry.Name()] = file{content, contentType, cache}
	}
	return files, nil
}
