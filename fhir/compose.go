package fhir

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Compose writes the parts as one text, as people of the address's script do:
// "12 Main St, Apt 4, Springfield, MA 01101, US", but "서울특별시 강남구 테헤란로 152
// 06236" and "812-0011 福岡県福岡市博多区博多駅前2-1-1". A county is no part of a US
// address (USPS Publication 28).
func (a Address) Compose() string {
	if a.inEastAsian() {
		return a.composeEastAsian()
	}
	if a.hasCounty() {
		a.District = ""
	}
	pieces := slices.Clone(a.Lines)
	pieces = append(pieces, a.District, a.City, strings.TrimSpace(a.State+" "+a.PostalCode), a.Country)
	pieces = slices.DeleteFunc(pieces, func(s string) bool { return s == "" })
	return strings.Join(pieces, ", ")
}

// inEastAsian reports whether most letters of the place are Hangul, Han or Kana:
// a building may have a Latin name all the same.
func (a Address) inEastAsian() bool {
	place := cmp.Or(a.State+a.City+a.District, strings.Join(a.Lines, ""))
	count := 0
	for _, r := range place {
		switch {
		case isEastAsianLetter(r):
			count++
		case unicode.IsLetter(r):
			count--
		}
	}
	return count > 0
}

// composeEastAsian goes from large to small, without commas. The postal code
// comes last in Korea and first in China, Japan and Taiwan (libaddressinput's
// formats of these countries). Only Hangul puts blanks between the parts; a line
// (the building) stands apart everywhere. A country's code stays out of it.
func (a Address) composeEastAsian() string {
	country := a.Country
	if utf8.RuneCountInString(country) <= 3 && !isEastAsian(country) {
		country = ""
	}
	pieces := []string{country, a.State, a.City, a.District}
	if strings.HasSuffix(a.District, "郡") { // of Japan: a town lies in it
		pieces = []string{country, a.State, a.District, a.City}
	}
	pieces = slices.Compact(append(pieces, strings.Join(a.Lines, " "))) // 서울특별시 may be state and city
	korean := slices.Contains(koreaNames, strings.ToUpper(a.Country)) ||
		strings.ContainsFunc(strings.Join(pieces, ""), func(r rune) bool { return unicode.Is(unicode.Hangul, r) })
	if korean {
		pieces = append(pieces, a.PostalCode)
	} else {
		pieces = slices.Insert(pieces, 0, a.PostalCode)
	}
	text := ""
	for _, piece := range pieces {
		last, _ := utf8.DecodeLastRuneInString(text)
		first, _ := utf8.DecodeRuneInString(piece)
		if text != "" && piece != "" && (korean || !isEastAsianLetter(last) || !isEastAsianLetter(first)) {
			text += " "
		}
		text += piece
	}
	return text
}

var koreaNames = []string{"KR", "KOR", "SOUTH KOREA", "KOREA", "REPUBLIC OF KOREA"}

var (
	usNames   = []string{"US", "USA", "U.S.", "U.S.A.", "UNITED STATES", "UNITED STATES OF AMERICA"}
	usState   = regexp.MustCompile(`^(A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[AIT]|W[AIVY])$`)
	zip       = regexp.MustCompile(`^\d{5}(-\d{4})?$`)
	countyEnd = regexp.MustCompile(`(?i) (county|parish)$`)
)

// hasCounty reports whether the district is the county of a US address, which
// need not name its country.
func (a Address) hasCounty() bool {
	if a.Country != "" {
		return slices.Contains(usNames, strings.ToUpper(a.Country))
	}
	return countyEnd.MatchString(a.District) || usState.MatchString(a.State) && zip.MatchString(a.PostalCode)
}

// isEastAsian reports whether a text is in Hangul, Han and Kana only.
func isEastAsian(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isEastAsianLetter(r) })
}

func isEastAsianLetter(r rune) bool {
	return r == 'ー' || unicode.In(r, unicode.Hangul, unicode.Han, unicode.Hiragana, unicode.Katakana)
}
