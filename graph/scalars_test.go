package graph

import (
	"bytes"
	"testing"
	"time"
)

func TestADateTimeIsToldInUTCWithMilliseconds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC), `"2026-11-23T09:30:00.000Z"`},
		{time.Date(2026, 11, 23, 9, 30, 0, 120_000_000, time.UTC), `"2026-11-23T09:30:00.120Z"`},
		{time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, time.UTC), `"2026-12-31T23:59:59.999Z"`}, // cut off, not rounded
		{time.Date(2026, 1, 1, 8, 0, 0, 1_000_000, time.FixedZone("KST", 9*60*60)), `"2025-12-31T23:00:00.001Z"`},
	} {
		var told bytes.Buffer
		MarshalDateTime(c.at).MarshalGQL(&told)
		if told.String() != c.want {
			t.Errorf("%v is told as %s, want %s", c.at, told.String(), c.want)
		}
	}
}

func TestADateTimeMayBeAnyRFC3339(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	for text, at := range map[string]time.Time{
		"2026-11-23T09:30:00Z":                want,
		"2026-11-23T18:30:00+09:00":           want,
		"2026-11-23t09:30:00z":                want, // section 5.6: T and Z may be small
		"2026-11-23T09:30:00-00:00":           want,
		"2026-11-23T09:30:00.000000000000Z":   want,
		"2026-11-23T09:30:00.5+00:00":         want.Add(500 * time.Millisecond),
		"2016-12-31T23:59:60Z":                time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC), // a leap second
		"2016-12-31T15:59:60.25-08:00":        time.Date(2017, 1, 1, 0, 0, 0, 250_000_000, time.UTC),
		"0001-01-01T00:00:00Z":                {},
		"9999-12-31T23:59:59.999999999+00:00": time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		got, err := UnmarshalDateTime(text)
		if err != nil || !got.Equal(at) {
			t.Errorf("%s is %v, %v; want %v", text, got, err, at)
		}
	}
	for _, wrong := range []any{
		"", "2026-11-23", "2026-11-23T09:30:00", "2026-11-23T09:30Z", "2026-02-30T09:30:00Z", "2026-11-23T09:30:61Z",
		"2026-11-23T09:61:60Z", "2026-11-23T09:30:00+25:00", "2026-11-23T09:30:00+24:00",
		"2026-11-23T9:30:00Z", "2026-11-23T09:30:00,5Z", "yesterday", 5, nil, true,
	} {
		if got, err := UnmarshalDateTime(wrong); err == nil {
			t.Errorf("%v is taken as %v", wrong, got)
		}
	}
}
