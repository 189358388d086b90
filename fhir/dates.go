package fhir

import (
	"slices"
	"strings"
	"time"
)

// monthNames are the beginnings of the months' names in languages that servers
// speak; a name may be cut to three letters, or written out.
var monthNames = [12][]string{
	{"january", "jan", "januar", "janvier", "enero", "gennaio", "janeiro"},
	{"february", "feb", "februar", "fevrier", "fev", "febrero", "febbraio", "fevereiro"},
	{"march", "mar", "mrz", "marz", "mars", "marzo", "marco", "maart"},
	{"april", "apr", "avril", "avr", "abril", "abr", "aprile"},
	{"may", "mai", "mayo", "maggio", "maio", "mei"},
	{"june", "jun", "juni", "juin", "junio", "giugno", "junho"},
	{"july", "jul", "juli", "juillet", "julio", "luglio", "julho"},
	{"august", "aug", "aout", "agosto", "ago"},
	{"september", "sep", "sept", "septembre", "septiembre", "settembre", "setembro"},
	{"october", "oct", "oktober", "okt", "octobre", "octubre", "ottobre", "outubro"},
	{"november", "nov", "novembre", "noviembre", "novembro"},
	{"december", "dec", "dezember", "dez", "desember", "des", "decembre", "diciembre", "dicembre", "dezembro"},
}

// besideDates may stand between the parts of a date.
var besideDates = strings.Fields("th st nd rd of de den der 년 월 일 年 月 日")

// addDate adds a date in the forms in which it may be repeated; month and day
// may be "". Of the birth date the year alone is a value, too, and so are month
// and day.
func (s *Secrets) addDate(year, month, day string, birth bool) {
	s.dates[strings.Trim(year+"-"+month+"-"+day, "-")] = true
	if birth {
		s.insertWords([]string{year}, hides)
		for _, word := range besideDates {
			s.fillers[foldWord(word)] = true
		}
		// A time zone may move it to the day before or after.
		if t, err := time.Parse(time.DateOnly, year+"-"+month+"-"+day); err == nil {
			s.dates[t.AddDate(0, 0, -1).Format(time.DateOnly)] = true
			s.dates[t.AddDate(0, 0, 1).Format(time.DateOnly)] = true
		}
	}
	if month == "" {
		return
	}
	months, days := numberForms(month), []string{""}
	if t, err := time.Parse("01", month); err == nil {
		for _, name := range monthNames[t.Month()-1] {
			months = append(months, foldWord(name))
		}
	}
	if day != "" {
		days = numberForms(day)
	}
	years := []string{year}
	if birth && day != "" {
		years = append(years, year[2:])
	}
	for _, m := range months {
		if birth {
			s.fragments[m] = true
		}
		for _, d := range days {
			if birth {
				s.fragments[d] = true
				s.addDateWords(birth, m, d)
			}
			for _, y := range years {
				s.addDateWords(birth, y, m, d)
			}
		}
	}
}

// addDateWords adds the orders in which the parts of a date are written, with
// blanks or the like between them and, of the birth date, without.
func (s *Secrets) addDateWords(birth bool, parts ...string) {
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
	if len(parts) < 2 {
		return
	}
	orders := [][]string{parts, slices.Clone(parts)}
	slices.Reverse(orders[1])
	if len(parts) == 3 {
		orders = append(orders, []string{parts[1], parts[2], parts[0]})
	}
	for _, words := range orders {
		if size := len(strings.Join(words, "")); size < 3 {
			continue // "4/7" may be anything
		}
		s.insertWords(words, hides)
		if joined := strings.Join(words, ""); birth && len(joined) >= 6 {
			s.insert(foldText(joined).tokens, hides)
		}
	}
}

// numberForms are "04" and "4".
func numberForms(number string) []string {
	if short := strings.TrimPrefix(number, "0"); short != number {
		return []string{number, short}
	}
	return []string{number}
}
