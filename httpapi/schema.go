package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"patientgraph/graph"
)

// handleSchema serves what client code is made from: to everybody if the schema is
// public, else to whoever has a token.
func handleSchema(mux *http.ServeMux, o Options, authenticated, withCORS func(http.Handler) http.Handler) error {
	possibleTypes, err := graph.PossibleTypesJSON()
	if err != nil {
		return err
	}
	for path, file := range map[string]http.Handler{
		"/schema.graphql":     schemaFile("text/plain; charset=utf-8", []byte(graph.SDL())),
		"/possibleTypes.json": schemaFile("application/json", possibleTypes),
	} {
		if !o.SchemaPublic {
			file = authenticated(file)
		}
		mux.Handle(path, withCORS(file))
	}
	return nil
}

// schemaFile is a file that may be kept as long as it is asked for again: a new
// program may have another.
func schemaFile(contentType string, content []byte) http.Handler {
	sum := sha256.Sum256(content)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return onlyGET(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Type", contentType)
		header.Set("Cache-Control", "private, no-cache")
		header.Set("Etag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
