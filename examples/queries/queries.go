// Package queries holds example queries, each in a file of its own: the first two lines
// are its title in English and in Korean, of which the page shows one; the third says as
// which role of the demo it is run, what type its first field answers and, where it is for
// some only, on which kinds of FHIR server (DEMO_SERVER). A file of the same name with
// .json holds its variables.
package queries

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"patientgraph/web"
)

//go:embed *.graphql *.json
var files embed.FS

var (
	head      = regexp.MustCompile(`^# (.+)\n# (.+)\n# role: \w+; answer: \w+(?:; server: ([\w ]+))?\n`)
	operation = regexp.MustCompile(`(?m)^(?:query|mutation|subscription) (\w+)`)
)

// Examples are those for a demo's kind of FHIR server, those for analysts first, or, for
// none, those that do well with any patients: the others write to the demo's.
func Examples(server string) ([]web.Example, error) {
	names, err := fs.Glob(files, "*.graphql") // sorted
	if err != nil {
		return nil, err
	}
	var examples []web.Example
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		said, named := head.FindStringSubmatch(string(text)), operation.FindStringSubmatch(string(text))
		if said == nil || named == nil {
			return nil, fmt.Errorf("%s: no title, role and answer, or no name", name)
		}
		group, _, _ := strings.Cut(name, "-")
		servers := strings.Fields(said[3])
		if server == "" && group != "analysts" || len(servers) > 0 && !slices.Contains(servers, server) {
			continue
		}
		variables, _ := files.ReadFile(strings.TrimSuffix(name, "graphql") + "json") // most have none
		examples = append(examples, web.Example{
			Name: named[1], Group: group, Title: said[1], TitleKo: said[2],
			Query: string(text[len(said[0]):]), Variables: string(variables),
		})
	}
	return examples, nil
}
