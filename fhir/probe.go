package fhir

import (
	"cmp"
	"context"
	"net/http"
)

// SomePatient asks for one Patient, which proves that our credentials work, and
// returns its id, where the server shows one. hidden: of this kind of server that it
// shows none says nothing. An error comes with the id where the page itself is good and
// the next one cannot be had.
func (c *Client) SomePatient(ctx context.Context) (id string, hidden bool, err error) {
	w, err := c.newWalk(ctx)
	if err != nil {
		return "", false, err
	}
	w.PageSize = 1
	page := w.probe(ctx)
	for _, e := range page.entries {
		if e.err == nil {
			return e.id, false, page.linkErr
		}
		err = e.err
	}
	if page.failed {
		err = searchError(errOutcome)
	}
	err = cmp.Or(page.err, page.linkErr, err)
	return "", err == nil && w.profile.countHidesAll, err
}

// ETags are the ETag headers of one Patient, as they came.
type ETags struct {
	Plain, Compressed string // of an answer that may not be compressed on the way, and of one that may
	Version           string // meta.versionId, of the first
	Moved             bool   // the two answers show different versions: they cannot be compared
}

// ETags reads a Patient twice: what compresses on the way may change its ETag.
func (c *Client) ETags(ctx context.Context, id string) (ETags, error) {
	if err := checkID(OpRead, id); err != nil {
		return ETags{}, err
	}
	r := request{op: OpRead, method: http.MethodGet, url: c.patientURL(id), want: "Patient", id: id}
	plain := c.exchange(ctx, r)
	if err := plain.failure(); err != nil {
		return ETags{}, err
	}
	r.compressed = true
	compressed := c.exchange(ctx, r)
	if err := compressed.failure(); err != nil {
		return ETags{}, err
	}
	version := str(member(plain.doc, "meta"), "versionId")
	return ETags{
		Plain: plain.header.Get("ETag"), Compressed: compressed.header.Get("ETag"), Version: version,
		Moved: version != str(member(compressed.doc, "meta"), "versionId"),
	}, nil
}

// Delete deletes a Patient.
func (c *Client) Delete(ctx context.Context, id string) error {
	if err := checkID(OpDelete, id); err != nil {
		return err
	}
	a := c.exchange(ctx, request{op: OpDelete, method: http.MethodDelete, url: c.patientURL(id), id: id})
	if a.err == nil && (a.silent() || a.status == http.StatusAccepted) {
		return nil
	}
	return a.failure()
}

// GrantedScopes is what the authorization server said that the token in use allows;
// "" where it did not say, or there is none. It is then what was asked for (RFC 6749
// section 5.1).
func (c *Client) GrantedScopes() string {
	if t, ok := c.credentials.(*tokens); ok {
		return t.scope()
	}
	return ""
}
