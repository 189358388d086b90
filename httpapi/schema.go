package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"patientgraph/graph"
	"patientgraph/resolvers"
)

// handleSchema serves what client code is made from: to everybody if the schema is
// public, else to whoever has a token.
func handleSchema(mux *http.ServeMux, o Options, protect func(http.Handler) http.Handler) error {
	possibleTypes, err := graph.PossibleTypesJSON()
	if err != nil {
		return err
	}
	for path, file := range map[string]http.Handler{
		"/schema.graphql":     schemaFile("text/plain; charset=utf-8", []byte(graph.SDL())),
		"/possibleTypes.json": schemaFile("application/json", possibleTypes),
	} {
		if !o.SchemaPublic {
			file = o.Verifier.Middleware(file)
		}
		mux.Handle(path, protect(file))
	}
	return nil
}

// schemaFile is a file that may be kept as long as it is asked for again: a new
// program may have another.
func schemaFile(contentType string, content []byte) http.Handler {
	sum := sha256.Sum256(content)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			writeError(w, http.StatusMethodNotAllowed, resolvers.CodeBadUserInput, "use GET or HEAD")
			return
		}
		header := w.Header()
		header.Set("Content-Type", contentType)
		header.Set("Cache-Control", "private, no-cache")
		header.Set("Etag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
