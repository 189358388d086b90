package web

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"time"

	"github.com/klauspost/compress/gzhttp"
)

// file is what a path answers.
type file struct {
	content            []byte
	contentType, cache string
	leadsTo            string // a redirect instead; a relative path, for what stands before ours is another's
}

// contentTypes are the files that are served; the system's own table of types may say
// something else or nothing.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".md":  "text/plain; charset=utf-8",
	".svg": "image/svg+xml",
	".ttf": "font/ttf",
	".txt": "text/plain; charset=utf-8",
}

// hashed are names that vite has made of what the file holds.
var hashed = regexp.MustCompile(`-[\w-]{8}\.\w+$`)

// page makes a file of a page, which may hold tokens.
func page(content []byte) file {
	return file{content: content, contentType: "text/html; charset=utf-8", cache: "no-store"}
}

// filesOf returns the built files by URL path; not index.html, which each page fills in.
func filesOf(built fs.FS) (map[string]file, error) {
	files := map[string]file{}
	err := fs.WalkDir(built, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "index.html" {
			return err
		}
		content, err := fs.ReadFile(built, name)
		if err != nil {
			return err
		}
		f := file{content: content, contentType: contentTypes[path.Ext(name)], cache: "no-cache"}
		if f.contentType == "" {
			return fmt.Errorf("%s is of no known type", name)
		}
		if hashed.MatchString(name) {
			f.cache = "public, max-age=31536000, immutable"
		}
		files["/"+name] = f
		return nil
	})
	return files, err
}

// serve answers with files, and with 404 for every other path. The policy goes with every
// answer; the other security headers are package httpapi's.
func serve(files map[string]file, policy string) http.Handler {
	return gzhttp.GzipHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if f.leadsTo != "" {
			header.Set("Location", f.leadsTo)
			w.WriteHeader(http.StatusPermanentRedirect)
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
	}))
}
