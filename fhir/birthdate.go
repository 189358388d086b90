package fhir

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// datePart says which parts of the birth date a word may be.
type datePart uint8

const (
	dayPart datePart = 1 << iota
	monthPart
	monthNamePart
	monthFromZeroPart // as Java counts them
	yearPart
	shortYearPart
)

const (
	maxMonthTokens = 12 // of a month's name in a script without blanks, each letter of which is one
	minMonthStem   = 5  // letters of a month's name that may have an ending: maaliskuun
	maxMonthEnding = 3
)

// monthMarks call a number a month.
var monthMarks = wordsIn(`month mm mes mês mese mois monat monats maand måned månad miesiąca měsíce mesiaca месяц месяца місяця
	luna lunii ayının tháng bulan mwezi buwan شهر חודש เดือน महीने`)

// withinDates may stand between the parts of a date: endings of ordinals, articles and
// prepositions, and what the parts are called.
var withinDates = wordsIn(`th st nd rd the of on in day year dd yyyy yy
	er ere re ème e le du de des d en jour année an l del la el il lo di da do dell della dei nel al o a os as ro ra to mo
	día dia dias año ano anno any giorno è ste van von vom den dag jaar te ter ten der dem das im am tag jahr jahres i av år
	го е ое ого му й число числа день дня года году год г день р року go dnia dzień roku rok r dne den
	η ης του την στις έτους jén jen án én ik napja év päivä päivän päivänä vuonna n et lea ale ziua anul anului của sten
	inci nci ıncı üncü ncu ın ın ün un sı günü yılı ng ika ya wa tanggal hari tahun tarehe mwaka ngày mồng mùng năm
	من يوم عام سنة في ב ה ל של שנת יום ที่ วันที่ ปี พ ศ की के को तारीख साल 년 월 달 일 年 月 日`)

// firstDay are the words for the first of a month, of which no number is said.
var firstDay = strings.Fields("first premier primero primer primeiro primo erster ersten erste eerste första første πρώτη первое первого")

func wordsIn(list string) map[string]bool {
	set := map[string]bool{}
	for _, word := range tokensOf(list) {
		set[word] = true
	}
	return set
}

// addDateParts adds the parts of the birth date by themselves; month and day may be "".
func (s *Secrets) addDateParts(year, month, day string) {
	s.dateParts[year] |= yearPart
	s.dateParts[yearInThailand(year)] |= yearPart
	s.dateParts[year[2:]] |= shortYearPart
	t, err := time.Parse("01", month)
	if err != nil {
		return
	}
	for _, m := range numberForms(month) {
		s.dateParts[m[0]] |= monthPart
	}
	s.dateParts[strconv.Itoa(int(t.Month())-1)] |= monthFromZeroPart
	for _, numerals := range numeralsOfEast {
		s.dateParts[numerals.number(int(t.Month()))+numerals.month] |= monthNamePart
	}
	s.dateParts["유월"] |= s.dateParts["육월"] // they are not said as they are written
	s.dateParts["시월"] |= s.dateParts["십월"]
	for _, name := range monthNames[t.Month()-1] {
		s.dateParts[foldWord(name)] |= monthNamePart
	}
	for _, m := range inflectedWords[t.Month()-1][1:] { // V, a Roman number, is many other things
		s.dateParts[strings.Join(m, "")] |= monthNamePart
	}
	if day == "" {
		return
	}
	for _, d := range numberForms(day) {
		s.dateParts[d[0]] |= dayPart
	}
	for _, numerals := range numeralsOfEast {
		n, _ := strconv.Atoi(day)
		s.dateParts[numerals.number(n)+numerals.day] |= dayPart
	}
	if day == "01" {
		for _, word := range firstDay {
			s.dateParts[foldWord(word)] |= dayPart
		}
	}
}

// numerals are numbers up to 99 in words.
type numerals struct {
	digits     []string // from 0
	ten        string
	month, day string // what they are called behind their number
}

var numeralsOfEast = []numerals{
	{strings.Split("〇 一 二 三 四 五 六 七 八 九", " "), "十", "月", "日"},
	{strings.Split("영 일 이 삼 사 오 육 칠 팔 구", " "), "십", "월", "일"},
}

func (n numerals) number(number int) (words string) {
	if tens := number / 10; tens > 1 {
		words = n.digits[tens]
	}
	if number >= 10 {
		words += n.ten
	}
	if ones := number % 10; ones > 0 {
		words += n.digits[ones]
	}
	return words
}

// findBirthDate hides the birth date that begins with the i-th token where words stand
// between its parts: "1st of March", "el 23 de junio de 68". Two parts are a date if the
// month is named or the year is whole: "1 of 3" may count anything. It returns where the
// next may begin.
func (r *reading) findBirthDate(i int) (next int) {
	var found datePart
	parts, end := 0, 0
	for next = i; next < len(r.tokens); {
		t := r.tokens[next]
		if r.isSafe(t.at) || next > i && utf8.RuneCountInString(r.text[r.tokens[next-1].end:t.at]) > maxGap {
			break
		}
		part, after := r.datePart(next)
		filler := withinDates[t.word] || monthMarks[t.word]
		if part == 0 && (parts == 0 || !filler && !r.isHalf(t)) {
			break
		}
		switch {
		case part != 0:
			found, parts, end = found|part, parts+1, r.tokens[after-1].end
		case r.isHalf(t) && found&dayPart != 0 && (filler || r.beginsMonth(t.word)):
			found, parts, end = found|monthNamePart, parts+1, t.end
		case strings.Trim(r.text[end:t.at], "-'’:") == "": // the th of July 4th, the jén of 1-jén
			end = t.end
		}
		next = after
	}
	if parts > 1 && found&(monthNamePart|yearPart) != 0 {
		r.hidden = append(r.hidden, span{r.tokens[i].at, end})
	}
	return max(next, i+1)
}

// datePart says which parts of the birth date the j-th token may be, and where the next
// token is: the name of a month may have several, or an ending.
func (r *reading) datePart(j int) (part datePart, next int) {
	t, known := r.tokens[j], r.secrets.dateParts
	part = known[t.word]
	if part&(monthPart|monthFromZeroPart) != 0 && j > 0 && monthMarks[r.tokens[j-1].word] {
		part |= monthNamePart
	}
	part &^= monthFromZeroPart
	if part != 0 || t.digits {
		return part, j + 1
	}
	if !t.glued {
		for n := len(t.word) - 1; n >= max(minMonthStem, len(t.word)-maxMonthEnding) && part == 0; n-- {
			part = known[t.word[:n]] & monthNamePart
		}
		return part, j + 1
	}
	name := ""
	for k := j; k < min(j+maxMonthTokens, len(r.tokens)) && r.tokens[k].glued; k++ {
		name += r.tokens[k].word
		if part = known[name]; part != 0 {
			return part, k + 1
		}
	}
	return 0, j + 1
}

// beginsMonth reports whether a word that was cut may be the month of birth.
func (r *reading) beginsMonth(word string) bool {
	for name, part := range r.secrets.dateParts {
		if part == monthNamePart && strings.HasPrefix(name, word) {
			return true
		}
	}
	return false
}
