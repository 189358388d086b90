package fhir

import (
	"context"
	"net/http"
)

// Capabilities is what a server says of itself (FHIR CapabilityStatement);
// the lists concern Patient. Empty means not said.
type Capabilities struct {
	SoftwareName    string
	SoftwareVersion string
	FHIRVersion     string   // "4.0.1"
	Versioned       bool     // keeps versions and so honours If-Match
	Interactions    []string // codes: read, update, patch, history-instance, search-type …
	SearchParams    []string // names: _id, _lastUpdated, phone …
}

// Capabilities reads the CapabilityStatement at /metadata, which most servers
// show without credentials.
func (c *Client) Capabilities(ctx context.Context) (Capabilities, error) {
	a := c.exchange(ctx, request{
		op: OpCapabilities, method: http.MethodGet, url: c.base.String() + "/metadata", want: "CapabilityStatement",
	})
	if err := a.failure(); err != nil {
		return Capabilities{}, err
	}
	software := member(a.doc, "software")
	caps := Capabilities{
		SoftwareName: str(software, "name"), SoftwareVersion: str(software, "version"),
		FHIRVersion: str(a.doc, "fhirVersion"),
	}
	for _, rest := range elements(member(a.doc, "rest")) {
		for _, resource := range elements(member(rest, "resource")) {
			if str(rest, "mode") == "client" || str(resource, "type") != "Patient" {
				continue
			}
			versioning := str(resource, "versioning")
			caps.Versioned = versioning == "versioned" || versioning == "versioned-update"
			for _, interaction := range elements(member(resource, "interaction")) {
				caps.Interactions = append(caps.Interactions, str(interaction, "code"))
			}
			for _, param := range elements(member(resource, "searchParam")) {
				caps.SearchParams = append(caps.SearchParams, str(param, "name"))
			}
		}
	}
	return caps, nil
}
