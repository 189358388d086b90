package db

import (
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// Of a phone number its digits are compared. What is stored does not depend on
// PHONE_REGION, so that the setting may change at any time: the other ways in
// which people of the region write a number are tried when it is searched for.

// phoneKeys lists the keys of every number of a patient, each once.
func phoneKeys(st *FHIRState) []string {
	var list []string
	for _, phone := range append([]string{st.Phone}, st.OtherPhones...) {
		number, extension := digits(phone)
		if number == "" {
			list = addKeys(list, foldPart(phone)) // "none", "ask the ward"
			continue
		}
		list = addKeys(list, number, number+extension) // a search may leave the extension out
		if n := international(phone, number); n != nil {
			e164 := digitsOnly(phonenumbers.Format(n, phonenumbers.E164))
			list = addKeys(list, e164, e164+extension)
		}
	}
	return list
}

// phoneSearch lists the keys under which a number may be stored. For a number of
// the region (ISO 3166 alpha-2, "" = none is set) these are the international form
// and the national one, with the prefix of long distance and without.
func phoneSearch(phone, region string) []string {
	number, extension := digits(phone)
	if number == "" {
		return addKeys(nil, foldPart(phone))
	}
	list := addKeys(nil, number+extension)
	n := fromAbroad(phone, region)
	if n == nil {
		n = international(phone, number)
	}
	if n == nil && region != "" {
		n = parse(number, region)
	}
	if n == nil {
		return list
	}
	forms := []string{phonenumbers.Format(n, phonenumbers.E164)}
	switch {
	case region == "":
	case int(n.GetCountryCode()) == phonenumbers.GetCountryCodeForRegion(region):
		forms = append(forms, phonenumbers.GetNationalSignificantNumber(n), phonenumbers.Format(n, phonenumbers.NATIONAL))
	default: // as it is dialled from the region: 011 47 …
		forms = append(forms, phonenumbers.FormatOutOfCountryCallingNumber(n, region))
	}
	for _, form := range forms {
		list = addKeys(list, digitsOnly(form)+extension)
	}
	return list
}

// addKeys adds those that are something and not there yet.
func addKeys(list []string, keys ...string) []string {
	for _, key := range keys {
		if key != "" && !slices.Contains(list, key) {
			list = append(list, key)
		}
	}
	return list
}

// digits takes a phone number apart; both parts are ASCII digits, and the
// extension is "" where none is marked as such.
func digits(phone string) (number, extension string) {
	number = digitsOnly(atMost(phone, maxFold))
	if strings.ContainsFunc(phone, func(r rune) bool { return unicode.IsLetter(r) || strings.ContainsRune("#~;,", r) }) {
		// The region matters to the number alone, which is not used.
		if n := parse(phone, "US"); n != nil && n.GetExtension() != number {
			number, extension = strings.TrimSuffix(number, n.GetExtension()), n.GetExtension()
		}
	}
	return cut(number), extension
}

// digitsOnly returns the digits of any script as ASCII.
func digitsOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsDigit(r) {
			return -1
		}
		zero := r // Unicode's digits come in rows of ten from zero to nine, of which some follow each other
		for unicode.IsDigit(zero - 1) {
			zero--
		}
		return '0' + (r-zero)%10
	}, s)
}

// international reads a number that says its country, by + or 00; nil: it does not.
func international(phone, number string) *phonenumbers.PhoneNumber {
	begin := strings.TrimLeftFunc(phone, func(r rune) bool { return r != '+' && r != '＋' && !unicode.IsDigit(r) })
	dialled, zeros := strings.CutPrefix(number, "00")
	if !zeros && !strings.HasPrefix(begin, "+") && !strings.HasPrefix(begin, "＋") {
		return nil
	}
	return parse("+"+dialled, "")
}

// fromAbroad reads a number as it is dialled abroad from the region: 001 82 … in
// Korea, 0011 61 … in Australia. nil: it is none.
func fromAbroad(phone, region string) *phonenumbers.PhoneNumber {
	if region == "" {
		return nil
	}
	n, err := phonenumbers.ParseAndKeepRawInput(phone, region)
	if err != nil || n.GetCountryCodeSource() != phonenumbers.PhoneNumber_FROM_NUMBER_WITH_IDD || !phonenumbers.IsValidNumber(n) {
		return nil
	}
	return n
}

// parse returns nil for what is no number in the region, or of no country.
func parse(number, region string) *phonenumbers.PhoneNumber {
	n, err := phonenumbers.Parse(number, region)
	if err != nil {
		return nil
	}
	return n
}
