package fhir

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	pageCount     = 200 // patients that a page is asked for: OpenEMR gives no more
	shortPage     = 10  // likewise, after a page that the server could not make in time
	maxLast       = 50  // of the last that were shown, by whom a page is seen to go on there
	maxIdlePages  = 3   // in a row that show nothing new
	maxEmptyPages = 200 // in a row: whom they would have shown may have been deleted since
	maxResumes    = 3   // in a row without anything new
	maxSkipped    = 10  // patients in a row that are too long: rather no answer of this server can be read
	maxUnanswered = 3   // reads of a patient: rather the server answers nobody
	goodPages     = 4   // after which a longer one is tried
)

var (
	errExpired = errors.New("the server no longer has the pages that it began to show; the listing must start over")
	errTooLong = errors.New("it is longer than an answer may be")
)

// position is where a listing stands. It holds all that is needed to go on there, also by
// another process and after an upgrade: it is stored.
type position struct {
	Base     string `json:"base,omitempty"`     // of the server: the middle of one listing is not that of another
	Since    string `json:"since,omitempty"`    // the value of _lastUpdated (ge), in a history of _since; "": none
	Sorted   bool   `json:"sorted,omitempty"`   // by _lastUpdated
	PageSize int    `json:"count,omitempty"`    // patients asked for; 0: it is not said
	ByOffset bool   `json:"byOffset,omitempty"` // pages are asked for by _offset; else each leads to the next by its link
	Offset   int    `json:"offset,omitempty"`   // patients that were shown of this query
	Link     string `json:"link,omitempty"`     // leads to the page; "": none, or ByOffset

	Last   []string  `json:"last,omitempty"`   // the last patients that were shown, as they were (entry.mark)
	Mixed  bool      `json:"mixed,omitempty"`  // what was shown is not in the order asked for
	From   time.Time `json:"from,omitzero"`    // Lower, when the query was asked anew
	Lower  time.Time `json:"lower,omitzero"`   // who was not shown was changed then or later, unless Mixed; zero: not known
	Began  time.Time `json:"began,omitzero"`   // the server's clock when the query was first asked
	Failed bool      `json:"failed,omitempty"` // a page was shown in part
	Total  int       `json:"total,omitempty"`  // the least that the server said the query has; 0: it did not
	Shown  int       `json:"shown,omitempty"`  // how many of these were shown
}

// walk goes through the pages of a search or of a history.
type walk struct {
	c       *Client
	profile *Profile
	position
	method     method // by which changes are looked for; "": it lists everybody
	history    bool
	noTotal    bool             // what a history says is left aside
	simplifies bool             // the first page may be asked for without what the server may not know
	versions   map[string]entry // in a history: which version of each patient was shown

	counted map[uint64]struct{} // in Shown: a hash of each id
	recount bool                // it helps to find out whether another walk was whole

	asked      map[string]bool
	hashes     map[uint64]bool // what was shown, by a hash: a million ids must fit into memory
	seed       maphash.Seed
	longest    int  // patients that a page is asked for at most
	slow       bool // the page before this try could not be made in time
	idle       int
	empty      int
	resumes    int
	good       int
	skipped    int  // patients in a row that were too long
	unanswered int  // reads of a patient
	blind      bool // one of a history was passed over that has no id: an older version of it may follow
}

func (c *Client) newWalk(ctx context.Context) (*walk, error) {
	profile, err := c.Profile(ctx) // how else could the answers be understood?
	if err != nil {
		return nil, err
	}
	longest := int(c.pageCount.Load())
	return &walk{
		c: c, profile: profile.Profile, position: position{Base: c.base.String(), PageSize: longest, ByOffset: profile.pagesByOffset}, longest: longest,
		versions: map[string]entry{}, asked: map[string]bool{}, counted: map[uint64]struct{}{}, hashes: map[uint64]bool{}, seed: maphash.MakeSeed(),
	}, nil
}

// continueFrom takes the place that a Listing.Next names.
func (w *walk) continueFrom(next string) error {
	var p position
	stored := json.NewDecoder(strings.NewReader(next))
	stored.DisallowUnknownFields() // of another version, which means something else by it
	if err := stored.Decode(&p); err != nil || p.Base != w.c.base.String() {
		return expired()
	}
	w.position = p
	w.PageSize = min(w.PageSize, w.longest)
	if _, err := w.address(); err != nil {
		return err
	}
	return nil
}

func expired() *Error {
	e := searchError(errExpired)
	e.Cause, e.Status = ListingExpired, 0
	return e
}

// next is the place for Listing.Next.
func (w *walk) next() string {
	text, err := json.Marshal(w.position)
	if err != nil {
		panic(err) // it always encodes
	}
	return string(text)
}

// address is that of the page to ask for.
func (w *walk) address() (*url.URL, error) {
	if w.Link != "" {
		// It may come from another configuration, and is followed with our credentials.
		at, err := url.Parse(w.Link)
		if err != nil || !w.c.below(at) {
			return nil, expired()
		}
		return at, nil
	}
	params := url.Values{}
	switch {
	case w.Since == "":
	case w.history:
		params.Set("_since", w.Since)
	default:
		params.Set("_lastUpdated", "ge"+w.Since)
	}
	if w.Sorted {
		params.Set("_sort", "_lastUpdated")
	}
	if w.PageSize > 0 {
		params.Set("_count", strconv.Itoa(w.PageSize))
	}
	if start := w.start(); start > 0 {
		params.Set("_offset", strconv.Itoa(start))
	}
	return w.c.typeURL(w.history, params), nil
}

// overlaps reports whether a page begins with what was shown last: if it does not,
// patients were added or removed before it, and others would be left out. A history
// grows at its begin, so nothing of it is left out.
func (w *walk) overlaps() bool {
	return w.ByOffset && !w.history && w.Offset > 0 && w.PageSize > 1 && len(w.Last) > 0
}

func (w *walk) start() int {
	switch {
	case !w.ByOffset:
		return 0
	case w.overlaps():
		return w.Offset - 1
	}
	return w.Offset
}

// run yields page after page.
func (w *walk) run(ctx context.Context, yield func(Listing, error) bool) {
	for {
		at, err := w.address()
		if err == nil && w.asked[at.String()] && !w.overlaps() {
			err = searchError(errNoProgress)
		}
		if err != nil {
			yield(Listing{}, err)
			return
		}
		w.asked[at.String()] = true
		p := w.read(ctx, at)
		switch {
		case p.tooLong:
			if !w.shorten(ctx, at, p, yield) {
				return
			}
			continue
		case p.slow && w.shortenSlow(ctx, at):
			continue
		case w.simplify(p):
			continue
		case p.err != nil && w.Link != "" && leadsNowhere(p.err):
			if p.err = expired(); w.resume() {
				continue
			}
		}
		if p.err != nil {
			yield(Listing{}, p.err)
			return
		}
		entries, found := w.behindLast(p.entries)
		switch {
		case found:
			if !w.take(ctx, p, entries, yield) {
				return
			}
		case !w.stepBack():
			yield(Listing{}, expired())
			return
		}
	}
}

// take yields what a page shows, and goes to the next one; false: it ends there.
func (w *walk) take(ctx context.Context, p page, entries []entry, yield func(Listing, error) bool) bool {
	here := w.position
	here.Failed = false // it is told once, and must not keep the listing from its end for ever
	fresh, err := w.newest(ctx, w.unseen(entries))
	stop := w.advance(p, entries)
	var short error // the listing has no Next, and starts over
	more := w.Link != "" || w.ByOffset && w.PageSize > 0 && len(entries) > 0
	switch {
	case err != nil:
	case stop != nil:
		err = stop
	case more:
	case w.ByOffset && p.next != nil && w.Offset > 0:
		err = searchError(errNoProgress) // it does not know _offset
	case w.Failed:
		err = searchError(errOutcome)
	default:
		short = w.missing(ctx)
	}
	if err != nil {
		w.position = here // this page is asked for again
	}
	l := Listing{ServerTime: p.serverTime, Deletes: w.history}
	for _, e := range fresh {
		l.Changes = append(l.Changes, Change{ID: e.id, Patient: e.patient, Deleted: e.deleted, At: e.at, Err: e.err})
	}
	if more || err != nil {
		l.Next = w.next()
	}
	if !yield(l, nil) {
		return false
	}
	if err = cmp.Or(err, short); err != nil {
		yield(Listing{}, err)
	}
	return err == nil && more
}

// advance goes on behind a page.
func (w *walk) advance(p page, entries []entry) error {
	if w.ByOffset {
		w.Offset = w.start()
	}
	w.Offset += len(p.entries)
	w.Failed = w.Failed || p.failed
	w.tally(p, entries)
	if w.Began.IsZero() {
		w.Began = p.serverTime
	}
	fresh := false
	for i := range entries {
		e := &entries[i]
		fresh = fresh || !w.hashes[e.hash]
		w.hashes[e.hash] = true
		w.learnOrder(e)
		w.Last = append(w.Last, e.mark())
	}
	w.Last = slices.Clone(w.Last[max(0, len(w.Last)-maxLast):])
	switch {
	case fresh:
		w.idle, w.empty, w.resumes = 0, 0, 0
	case len(entries) > 0:
		w.idle++
	default:
		w.empty++
	}
	w.skipped = 0
	if w.slow {
		w.slow = false
		w.c.pageCount.Store(int32(w.longest)) // not before a shorter one was seen to do
	}
	if w.good++; w.good >= goodPages && w.PageSize > 0 && w.PageSize < w.longest {
		w.PageSize, w.good = min(2*w.PageSize, w.longest), 0
	}
	w.Link = ""
	switch {
	case w.ByOffset:
	case p.linkErr != nil:
		return p.linkErr
	case p.next != nil && !w.history && p.next.Query().Get("_offset") == strconv.Itoa(w.Offset):
		w.ByOffset = true // the pages can be made to overlap
	case p.next != nil:
		w.Link = p.next.String()
	}
	if w.idle >= maxIdlePages || w.empty >= maxEmptyPages || w.asked[w.Link] {
		return searchError(errNoProgress)
	}
	return nil
}
