package mirror

import (
	"testing"
	"time"
)

var noon = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return noon.Add(d) }

func TestFromWhenChangesAreLookedAt(t *testing.T) {
	t.Parallel()
	const staleAfter = 5 * time.Minute
	followed := func(newest time.Duration) progress {
		return progress{From: at(-time.Hour), ServerAt: noon, PolledAt: noon, WideAt: at(-time.Minute), Newest: at(newest), NewestAt: noon}
	}
	forgotten := followed(0)
	forgotten.WideAt = at(time.Hour) // our clock was set back since
	quiet := followed(-time.Hour)
	quiet.NewestAt = at(-2 * wide)
	unknown := followed(0)
	unknown.Newest = time.Time{}
	for name, c := range map[string]struct {
		progress progress
		now      time.Duration
		since    time.Time
		wide     bool
	}{
		"nothing is known":                 {progress{}, 0, time.Time{}, true},
		"nobody has looked":                {progress{From: at(-time.Hour)}, 0, at(-time.Hour), true},
		"after the last change":            {followed(-time.Minute), time.Second, at(-time.Minute - overlap), false},
		"by a clock that is behind":        {followed(-time.Hour), time.Second, at(-time.Hour - overlap), false},
		"that change was long ago":         {quiet, time.Second, at(-time.Hour), false},
		"nobody knows of a change":         {unknown, time.Second, at(-2 * wide), false},
		"it is dated in the future":        {followed(time.Hour), time.Second, at(-overlap), false},
		"once in a while it is a wide one": {followed(-time.Minute), staleAfter - time.Minute, at(-time.Minute - 2*wide), true},
		"also if our clock was set back":   {forgotten, 0, at(-2 * wide), true},
	} {
		if since, wide := c.progress.since(at(c.now), staleAfter); !since.Equal(c.since) || wide != c.wide {
			t.Errorf("%s: %v, wide %v", name, since, wide)
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
		"set back by an hour":        {p, at(passed - time.Hour), asked, at(-time.Hour - wide)},
		"set back by seconds":        {p, at(passed - overlap), asked, at(-overlap - wide)},
		"nobody has looked before":   {progress{}, at(-time.Hour), asked, time.Time{}},
		"the server tells no time":   {p, time.Time{}, asked, time.Time{}},
		"our own clock was set back": {p, at(passed), at(0), time.Time{}},
	} {
		if again := c.progress.setBack(c.serverAt, c.asked); !again.Equal(c.again) {
			t.Errorf("%s: %v", name, again)
		}
	}
}
