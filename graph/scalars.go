package graph

import (
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// dateTimeForm is of one width: many clients read nothing else (Swift's ISO 8601
// formatter), and as text instants have their order.
const dateTimeForm = "2006-01-02T15:04:05.000Z"

// MarshalDateTime writes an instant as RFC 3339 in UTC with milliseconds. The rest is
// cut off, not rounded: a record changed at or after the instant that is told.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		_, _ = io.WriteString(w, strconv.Quote(t.UTC().Format(dateTimeForm)))
	})
}

// instantForm is RFC 3339 section 5.6, of which Go's parser takes more: one digit of an
// hour, a comma before the fraction, an offset of a whole day.
var instantForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,40})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// leapSecond is 60 where RFC 3339 has a second.
var leapSecond = regexp.MustCompile(`^(.{17})60(\.\d+)?([Z+-].*)$`)

var errNoDateTime = errors.New("a DateTime is a string in RFC 3339 with its time zone, for example \"2026-11-23T09:30:00Z\"")

// UnmarshalDateTime reads RFC 3339, time zone included. T and Z may be small, and a
// leap second is the one after it (section 5.6 and 5.7), which Go's parser does not know.
func UnmarshalDateTime(v any) (time.Time, error) {
	s, ok := v.(string)
	s = strings.ToUpper(s)
	if !ok || !instantForm.MatchString(s) {
		return time.Time{}, errNoDateTime
	}
	leap := leapSecond.FindStringSubmatch(s)
	if leap != nil {
		s = leap[1] + "59" + leap[2] + leap[3]
	}
	t, err := time.Parse(time.RFC3339, s)
	if leap != nil {
		t = t.Add(time.Second)
	}
	if err != nil || t.Year() < 1 {
		return time.Time{}, errNoDateTime
	}
	return t, nil
}

// PartialDate is a FHIR date: YYYY, YYYY-MM or YYYY-MM-DD.
type PartialDate string

// partialDatePattern is FHIR's own pattern for date, R4 datatypes#date.
var partialDatePattern = regexp.MustCompile(`^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$`)

// MarshalGQL writes the date as it is.
func (d PartialDate) MarshalGQL(w io.Writer) {
	graphql.MarshalString(string(d)).MarshalGQL(w) // in the cache it may be anything
}

// UnmarshalGQL accepts a date that exists, with or without day and month.
func (d *PartialDate) UnmarshalGQL(v any) error {
	s, ok := v.(string)
	valid := ok && partialDatePattern.MatchString(s)
	if valid && len(s) == len(time.DateOnly) {
		_, err := time.Parse(time.DateOnly, s)
		valid = err == nil
	}
	if !valid {
		return errors.New("a PartialDate is YYYY, YYYY-MM or YYYY-MM-DD")
	}
	*d = PartialDate(s)
	return nil
}
