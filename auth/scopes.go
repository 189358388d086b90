package auth

import (
	"regexp"
	"strings"
)

// grants is what the SMART scopes of a token (SMART App Launch 2.2, "Scopes for
// requesting FHIR Resources") allow with Patient. They narrow what the role
// allows and never widen it. The zero value is that of a token without such
// scopes, which narrow nothing.
type grants struct {
	restricted         bool // the token carries a resource scope, whatever it allows
	read, list, update reach
}

// Claims that hold scopes: RFC 8693 section 4.2 has a string with spaces, and
// some issuers an array, also under the other name.
var scopeClaims = []string{"scope", "scp"}

// resourceScope finds what is meant as a resource scope, however badly it is
// written, or behind some issuer's prefix: taken for none, it would leave the
// token unrestricted. Not every issuer allows a slash; User.Read is none.
var resourceScope = regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(?:patient|user|system)(?:/|[^a-z0-9]+(?:2f)?(?:\*|[a-z]+)\.[a-z*]+)`)

// dotted is a resource scope as issuers write it that allow no slash.
var dotted = regexp.MustCompile(`^(patient|user|system)[.-](\*|[A-Z][A-Za-z]*)\.`)

// patientScope is a resource scope that can allow something with Patient:
// version 1 (read, write, *) or version 2, whose letters stand in this order.
// One with a query (?…) covers a part of the patients that cannot be told here:
// it allows nothing.
var patientScope = regexp.MustCompile(`^(patient|user|system)/(?:Patient|\*)\.(?:(read|write|\*)|(c?r?u?d?s?))$`)

// grantsOf reads the scopes of a token. A claim that is neither text nor a list
// of texts restricts the token and allows nothing.
func grantsOf(claims map[string]any) grants {
	var g grants
	for _, name := range scopeClaims {
		switch claim := claims[name].(type) {
		case nil:
		case string:
			g.addAll(claim)
		case []any:
			for _, element := range claim {
				if text, ok := element.(string); ok {
					g.addAll(text)
				} else {
					g.restricted = true
				}
			}
		default:
			g.restricted = true
		}
	}
	return g
}

func (g *grants) addAll(scopes string) {
	for scope := range strings.SplitSeq(scopes, " ") {
		if !resourceScope.MatchString(scope) {
			continue
		}
		g.restricted = true
		scope = dotted.ReplaceAllString(scope, "$1/$2.")
		if parts := patientScope.FindStringSubmatch(scope); parts != nil {
			g.add(parts[1], parts[2], parts[3])
		}
	}
}

// add takes one scope's words: a context, and the rights in either version.
func (g *grants) add(context, v1, v2 string) {
	covers := all // user and system: whatever the role covers
	if context == "patient" {
		covers = own
	}
	if v1 == "read" || v1 == "*" || strings.Contains(v2, "r") {
		g.read = max(g.read, covers)
	}
	if v1 == "read" || v1 == "*" || strings.Contains(v2, "s") {
		g.list = max(g.list, covers)
	}
	if v1 == "write" || v1 == "*" || strings.Contains(v2, "u") {
		g.update = max(g.update, covers)
	}
}

// Rights are what SMART scopes allow with Patient.
type Rights struct {
	NamesResources       bool // there is a resource scope among them; else they say nothing of it
	Read, Search, Update bool
}

// PatientRights reads scopes that an authorization server granted.
func PatientRights(scopes string) Rights {
	var g grants
	g.addAll(scopes)
	return Rights{NamesResources: g.restricted, Read: g.read != 0, Search: g.list != 0, Update: g.update != 0}
}
