package web

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
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

// ExampleHandler serves the front end of examples/react at /app/.
func ExampleHandler(p ExamplePage) (http.Handler, error) {
	files, err := filesOf(example)
	if err != nil {
		return nil, fmt.Errorf("read example front end: %w", err)
	}
	index, err := withConfig(p)
	if err != nil {
		return nil, fmt.Errorf("read example front end: %w", err)
	}
	files["/app/"] = page(index)
	files["/app"] = file{leadsTo: "app/"}
	return serve(files, examplePolicy), nil
}

// withConfig is the page with what it is told. What json.Marshal writes can end no script.
func withConfig(p ExamplePage) ([]byte, error) {
	index, err := example.ReadFile("app/index.html")
	if err != nil {
		return nil, err
	}
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
