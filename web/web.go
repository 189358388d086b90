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

// Example is an operation to try, which the page opens below its title. GraphiQL names
// its tab by the name of the operation, so give it one.
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

// policy lets the page load and ask this server alone; style-src has 'unsafe-inline'
// because the editor, Monaco, makes style elements for its themes and places each line by
// a style attribute, and img-src has data: for the pictures in its stylesheet.
const policy = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self' 'unsafe-inline'; " +
	"font-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves the page at / and its files below /static/; everything else
// is 404.
func Handler(p Page) (http.Handler, error) {
	index, err := render(p)
	if err != nil {
		return nil, fmt.Errorf("render GraphiQL page: %w", err)
	}
	files, err := filesOf(static)
	if err != nil {
		return nil, fmt.Errorf("read static files: %w", err)
	}
	files["/"] = page(index)
	return serve(files, policy), nil
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
