package fhir

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Capabilities is what a server says of itself (FHIR CapabilityStatement);
// the lists concern Patient. Empty means not said. Name and versions have no
// control characters, so they can be printed.
type Capabilities struct {
	SoftwareName    string
	SoftwareVersion string
	FHIRVersion     string        // "4.0.1"
	Versioning      string        // of Patient: no-version, versioned or versioned-update
	Interactions    []string      // codes: read, update, patch, history-instance, search-type …
	SearchParams    []string      // names: _id, _lastUpdated, phone …
	Dated           bool          // the answer told the time (Date header)
	Skew            time.Duration // how far our clock is ahead of the server's, to a second or two
}

// Offers reports whether the server says that it has that interaction of Patient.
func (c Capabilities) Offers(interaction string) bool {
	return slices.Contains(c.Interactions, interaction)
}

// Capabilities reads the CapabilityStatement at /metadata, which most servers
// show without credentials. What the server says there settles its Profile.
func (c *Client) Capabilities(ctx context.Context) (Capabilities, error) {
	caps, err := readCapabilities(c.exchange(ctx, c.metadata()))
	if err == nil {
		_, _ = c.chooser.learn(caps) // a server that is not what FHIR_SERVER says is still asked; Profile reports it
	}
	return caps, err
}

func (c *Client) metadata() request {
	return request{op: OpCapabilities, method: http.MethodGet, url: c.base.String() + "/metadata", want: "CapabilityStatement"}
}

func readCapabilities(a answer) (Capabilities, error) {
	if err := a.failure(); err != nil {
		return Capabilities{}, err
	}
	software := member(a.doc, "software")
	caps := Capabilities{
		SoftwareName: tidy(word(software, "name")), SoftwareVersion: tidy(word(software, "version")),
		FHIRVersion: tidy(word(a.doc, "fhirVersion")),
	}
	if theirs, err := http.ParseTime(a.header.Get("Date")); err == nil {
		age, _ := strconv.Atoi(a.header.Get("Age")) // how long a cache on the way has kept the answer
		caps.Dated, caps.Skew = true, a.now.Sub(theirs.Add(time.Duration(age)*time.Second)).Truncate(time.Second)
	}
	for _, rest := range elements(member(a.doc, "rest")) {
		if str(rest, "mode") == "client" {
			continue
		}
		for _, resource := range elements(member(rest, "resource")) {
			if str(resource, "type") != "Patient" {
				continue
			}
			caps.Versioning = word(resource, "versioning")
			caps.Interactions = addWords(caps.Interactions, member(resource, "interaction"), "code")
			caps.SearchParams = addWords(caps.SearchParams, member(resource, "searchParam"), "name")
		}
	}
	return caps, nil
}

// What a CapabilityStatement may say of a server: HAPI names 40 parameters.
const (
	maxWord  = 200 // bytes
	maxWords = 500
)

// word is a member's value without the statement around it, which it would
// keep in memory; "" if it is too long for a name.
func word(object gjson.Result, name string) string {
	s := str(object, name)
	if len(s) > maxWord {
		return ""
	}
	return strings.Clone(s)
}

func addWords(words []string, entries gjson.Result, name string) []string {
	for _, entry := range elements(entries) {
		if w := word(entry, name); w != "" && len(words) < maxWords {
			words = append(words, w)
		}
	}
	return words
}
