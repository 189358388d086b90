package fhir

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// learnOrder learns how far a sorted search has come. Which patients it finds may be frozen
// with its first page while their content is not: one that was changed since says
// nothing of its place.
func (w *walk) learnOrder(e *entry) {
	switch {
	case !w.Sorted, w.history, e.err != nil && e.at.IsZero():
	case e.at.IsZero(), e.at.Before(w.Lower):
		w.Mixed = true
	case w.Began.IsZero() || e.at.Before(w.Began):
		w.Lower = e.at
	}
}

// behindLast are the entries of a page that follow those that were shown last; false:
// it has none of those.
func (w *walk) behindLast(entries []entry) ([]entry, bool) {
	if !w.overlaps() {
		return entries, true
	}
	for i := range slices.Backward(entries) {
		if entries[i].id != "" && slices.Contains(w.Last, entries[i].mark()) {
			return entries[i+1:], true
		}
	}
	return nil, false
}

// unseen leaves out who was shown before the query was asked anew, and has not changed
// since.
func (w *walk) unseen(entries []entry) []entry {
	if w.From.IsZero() {
		return entries
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e entry) bool {
		return e.id != "" && e.at.Equal(w.From) && slices.Contains(w.Last, e.mark())
	})
}

// stepBack looks for the place further ahead.
func (w *walk) stepBack() bool {
	if w.resume() {
		return true
	}
	if w.Offset > 1 {
		w.Offset = max(1, w.Offset-max(1, w.PageSize/2))
		return true
	}
	// Nobody is left of those: what follows them can begin anywhere.
	w.Offset, w.Last = 0, nil
	clear(w.asked)
	w.resumes++
	return w.resumes <= maxResumes
}

// resume asks anew for what was not shown yet.
func (w *walk) resume() bool {
	if !w.Sorted || w.Mixed || w.Lower.IsZero() || w.resumes >= maxResumes {
		return false
	}
	w.resumes++
	w.Since, w.From, w.Link, w.Offset, w.Began = instant(w.Lower), w.Lower, "", 0, time.Time{}
	w.Total, w.Shown = 0, 0
	clear(w.counted)
	clear(w.asked)
	return true
}

// leadsNowhere is the answer to a link whose page is gone.
func leadsNowhere(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == http.StatusGone || e.Status == http.StatusNotFound || e.Status == http.StatusBadRequest && e.Kind == Rejected)
}

// simplify asks a listing's first page without what the server may not know, where it
// is refused or shows nobody.
func (w *walk) simplify(p page) bool {
	var e *Error
	refused := notOffered(p.err) && errors.As(p.err, &e) && e.Status >= 400
	nobody := p.err == nil && len(p.entries) == 0 && p.next == nil && p.linkErr == nil && !p.failed
	if !w.simplifies || w.Link != "" || w.Offset > 0 || w.Since != "" || !refused && !nobody {
		return false
	}
	switch {
	case w.Sorted:
		w.Sorted = false
	case nobody && w.profile.countHidesAll && w.PageSize > 0:
		w.PageSize = 0
	default:
		return false
	}
	return true
}

// shorten asks for less after a page that is too long. A patient that is too long by
// itself is told by id or place, and passed over.
func (w *walk) shorten(ctx context.Context, at *url.URL, p page, yield func(Listing, error) bool) bool {
	w.good = 0
	delete(w.asked, at.String())
	switch {
	case w.Link != "" && w.leaveLink(at):
		return true
	case w.Link == "" && w.PageSize > 1:
		w.PageSize /= 2
		return true
	case w.Link != "", w.PageSize == 0, w.skipped >= maxSkipped:
		yield(Listing{}, p.err)
		return false
	}
	e, err := w.tooLong(ctx, at, p.head)
	if err != nil {
		yield(Listing{}, err)
		return false
	}
	w.ByOffset, w.Last = true, nil
	w.Offset++
	w.Shown++
	w.skipped++
	l := Listing{Changes: []Change{{ID: e.id, Patient: e.patient, Deleted: e.deleted, At: e.at, Err: e.err}}, Deletes: w.history, Next: w.next()}
	switch {
	case !w.history:
	case e.id == "":
		w.blind = true
	default:
		w.versions[e.id] = e
	}
	return yield(l, nil)
}

// shortenSlow asks for much less after a page that the server could not make. It is
// tried once: a server that is down answers no page. If that does, pages may become
// longer again, but not as long as this one.
func (w *walk) shortenSlow(ctx context.Context, at *url.URL) bool {
	params := at.Query()
	count, err := strconv.Atoi(params.Get("_count"))
	if err != nil {
		count = w.PageSize // the link has it within
	}
	if count <= shortPage || ctx.Err() != nil {
		return false
	}
	switch {
	case w.Link == "", !w.history && w.resume():
	case err == nil:
		params.Set("_count", strconv.Itoa(shortPage))
		w.Link = w.withQuery(at, params)
	default:
		return false
	}
	delete(w.asked, at.String())
	w.slow, w.good, w.PageSize, w.longest = true, 0, shortPage, max(shortPage, count/2)
	return true
}

func (w *walk) withQuery(at *url.URL, params url.Values) string {
	return w.c.base.ResolveReference(&url.URL{Path: at.Path, RawPath: at.RawPath, RawQuery: params.Encode()}).String()
}

// leaveLink asks for less than a link does.
func (w *walk) leaveLink(at *url.URL) bool {
	params := at.Query()
	count, err := strconv.Atoi(params.Get("_count"))
	switch {
	case w.history:
		w.Link, w.ByOffset = "", true
	case w.resume():
		w.ByOffset = true
	case err == nil && count > 1:
		params.Set("_count", strconv.Itoa(count/2))
		w.Link = w.withQuery(at, params)
		return true
	case w.Offset == 0:
		return false
	default: // by place, which is seen to be right as long as a page has more than one
		w.Link, w.ByOffset = "", true
	}
	w.PageSize = max(1, w.PageSize/2)
	return true
}

// tooLong tells who the only patient of a page is. A server that cannot show the id alone
// shows it where the page begins; that page may be so long for another reason, so this
// patient is read, and if he can be there is nothing to tell but what he is.
func (w *walk) tooLong(ctx context.Context, at *url.URL, head []byte) (entry, error) {
	short := *at
	params := short.Query()
	params.Set("_elements", "id")
	short.RawQuery = params.Encode()
	var is entry
	if p := w.read(ctx, &short); p.err == nil && len(p.entries) == 1 {
		is = p.entries[0]
	} else if is = firstOf(head); is.id != "" {
		direct, err := w.readDirectly(ctx, is)
		if err != nil || direct.err == nil {
			return direct, err
		}
		is.final = true
	}
	err := badEntry(errTooLong)
	if is.id == "" {
		err.Reason += fmt.Sprintf(" (the one behind the first %d)", w.Offset)
		if n := len(w.Last); n > 0 {
			id, _, _ := strings.Cut(w.Last[n-1], " ") // empty where that one was bad
			err.Reason += "; it follows Patient/" + id
		}
	}
	return entry{id: is.id, version: is.version, at: is.at, final: is.final, err: err}, nil
}

// firstOf is whom the first entry of a Bundle is about of which only the beginning is
// there; no id: it does not say.
func firstOf(head []byte) entry {
	entries := elements(member(gjson.ParseBytes(head), "entry"))
	if len(entries) == 0 {
		return entry{}
	}
	resource := member(entries[0], "resource")
	kind, id := namedBy(entries[0])
	if own := member(resource, "id"); own.Type == gjson.String && strings.HasSuffix(own.Raw, `"`) {
		kind, id = str(resource, "resourceType"), own.Str
	}
	if kind != "Patient" || checkID(OpSearch, id) != nil {
		return entry{}
	}
	meta := member(resource, "meta")
	is := entry{id: strings.Clone(id), version: strings.Clone(str(meta, "versionId"))}
	if t, err := time.Parse(time.RFC3339, str(meta, "lastUpdated")); err == nil {
		is.at = t
	}
	return is
}
