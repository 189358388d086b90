package fhir

import (
	"slices"
	"strconv"
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

// inflectedMonths are the months as they stand beside a day in languages that inflect them
// or write them in other letters, with their Roman numbers. What they have with monthNames
// in common is left out.
var inflectedMonths = [12]string{
	"i gener januari января январь янв січня януари јануар januara siječnja sijecnja stycznia styczeń ledna leden januára januarja ιανουαρίου ιανουάριος ιαν ocak tammikuuta tammikuu január ianuarie janúar jaanuar janvāris sausio يناير كانون ינואר जनवरी มกราคม",
	"ii febrer februari pebrero februarie февраля февраль фев лютого февруари фебруар februara veljače lutego luty února únor februára februarja φεβρουαρίου φεβρουάριος φεβ şubat helmikuuta helmikuu február febrúar veebruar februāris vasario فبراير شباط פברואר फ़रवरी กุมภาพันธ์",
	"iii març marts marso maret mac марта март мар березня ožujka ozujka marca marzec března březen μαρτίου μάρτιος mart maaliskuuta maaliskuu március martie mars märts kovo مارس آذار מרץ मार्च มีนาคม",
	"iv апреля апрель апр квітня април travnja kwietnia kwiecień dubna duben apríla απριλίου απρίλιος nisan huhtikuuta huhtikuu április aprilie apríl aprill aprīlis balandžio أبريل نيسان אפריל अप्रैल เมษายน",
	"v maig maj mayıs мая май травня мај svibnja maja května květen mája μαΐου μάιος toukokuuta toukokuu május mai maí maijs gegužės مايو أيار מאי मई พฤษภาคม",
	"vi juny juni hunyo июня июнь июн червня юни јун lipnja czerwca czerwiec června červen júna junija ιουνίου ιούνιος haziran kesäkuuta kesäkuu június iunie júní juuni jūnijs birželio يونيو حزيران יוני जून มิถุนายน",
	"vii juliol juli julai hulyo июля июль июл липня юли јул srpnja lipca lipiec července červenec júla julija ιουλίου ιούλιος temmuz heinäkuuta heinäkuu július iulie júlí juuli jūlijs liepos يوليو تموز יולי जुलाई กรกฎาคม",
	"viii agost augustus ogos agustus августа август авг серпня kolovoza sierpnia sierpień srpna srpen augusta avgusta αυγούστου αύγουστος ağustos elokuuta elokuu augusztus augusti ágúst augusts rugpjūčio أغسطس آب אוגוסט अगस्त สิงหาคม",
	"ix setembre setiembre setyembre сентября сентябрь сен вересня септември септембар rujna września wrzesień září septembra σεπτεμβρίου σεπτέμβριος eylül syyskuuta syyskuu szeptember septembrie septembris rugsėjo سبتمبر أيلول ספטמבר सितंबर กันยายน",
	"x oktobre oktubre октября октябрь окт жовтня октомври октобар listopada października październik října říjen októbra oktobra οκτωβρίου οκτώβριος ekim lokakuuta lokakuu október octombrie oktober oktoober oktobris spalio أكتوبر תשרין אוקטובר अक्टूबर ตุลาคม",
	"xi nobyembre november ноября ноябрь ноя листопада ноември новембар studenoga studenog listopad listopadu novembra νοεμβρίου νοέμβριος kasım marraskuuta marraskuu noiembrie nóvember novembris lapkričio نوفمبر נובמבר नवंबर พฤศจิกายน",
	"xii desembre desember disember disyembre декабря декабрь дек грудня декември децембар prosinca grudnia grudzień prosince prosinec decembra δεκεμβρίου δεκέμβριος aralık joulukuuta joulukuu decembrie detsember decembris gruodžio ديسمبر דצמבר दिसंबर ธันวาคม",
}

// addDate adds a date in the forms in which it may be repeated; month and day
// may be "". Of the birth date the year alone is a value, too, and so are month
// and day.
func (s *Secrets) addDate(year, month, day string, birth bool) {
	s.dates[strings.Trim(year+"-"+month+"-"+day, "-")] = true
	years := [][]string{{year}}
	if birth {
		s.insertWords([]string{year}, hides)
		s.insertWords([]string{yearInThailand(year)}, hides)
		s.addDateParts(year, month, day)
		if day != "" {
			years = append(years, []string{year[2:]})
		}
		// A time zone may move it to the day before or after.
		if t, err := time.Parse(time.DateOnly, year+"-"+month+"-"+day); err == nil {
			for _, beside := range []time.Time{t.AddDate(0, 0, -1), t.AddDate(0, 0, 1)} {
				s.dates[beside.Format(time.DateOnly)] = true
				s.addDateParts(beside.Format("2006"), beside.Format("01"), beside.Format("02"))
			}
		}
	}
	if month == "" {
		return
	}
	days := [][]string{nil}
	if day != "" {
		days = numberForms(day)
	}
	for _, m := range monthForms(month) {
		if birth {
			s.fragments[m[0]] = true
		}
		for _, d := range days {
			if birth {
				if d != nil {
					s.fragments[d[0]] = true
				}
				s.addDateWords(birth, m, d)
			}
			for _, y := range years {
				s.addDateWords(birth, y, m, d)
			}
		}
	}
	if !birth {
		return
	}
	s.addInflected(year, month, days)
	for _, d := range days {
		if d != nil {
			s.birthDays[year+" "+d[0]] = true
		}
	}
	years = append(years, otherYears(year)...)
	for _, m := range numberForms(month) {
		for _, d := range days {
			for _, y := range years {
				s.insertWords(slices.Concat(y, m, d), hides) // S13.4.17
			}
		}
	}
	if day != "" { // 4월 17일, 昭和13年4月17日
		for _, signs := range [][]string{{"년", "월", "일"}, {"年", "月", "日"}} {
			for _, m := range numberForms(month) {
				for _, d := range days {
					rest := slices.Concat(m, tokensOf(signs[1]), d, tokensOf(signs[2]))
					s.insertWords(rest, hides)
					for _, y := range years {
						s.insertWords(slices.Concat(y, tokensOf(signs[0]), rest), hides)
					}
				}
			}
		}
	}
}

// otherYears are a year as Taiwan and Japan's eras count it, and Thailand.
func otherYears(year string) (years [][]string) {
	n, _ := strconv.Atoi(year)
	for _, before := range []int{1867, 1911, 1925, 1988, 2018} {
		if n > before && n-before < 130 {
			years = append(years, []string{strconv.Itoa(n - before)})
		}
	}
	return append(years, []string{yearInThailand(year)})
}

func yearInThailand(year string) string {
	n, _ := strconv.Atoi(year)
	return strconv.Itoa(n + 543)
}

// monthForms are the ways to write a month: its number, and its names.
func monthForms(month string) [][]string {
	forms := numberForms(month)
	if t, err := time.Parse("01", month); err == nil {
		for _, name := range monthNames[t.Month()-1] {
			forms = append(forms, []string{foldWord(name)})
		}
	}
	return forms
}

// addInflected adds the month of the birth date in more languages, as it stands beside a
// day or the year.
func (s *Secrets) addInflected(year, month string, days [][]string) {
	t, err := time.Parse("01", month)
	if err != nil {
		return
	}
	for _, m := range inflectedWords[t.Month()-1] {
		s.insertWords(slices.Concat(m, []string{year}), hides)
		if len(m) == 1 {
			s.fragments[m[0]] = true
		}
		for _, d := range days {
			if d != nil {
				s.insertWords(slices.Concat(m, d), hides)
				s.insertWords(slices.Concat(d, m), hides)
				s.insertWords(slices.Concat(d, m, []string{year[2:]}), hides)
			}
		}
	}
}

// inflectedWords are the tokens of inflectedMonths.
var inflectedWords = func() (words [12][][]string) {
	for n, names := range inflectedMonths {
		for name := range strings.FieldsSeq(names) {
			words[n] = append(words[n], tokensOf(name))
		}
	}
	return words
}()

// tokensOf are the words of a text, folded: of a script without blanks each letter.
func tokensOf(text string) (words []string) {
	for _, t := range foldText(text).tokens {
		words = append(words, t.word)
	}
	return words
}

// addDateWords adds the orders in which the parts of a date are written, with
// blanks or the like between them and, of the birth date, without.
func (s *Secrets) addDateWords(birth bool, parts ...[]string) {
	parts = slices.DeleteFunc(parts, func(p []string) bool { return len(p) == 0 })
	if len(parts) < 2 {
		return
	}
	orders := [][][]string{parts, slices.Clone(parts)}
	slices.Reverse(orders[1])
	if len(parts) == 3 {
		orders = append(orders, [][]string{parts[1], parts[2], parts[0]})
	}
	for _, order := range orders {
		words := slices.Concat(order...)
		joined := strings.Join(words, "")
		if len(joined) < 3 {
			continue // "4/7" may be anything
		}
		s.insertWords(words, hides)
		if birth && len(joined) >= 6 {
			s.insert(foldText(joined).tokens, hides)
		}
	}
}

// numberForms are "04" and "4".
func numberForms(number string) [][]string {
	if short := strings.TrimPrefix(number, "0"); short != number {
		return [][]string{{number}, {short}}
	}
	return [][]string{{number}}
}
