package mirror

import (
	"testing"
	"time"
)

var noon = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return noon.Add(d) }

func TestFromWhenChangesAreLookedAt(t *testing.T) {
	t.Parallel()
	followed := func(newest time.Duration) progress {
		return progress{From: at(-time.Hour), ServerAt: noon, PolledAt: noon, WideAt: at(-time.Minute), WideTo: at(-2 * time.Hour), Newest: at(newest), NewestAt: noon}
	}
	quiet := followed(-time.Hour)
	quiet.NewestAt = at(-late)
	seen := quiet
	seen.WideTo, seen.WideAt = at(-time.Hour), noon
	early := seen
	early.WideAt = at(-time.Second)
	unknown := followed(0)
	unknown.Newest = time.Time{}
	never := followed(-time.Minute)
	never.WideTo = time.Time{}
	back := followed(-time.Minute)
	back.WideTo = noon
	for name, c := range map[string]struct {
		progress    progress
		since, wide time.Time
	}{
		"nothing is known":                   {progress{}, time.Time{}, time.Time{}},
		"nobody has looked":                  {progress{From: at(-time.Hour)}, at(-time.Hour), time.Time{}},
		"after the last change":              {followed(-time.Minute), at(-time.Minute - overlap), at(-2*time.Hour - late)},
		"by a clock that is behind":          {followed(-time.Hour), at(-time.Hour - overlap), at(-2*time.Hour - late)},
		"it is dated in the future":          {followed(time.Hour), at(-overlap), at(-2*time.Hour - late)},
		"it was seen long before":            {quiet, at(-time.Hour), at(-2*time.Hour - late)},
		"and a wide poll came long after it": {seen, at(-time.Hour), time.Time{}},
		"or not quite so long":               {early, at(-time.Hour), at(-time.Hour - late)},
		"nobody knows of a change":           {unknown, at(-late), time.Time{}},
		"no wide poll was made":              {never, at(-time.Minute - overlap), at(-time.Minute - 2*late)},
		"the clock was set back since":       {back, at(-time.Minute - overlap), at(-time.Minute - 2*late)},
	} {
		if since, wide := c.progress.since(), c.progress.sinceWide(); !since.Equal(c.since) || !wide.Equal(c.wide) {
			t.Errorf("%s: %v, wide %v", name, since, wide)
		}
	}
}

func TestWhenAWidePollIsDue(t *testing.T) {
	t.Parallel()
	const staleAfter = 5 * time.Minute
	followed := progress{ServerAt: noon, WideAt: at(-time.Minute)}
	alone := followed
	alone.Alone = true
	forgotten := followed
	forgotten.WideAt = at(time.Hour)
	for name, c := range map[string]struct {
		progress progress
		now      time.Duration
		due      bool
	}{
		"the first look is one":        {progress{}, 0, false},
		"a minute later":               {followed, 0, false},
		"once in a while":              {followed, staleAfter - time.Minute, true},
		"our clock was set back since": {forgotten, 0, true},
		"nothing can be asked for":     {alone, time.Hour, false},
	} {
		if due := c.progress.isWideDue(at(c.now), staleAfter); due != c.due {
			t.Errorf("%s: %v", name, due)
		}
	}
}

func TestTheServersClockWasSetBack(t *testing.T) {
	t.Parallel()
	const passed = time.Minute
	p := progress{ServerAt: noon, PolledAt: at(3 * time.Hour)} // by our clock, which is another one
	asked := at(3*time.Hour + passed)
	for name, c := range map[string]struct {
		progress progress
		serverAt time.Time
		asked    time.Time
		again    time.Time
	}{
		"as much time has passed":    {p, at(passed), asked, time.Time{}},
		"a little less":              {p, at(passed - overlap/2), asked, time.Time{}},
		"more":                       {p, at(time.Hour), asked, time.Time{}},
		"set back by an hour":        {p, at(passed - time.Hour), asked, at(-time.Hour - late)},
		"set back by seconds":        {p, at(passed - overlap), asked, at(-overlap - late)},
		"nobody has looked before":   {progress{}, at(-time.Hour), asked, time.Time{}},
		"the server tells no time":   {p, time.Time{}, asked, time.Time{}},
		"our own clock was set back": {p, at(passed), at(0), time.Time{}},
	} {
		if again := c.progress.setBack(c.serverAt, c.asked); !again.Equal(c.again) {
			t.Errorf("%s: %v", name, again)
		}
	}
}
