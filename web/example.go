package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
)

// example is what examples/react builds.
//
//go:embed app
var example embed.FS

// ExamplePage says what the example front end is told.
type ExamplePage struct {
	// BasePath is what stands before every path of this server as browsers
	// see it, without a slash at its end. The handler is asked without it.
	BasePath string
	// SignIns are the demo's roles. The page holds their tokens readable for
	// everybody who can load it.
	SignIns []SignIn
}

// examplePolicy lets the page load and ask this server alone; its WebSocket is 'self' too.
const examplePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// exampleConfig is where the built page takes its settings from.
const exampleConfig = `<script type="application/json" id="config">{}</script>`

// exampleTypes are the files that are served; the system's own table of types may say
// something else.
var exampleTypes = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".md": "text/plain; charset=utf-8"}

// exampleFile is a file as it is sent.
type exampleFile struct {
	content                  []byte
	contentType, cachePolicy string
}

// ExampleHandler serves the front end of examples/react at /app/.
func ExampleHandler(p ExamplePage) (http.Handler, error) {
	files, err := exampleFiles(p)
	if err != nil {
		return nil, fmt.Errorf("read example front end: %w", err)
	}
	return gzhttp.GzipHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", examplePolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		if r.URL.Path == "/app" { // a relative path: what stands before it is another's
			header.Set("Location", "app/")
			w.WriteHeader(http.StatusPermanentRedirect)
			return
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
		header.Set("Content-Type", f.contentType)
		header.Set("Cache-Control", f.cachePolicy)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
	})), nil
}

// exampleFiles returns what is served by URL path.
func exampleFiles(p ExamplePage) (map[string]exampleFile, error) {
	files := map[string]exampleFile{}
	err := fs.WalkDir(example, "app", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := example.ReadFile(name)
		if err != nil {
			return err
		}
		// Names below assets/ change with what they hold.
		f := exampleFile{content: content, contentType: exampleTypes[path.Ext(name)], cachePolicy: "public, max-age=31536000, immutable"}
		url := "/" + name
		switch {
		case url == "/app/index.html":
			url, f.contentType, f.cachePolicy = "/app/", "text/html; charset=utf-8", "no-store" // it may hold tokens
			if f.content, err = withConfig(content, p); err != nil {
				return err
			}
		case !strings.HasPrefix(url, "/app/assets/"):
			f.cachePolicy = "no-cache"
		}
		if f.contentType == "" {
			return fmt.Errorf("%s is of no known type", name)
		}
		files[url] = f
		return nil
	})
	return files, err
}

// withConfig puts what the page is told into it. What json.Marshal writes can end no script.
func withConfig(index []byte, p ExamplePage) ([]byte, error) {
	config, err := json.Marshal(struct {
		Endpoint string   `json:"endpoint"`
		SignIns  []SignIn `json:"signIns"`
	}{p.BasePath + "/graphql", p.SignIns})
	if err != nil {
		return nil, err
	}
	if bytes.Count(index, []byte(exampleConfig)) != 1 {
		return nil, errors.New("index.html has no place for its settings")
	}
	return bytes.Replace(index, []byte(exampleConfig), []byte(strings.Replace(exampleConfig, "{}", string(config), 1)), 1), nil
}
