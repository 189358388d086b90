package fhirsim

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// route finds what answers a call. OpenEMR looks at the database first, then
// at the token, the path, the token's scopes and the user's rights.
func (k *Clinic) route(c *call) handler {
	parts := strings.Split(strings.TrimPrefix(c.Path, prefix+"/"), "/")
	if len(parts) > 1 && parts[0] == "Patient" && c.Method != http.MethodPost { // POST Patient/_search is no patient's
		c.ID = parts[1]
	}
	run, permission := k.service(c, parts)
	return func(c *call, f *Fault) answer {
		if refusal := k.refusal(c, run != nil, permission); refusal != nil {
			return *refusal
		}
		return run(c, f)
	}
}

// service returns what serves a path, nil for nothing, and the letter of the
// SMART scope that it needs: c, r, u or s; 0 for none.
func (k *Clinic) service(c *call, parts []string) (run handler, permission byte) {
	get, post := c.Method == http.MethodGet, c.Method == http.MethodPost
	switch path := strings.Join(parts, "/"); {
	case path == "metadata" && get:
		return k.metadata, 0
	case path == ".well-known/smart-configuration" && get:
		return k.smartConfiguration, 0
	case path == "Patient" && get, path == "Patient/_search" && post:
		return k.search, 's'
	case path == "Patient" && post:
		return k.create, 'c'
	case len(parts) != 2 || c.ID == "":
		return nil, 0
	case get:
		return k.read, 'r'
	case c.Method == http.MethodPut:
		return k.put, 'u'
	}
	return nil, 0
}

// refusal is the answer to a call that is not to be served; nil when it is.
func (k *Clinic) refusal(c *call, found bool, permission byte) *answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	var a answer
	token, known := k.access(c.Header.Get("Authorization"))
	switch {
	case k.database == DatabaseDown || k.database == DatabaseDies && c.Method != http.MethodPut:
		a = k.databaseDown()
	case found && permission == 0: // open to all
		return nil
	case !known:
		a = k.unauthorized(c.Header.Get("Authorization"))
	case (k.loggedOut || token.orphan) && k.version == emr703:
		a = k.oauthError(http.StatusBadRequest, "invalid _request", loggedOut, "")
	case k.loggedOut || token.orphan:
		a = k.error(http.StatusBadRequest, loggedOut, 0)
	case !found:
		a = k.error(http.StatusNotFound, "Route not found", 0)
	case !k.allows(token.scopes, permission):
		a = k.error(http.StatusUnauthorized, "Unauthorized", 0)
	case k.noACL && k.version == emr703:
		a = k.error(http.StatusUnauthorized, "", 0)
	case k.noACL:
		a = k.error(http.StatusForbidden, "Organization policy does not have permit access resource", 0)
	default:
		return nil
	}
	return &a
}

const (
	denied    = "The resource owner or authorization server denied the request."
	loggedOut = "Refresh Token revoked or logged out"
)

// unauthorized answers a call whose token is not the one of now.
func (k *Clinic) unauthorized(authorization string) answer {
	hint, code := "Access token could not be verified", 0
	switch token, _ := strings.CutPrefix(authorization, "Bearer "); {
	case authorization == "":
		hint = `Missing "Authorization" header`
	case k.revoked[token]:
		hint, code = "Access token has been revoked", 9
	}
	if k.version == emr703 {
		return k.oauthError(http.StatusUnauthorized, "access_denied", denied, hint)
	}
	return k.error(http.StatusUnauthorized, denied, code)
}

// allows reports whether one of a token's scopes has a permission. Before
// 7.0.4 there were neither SMART's letters nor writing by a system.
func (k *Clinic) allows(scopes []string, permission byte) bool {
	for _, scope := range scopes {
		context, rest, _ := strings.Cut(scope, "/")
		letters, ofPatient := strings.CutPrefix(rest, "Patient.")
		switch {
		case !ofPatient || context != "user" && context != "system":
			continue
		case letters == "read":
			letters = "rs"
		case letters == "write" && (context == "user" || k.version >= emr704):
			letters = "cud"
		case k.version == emr703:
			continue
		}
		if strings.IndexByte(letters, permission) >= 0 {
			return true
		}
	}
	return false
}

// header is what all answers of a version carry.
func (k *Clinic) header(contentType string) http.Header {
	k.cookies++
	cookie := strings.ReplaceAll(uuid.NewSHA1(versionSpace, fmt.Append(nil, "cookie/", k.cookies)).String(), "-", "")
	h := http.Header{
		"Content-Type": {contentType}, "Server": {"Apache"},
		"Set-Cookie": {"apiOpenEMR=" + cookie + "; path=/apis/; secure; HttpOnly; SameSite=Strict"},
	}
	if k.version == emr703 {
		h["Expires"] = []string{"Thu, 19 Nov 1981 08:52:00 GMT"}
		h["Cache-Control"] = []string{"no-store, no-cache, must-revalidate"}
		h["Pragma"] = []string{"no-cache"}
		h["Access-Control-Allow-Credentials"] = []string{"true"}
		h["Access-Control-Allow-Headers"] = []string{"origin, authorization, accept, content-type, content-encoding, x-requested-with"}
		h["Access-Control-Allow-Methods"] = []string{"GET, HEAD, POST, PUT, DELETE, TRACE, OPTIONS"}
	} else {
		h["Cache-Control"] = []string{"max-age=0, private, must-revalidate"}
	}
	return h
}

// json is an answer of the API itself.
func (k *Clinic) json(status int, v any) answer {
	return k.api(status, phpJSON(v, k.version >= emr704))
}

// api is an answer that went all the way: 7.0.3 takes its cookie back in it,
// later ones end the connection.
func (k *Clinic) api(status int, body []byte) answer {
	h := k.header("application/json")
	if k.version == emr703 {
		h.Add("Set-Cookie", "apiOpenEMR=deleted; expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; path=/apis/; secure; HttpOnly; SameSite=Strict")
	} else {
		h.Add("Cache-Control", "no-cache, private")
		h.Set("Connection", "close")
	}
	return answer{status: status, header: h, body: body}
}

const htmlType = "text/html; charset=utf-8"

// html is what PHP printed before it ended.
func (k *Clinic) html(status int, body []byte) answer {
	return answer{status: status, header: k.header(htmlType), body: body}
}

// error is how a failure outside the API's own rules is answered: 7.0.3 says
// nothing at all.
func (k *Clinic) error(status int, message string, code int) answer {
	if k.version >= emr704 {
		return k.json(status, failure(message, code))
	}
	a := k.html(status, nil)
	if status >= http.StatusInternalServerError {
		a.header.Set("Connection", "close")
	}
	return a
}

func failure(message string, code int) object {
	return object{{"error", "An error occurred"}, {"message", message}, {"code", code}}
}

// oauthError is an error of 7.0.3's OAuth library.
func (k *Clinic) oauthError(status int, kind, message, hint string) answer {
	o := object{{"error", kind}, {"error_description", message}}
	if hint != "" {
		o = append(o, property{"hint", hint})
	}
	return k.json(status, append(o, property{"message", message}))
}

// metadata answers with what counts of the CapabilityStatement.
func (k *Clinic) metadata(c *call, _ *Fault) answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	var interactions, params []object
	for _, code := range []string{"search-type", "read", "create", "update"} {
		interactions = append(interactions, object{{"code", code}})
	}
	for _, f := range searchFields {
		params = append(params, object{{"name", f.name}, {"type", f.kind}})
	}
	const smart = "SMART-on-FHIR"
	service := object{
		{"coding", []object{{{"system", "http://terminology.hl7.org/CodeSystem/restful-security-service"}, {"code", smart}, {"display", smart}}}},
		{"text", "OAuth2 using SMART-on-FHIR profile (see http://docs.smarthealthit.org)"},
	}
	return k.json(http.StatusOK, object{
		{"resourceType", "CapabilityStatement"}, {"status", "active"}, {"date", k.clock()[:len("2006-01-02")]}, {"kind", "instance"},
		{"software", object{{"name", "OpenEMR"}}}, // the version is read from a file that does not have it
		{"implementation", object{{"description", "OpenEMR FHIR API"}, {"url", c.base}}},
		{"fhirVersion", "4.0.1"}, {"format", []string{"application/json"}},
		{"rest", []object{{
			{"mode", "server"}, {"security", object{{"service", []object{service}}}},
			{"resource", []object{{{"type", "Patient"}, {"interaction", interactions}, {"searchParam", params}}}},
		}}},
	})
}
