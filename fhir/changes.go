package fhir

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Change is one Patient that a page of a listing or of changes shows.
type Change struct {
	ID      string    // FHIR id; "" where Err leaves it untold
	Patient Resource  // unless Deleted or Err; it carries no ETag
	Deleted bool      // the server says that the patient was deleted there
	At      time.Time // meta.lastUpdated, of a deletion response.lastModified; zero: not told (HAPI tells none of a deletion)
	Err     error     // *Error with the cause BadEntry: the server has a patient here that we cannot use
}

// Listing is one page.
type Listing struct {
	Changes    []Change
	ServerTime time.Time // the server's clock when it found what the page shows: Bundle.meta.lastUpdated, else the Date header; zero: not told
	Deletes    bool      // of Changed: what was deleted is shown too
	Next       string    // of List: leads on from behind this page, also in another process; "": it was the last
}

// Following is how the changes of a server are found.
type Following struct {
	Method  string // for logs: "_history", "_lastUpdated" or "_lastUpdated by day"
	Deletes bool   // deletions are shown
}

// method is a way to find changes.
type method string

const (
	byHistory     method = "_history"            // Patient/_history?_since= (R4 http#history)
	byLastUpdated method = "_lastUpdated"        // Patient?_lastUpdated=ge…&_sort=_lastUpdated (R4 search#lastUpdated)
	byDay         method = "_lastUpdated by day" // OpenEMR's wall clock without an offset that could be relied on
)

// foundWay is the method in use, as the server was found to take it.
type foundWay struct {
	method
	uncounted bool // a search with _count would show nobody
	noTotal   bool // the total of a history is not of what changed since
}

// dayMargin is how far a day's begin is moved back: a clinic's wall clock may be a day
// behind ours, and its zone may have changed.
const dayMargin = 36 * time.Hour

// longAgo is before all that a server may have, and a time that each can read.
var longAgo = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)

var errNotFollowable = errors.New("neither Patient/_history?_since nor Patient?_lastUpdated shows what changed")

// List yields every Patient of the server, page by page: from the first, or from where
// the Next of an earlier page leads. What changes meanwhile may be shown as it was, as
// it is, or twice; nobody is left out but who comes later. A patient that cannot be
// used is a Change with Err, and the rest goes on. An error ends the listing; the Next of the
// last page resumes it; where that is "" or the cause is ListingExpired it must start over.
func (c *Client) List(ctx context.Context, from string) iter.Seq2[Listing, error] {
	return func(yield func(Listing, error) bool) {
		w, err := c.newWalk(ctx)
		if err == nil {
			// OpenEMR's own order stands still when a patient changes, and not all versions sort.
			w.Sorted, w.simplifies = !slices.Contains(w.profile.methods, byDay), true
			if from != "" {
				err = w.continueFrom(from)
			}
		}
		if err != nil {
			yield(Listing{}, err)
			return
		}
		w.run(ctx, yield)
	}
}

// Changed yields what was changed, created or deleted at or after since by the
// server's clock, page by page: each patient as it is in its newest version. It may
// show more, such as what changed earlier on the same day. The order says nothing. An
// error ends it after what the pages showed; it must then be asked again with the same
// since. Cause NotFollowable: the server offers no way that was seen to work.
func (c *Client) Changed(ctx context.Context, since time.Time) iter.Seq2[Listing, error] {
	return func(yield func(Listing, error) bool) {
		w, err := c.follow(ctx, since)
		if err != nil {
			yield(Listing{}, err)
			return
		}
		shown := false
		w.run(ctx, func(l Listing, err error) bool {
			if err == nil || shown || !notOffered(err) {
				shown, l.Next = true, ""
				return yield(l, err)
			}
			if other, err := c.followOtherwise(ctx, since, w.method, err); err != nil {
				yield(Listing{}, err)
			} else {
				other.run(ctx, func(l Listing, err error) bool {
					l.Next = ""
					return yield(l, err)
				})
			}
			return false
		})
	}
}

// follow asks for changes in the way that was found, which it finds if need be.
func (c *Client) follow(ctx context.Context, since time.Time) (*walk, error) {
	way := c.following.Load()
	if way == nil {
		var err error
		if way, _, err = c.findWay(ctx); err != nil {
			return nil, err
		}
	}
	return c.changesBy(ctx, *way, since)
}

// followOtherwise is for a server that no longer takes what was in use.
func (c *Client) followOtherwise(ctx context.Context, since time.Time, was method, failure error) (*walk, error) {
	way, _, err := c.findWay(ctx)
	if err == nil && way.method == was {
		err = failure
	}
	if err != nil {
		return nil, err
	}
	return c.changesBy(ctx, *way, since)
}

// changesBy asks for changes in a way.
func (c *Client) changesBy(ctx context.Context, way foundWay, since time.Time) (*walk, error) {
	w, err := c.newWalk(ctx)
	if err != nil {
		return nil, err
	}
	if since.Before(longAgo) {
		since = longAgo
	}
	w.method, w.history, w.Sorted, w.Since = way.method, way.method == byHistory, way.method == byLastUpdated, instant(since)
	if way.method == byDay {
		w.Since = since.UTC().Add(-dayMargin).Format(time.DateOnly)
	}
	if w.history {
		w.ByOffset = false
	}
	w.noTotal = way.noTotal
	if way.uncounted {
		w.PageSize = 0
	}
	return w, nil
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999999Z07:00") }

// notOffered tells a server that does not know a request from one that fails.
func notOffered(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest:
		return e.Kind == Rejected
	case http.StatusForbidden:
		return e.Kind == Forbidden
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return e.Kind == Unusable && e.Cause != TooLong
}

// Following finds out, by a few requests, how this server's changes can be found, and
// Changed keeps to it. An unknown parameter may give an empty answer, so a way counts
// only if it shows again what the server has, and a search nobody from the future (a
// history that does not know _since shows more than it has to). It is meant
// to be asked again from time to time: a server may be updated, and one that has no
// patients yet shows nothing. A server that is down or refuses us changes nothing.
func (c *Client) Following(ctx context.Context) (Following, error) {
	_, tells, err := c.findWay(ctx)
	return tells, err
}

func (c *Client) findWay(ctx context.Context) (*foundWay, Following, error) {
	profile, err := c.Profile(ctx)
	if err != nil {
		return nil, Following{}, err
	}
	some, uncounted, err := c.some(ctx)
	if some.tooLong {
		some.entries, err = []entry{{}}, nil
	}
	if err != nil && notOffered(err) { // a history may be there all the same
		some, err = page{}, nil
	}
	if err != nil {
		return nil, Following{}, err
	}
	methods := profile.methods
	if methods == nil {
		methods = []method{byHistory, byLastUpdated}
	}
	for _, method := range methods {
		way := foundWay{method: method, uncounted: uncounted}
		works, err := c.works(ctx, &way, some)
		if err != nil {
			return nil, Following{}, err
		}
		if works {
			c.following.Store(&way)
			c.pageCount.Store(min(2*c.pageCount.Load(), pageCount)) // a server may become faster
			return &way, Following{Method: string(method), Deletes: method == byHistory}, nil
		}
	}
	c.following.Store(nil)
	return nil, Following{}, &Error{Kind: CannotApply, Op: OpSearch, Cause: NotFollowable, Err: errNotFollowable,
		Reason: "The server's changes cannot be followed: " + errNotFollowable.Error() + "; only a listing of all patients finds them"}
}

// some asks for any Patient. uncounted: without _count, which would hide all.
func (c *Client) some(ctx context.Context) (p page, uncounted bool, err error) {
	w, err := c.newWalk(ctx)
	if err != nil {
		return page{}, false, err
	}
	w.PageSize = 1
	if p = w.probe(ctx); p.err == nil && len(p.entries) == 0 && w.profile.countHidesAll {
		w.PageSize = 0
		p = w.probe(ctx)
	}
	return p, w.PageSize == 0, p.err
}

// works tries a way: it must show again what the server has, and nobody from the
// future.
func (c *Client) works(ctx context.Context, way *foundWay, some page) (bool, error) {
	known := longAgo
	if len(some.entries) > 0 && !some.entries[0].at.IsZero() {
		known = some.entries[0].at
	}
	future := cmp.Or(some.serverTime, c.now()).Add(10 * 24 * time.Hour)
	for _, since := range []time.Time{known, future} {
		w, err := c.changesBy(ctx, *way, since)
		if err != nil {
			return false, err
		}
		if w.PageSize > 0 {
			w.PageSize = 1
		}
		p := w.probe(ctx)
		switch shows := p.tooLong || len(p.entries) > 0; {
		case p.err != nil && notOffered(p.err):
			return false, nil
		case p.err != nil && !p.tooLong:
			return false, p.err
		case since.Equal(known) && !shows && len(some.entries) > 0, since.Equal(future) && shows && way.method != byHistory:
			return false, nil
		case since.Equal(future) && !shows && p.total > 0:
			way.noTotal = true
		}
	}
	return true, nil
}

// probe reads one page.
func (w *walk) probe(ctx context.Context) page {
	at, err := w.address()
	if err != nil {
		return page{err: err}
	}
	return w.read(ctx, at)
}

func (c *Client) typeURL(history bool, params url.Values) *url.URL {
	at := c.searchURL(params)
	if history {
		at.Path += "/_history"
		if at.RawPath != "" {
			at.RawPath += "/_history"
		}
	}
	return &at
}
