package fhir

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// drawPatient writes a Patient by hand, so that spaces, order and odd members
// vary too.
func drawPatient(t *rapid.T) []byte {
	space := func() string { return rapid.SampledFrom([]string{"", "", "", " ", "\n\t"}).Draw(t, "space") }
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	value := func() string {
		return quote(rapid.SampledFrom([]string{"", " ", "010-1", "a@b", "1\\2\"3", "김 길동", "😀"}).Draw(t, "value"))
	}
	list := func(label string, entry func() string) string {
		var entries []string
		for range rapid.IntRange(0, 4).Draw(t, label) {
			entries = append(entries, space()+entry()+space())
		}
		return "[" + strings.Join(entries, ",") + "]"
	}
	object := func(members ...string) string {
		members = rapid.Permutation(members).Draw(t, "members")
		return "{" + space() + strings.Join(members[:rapid.IntRange(0, len(members)).Draw(t, "kept")], space()+","+space()) + "}"
	}
	period := func() string {
		return `"period":{"start":` + pick("start", `"2020"`, `"2026-11-23"`, `"2026-11-24"`, `null`) + `,"_start":{"id":"s"},"end":` + pick("end", `"2020"`, `"2026-11"`, `"2026-11-23"`, `"2026-11-23T11:59:59Z"`, `"2999"`, `"x"`, `null`) + `}`
	}
	sibling := func(name string) string {
		return `"_` + name + `":` + pick("sibling", `null`, `{}`, `{"id":"i"}`, `[null,{"id":"i"}]`,
			`{"extension":[{"url":"u"}]}`, `{"id":"i","extension":[{"url":"u","valueDecimal":1.0}]}`)
	}
	extensions := func() string {
		return `"extension":` + list("extensions", func() string {
			return pick("extension", `{"url":"u","valueDecimal":1.50}`, `{"url":"http://hl7.org/fhir/StructureDefinition/geolocation"}`,
				`{"url":"http://hl7.org/fhir/StructureDefinition/contactpoint-area","valueString":"2"}`, `{}`, `null`)
		})
	}
	telecom := func() string {
		return object(`"system":`+pick("system", `"phone"`, `"phone"`, `"email"`, `"fax"`, `null`), `"value":`+value(),
			`"use":`+pick("use", `"home"`, `"mobile"`, `"work"`, `"old"`, `"temp"`, `"bogus"`),
			`"rank":`+pick("rank", `1`, `2`, `1.0`, `0`, `"1"`), period(), sibling("value"), extensions(), `"x.y":1E2`)
	}
	address := func() string {
		return object(`"use":`+pick("use", `"home"`, `"work"`, `"old"`, `"billing"`), `"text":`+value(), `"city":`+value(),
			`"line":`+pick("line", `[]`, `["1"]`, `[null,"1"]`, `["1",""]`, `"1"`), `"country":`+pick("country", `"US"`, `5`),
			period(), sibling("line"), sibling("city"), sibling("text"), extensions())
	}
	members := []string{`"resourceType":"Patient"`, `"telecom":` + list("telecom", telecom), `"address":` + list("address", address),
		`"id":"p"`, `"n":` + pick("n", `1.10`, `1E2`, `-0`, `12345678901234567890.123456789`), `"a.b":{"telecom":[]}`,
		`"text":` + object(`"status":`+pick("status", `"generated"`, `"generated"`, `"additional"`, `null`), `"div":`+value())}
	members = append(rapid.Permutation(members[1:]).Draw(t, "order")[:rapid.IntRange(0, 6).Draw(t, "count")], members[0])
	return []byte(space() + "{" + space() + strings.Join(members, space()+","+space()) + "}" + space())
}

func drawEdit(t *rapid.T) ContactEdit {
	text := rapid.SampledFrom([]string{"", "1", "010-1", "a@b", "서울 <1> & \"2\" \\", "\u2028", "é"})
	e := ContactEdit{SetPhone: rapid.Bool().Draw(t, "setPhone"), SetEmail: rapid.Bool().Draw(t, "setEmail"), SetAddress: rapid.Bool().Draw(t, "setAddress"),
		Phone: text.Draw(t, "phone"), Email: text.Draw(t, "email")}
	if rapid.Bool().Draw(t, "address") {
		e.Address = &Address{Text: text.Draw(t, "text"), Lines: rapid.SliceOfN(text, 0, 3).Draw(t, "lines"), City: text.Draw(t, "city"),
			State: text.Draw(t, "state"), Country: text.Draw(t, "country")}
	}
	return e
}

func TestEditContactProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body, e := drawPatient(t), drawEdit(t)
		checkEdit(t, body, e)
	})
}

// checker is what testing.TB and rapid.T have in common.
type checker interface {
	Helper()
	Fatalf(format string, args ...any)
	Fatal(args ...any)
}

func checkEdit(t checker, body []byte, e ContactEdit) {
	e.Phone = strings.ReplaceAll(e.Phone, "@", "") // an email address is no phone: no such edit gets here
	after, _, err := EditContact(body, e, testNow, "")
	if err != nil {
		t.Fatalf("edit of %s: %v", body, err)
	}
	checkLossless(t, body, after, e)
	checkShows(t, body, after, e)
	sets := ContactEdit{
		SetPhone: e.SetPhone && strings.TrimSpace(e.Phone) != "", Phone: e.Phone,
		SetEmail: e.SetEmail && strings.TrimSpace(e.Email) != "", Email: e.Email,
		SetAddress: e.SetAddress && e.Address != nil && !blankAddress(*e.Address), Address: e.Address,
	}
	// A second clearing takes the next entry; everything else is settled.
	again, _, err := EditContact(after, sets, testNow, "")
	if err != nil || !bytes.Equal(again, after) {
		t.Fatalf("editing twice differs from once (%v):\n%s\n%s", err, after, again)
	}
}

func FuzzEditContact(f *testing.F) {
	for _, file := range []string{"testdata/synthea.ndjson", "testdata/nasty.ndjson"} {
		for i, body := range lines(f, file) {
			f.Add(body, fmt.Sprint(i), "a@b", "text", "line\nline", "city", uint8(i*37))
		}
	}
	f.Add([]byte(`{"resourceType":"Patient","telecom":[{"system":"phone","value":"\ud800"}]}`), "1", "", "", "", "", uint8(7))
	f.Fuzz(func(t *testing.T, body []byte, phone, email, text, lines, city string, flags uint8) {
		for _, s := range []string{phone, email, text, lines, city} {
			if !utf8.ValidString(s) {
				t.Skip("callers pass valid UTF-8")
			}
		}
		e := ContactEdit{SetPhone: flags&1 != 0, Phone: phone, SetEmail: flags&2 != 0, Email: email, SetAddress: flags&4 != 0}
		if flags&8 != 0 {
			e.Address = &Address{Text: text, City: city}
			if lines != "" {
				e.Address.Lines = strings.Split(lines, "\n")
			}
		}
		if _, _, err := EditContact(body, e, testNow, ""); err != nil {
			asError(t, err, Unusable)
			return
		}
		checkEdit(t, body, e)
	})
}
