package db

import (
	"context"
	"log/slog"
	"strings"
	"unicode"

	"github.com/uptrace/bun"
	"golang.org/x/text/unicode/norm"
)

// keepLocalContact writes into the journal which contact values a LOCAL_ONLY patient
// loses when it is linked: the FHIR server has others, or none. Nobody else has them.
func (i *importing) keepLocalContact(ctx context.Context, row *Patient, n NewPatient) error {
	lost, fields := lostContact(row, n.State)
	if len(fields) == 0 {
		return nil
	}
	id := i.store.NewID()
	if _, err := i.store.exec(ctx, i.tx, addLinked, id, row.ID, clean(n.FHIRID), shownJSON(lost)); err != nil {
		return err
	}
	i.note(slog.LevelWarn, "patient "+row.ID+" was found on the FHIR server, whose contact values differ and count: the local ones are in the journal",
		"patient", row.ID, "operation", id, "fields", fields)
	return nil
}

// aside is a row as it was before another person took its FHIR id, and which of its fields
// were recorded here alone.
type aside struct {
	was    Patient
	fields []string
}

// takeAside clears what is recorded here alone where another person is shown under the
// FHIR id: a server that was installed anew, or another one, gives the same ids again.
func takeAside(row *Patient, shown FHIRState) aside {
	a := aside{was: *row}
	if isStranger(row, shown) {
		a.fields, _ = moveLocal(row, &Patient{}) // to nobody: this clears them
	}
	return a
}

// keepAside writes the row as it was into the journal: nobody else has these values.
func (s *Store) keepAside(ctx context.Context, tx bun.Tx, a aside) ([]event, error) {
	if len(a.fields) == 0 {
		return nil, nil
	}
	id := s.NewID()
	if _, err := s.exec(ctx, tx, addLinked, id, a.was.ID, a.was.FHIRID, clean(toJSON(a.was))); err != nil {
		return nil, err
	}
	return []event{{slog.LevelWarn, "the FHIR server shows another person under the FHIR id of patient " + a.was.ID +
		": what was recorded here of the former one is in the journal alone; check FHIR_BASE_URL",
		[]any{"patient", a.was.ID, "operation", id, "fields", a.fields}}}, nil
}

// isStranger reports whether name and birth date are both known, and both others. One of
// them is a correction.
func isStranger(row *Patient, shown FHIRState) bool {
	if row.BirthDate == "" || shown.BirthDate == "" || row.BirthDate == shown.BirthDate {
		return false
	}
	was, is := keysOf(&row.FHIRState).name, keysOf(&shown).name
	const none = separator + separator
	return was != none && is != none && was != is
}

// lostContact returns the row with only those contact values that FHIR does not show, and
// their fields.
func lostContact(row *Patient, shown FHIRState) (*Patient, []string) {
	lost := *row
	var fields []string
	if samePlain(row.Phone, shown.Phone) || samePhoneNumber(row.Phone, shown.Phone) {
		lost.Phone = ""
	} else {
		fields = append(fields, fieldNames[phoneField])
	}
	if samePlain(row.Email, shown.Email) {
		lost.Email = ""
	} else {
		fields = append(fields, fieldNames[emailField])
	}
	if sameParts(row.Address, shown.Address) {
		lost.Address = nil
	} else {
		fields = append(fields, fieldNames[addressField])
	}
	return &lost, fields
}

// samePlain reports whether a local value is none, or the other's but for case, width
// and blanks. Which forms mean the same otherwise is the FHIR side's to know; a value
// kept for nothing does no harm.
func samePlain(local, other string) bool {
	plain := func(s string) string {
		return strings.Join(strings.Fields(strings.ToLower(norm.NFKC.String(s))), " ")
	}
	return plain(local) == "" || plain(local) == plain(other)
}

// samePhoneNumber reports whether two numbers without words have the same digits.
func samePhoneNumber(a, b string) bool {
	number := func(s string) string {
		if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsLetter(r) || strings.ContainsRune("*#,;~", r) }) {
			return ""
		}
		return digitsOnly(s)
	}
	return number(a) != "" && number(a) == number(b)
}

// sameParts reports whether the other address has every part that the local one has.
func sameParts(local, other *Address) bool {
	parts := func(a *Address) []string {
		if a == nil {
			a = &Address{}
		}
		return []string{a.Text, strings.Join(a.Lines, " "), a.City, a.District, a.State, a.PostalCode, a.Country}
	}
	others := parts(other)
	for n, part := range parts(local) {
		if !samePlain(part, others[n]) {
			return false
		}
	}
	return true
}
