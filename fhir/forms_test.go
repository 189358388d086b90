package fhir

import (
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"patientgraph/internal/cost"
)

// What is another form of a value, and what another value: both ways.
func TestSameValue(t *testing.T) {
	t.Parallel()
	type pair struct{ a, b, region string }
	text := func(s string) Contact { return Contact{Address: &Address{Text: s}} }
	line := func(s string) Contact { return Contact{Address: &Address{Lines: strings.Split(s, "|"), City: "C"}} }
	code := func(s string) Contact { return Contact{Address: &Address{PostalCode: s}} }
	phone := func(s string) Contact { return Contact{Phone: s} }
	email := func(s string) Contact { return Contact{Email: s} }
	decomposed := norm.NFD.String("서울 Besançon")
	for _, c := range []struct {
		what  string
		field string
		make  func(string) Contact
		same  []pair
		other []pair
	}{
		{"phone", FieldPhone, phone, []pair{
			{"010-2345-6789", "01023456789", ""}, {"010-234-56789", " 010 2345.6789 ", ""}, {"+82 10 2345 6789", "821023456789", ""},
			{"(02) 123-4567", "02/123 45 67", ""}, {"０１０－２３４５", "010-2345", ""}, {"٠١٠٢٣٤٥", "010 2345", ""}, {"𝟙𝟚𝟛𝟜", "1234", ""},
			{"02-123-4567 ext. 12", "021234567x12", ""}, {"02-123-4567 Extension 12", "02 123 4567 #12", ""}, {"1-800-FLOWERS", "1 800 flowers", ""},
			{"", "", "US"}, {"n/a", "n/a", ""},
			{"tel:+82-10-2345-6789", "+82 10 2345 6789", ""}, {"Tel. 010-2345", "010 2345", ""}, {"전화 02-123-4567", "021234567", ""}, {"(TEL) 1-800-FLOWERS", "1 800 flowers", ""},
			{"Τηλ. 210-1234", "2101234", ""}, {"tel:+82-10-2345-6789", "010-2345-6789", "KR"}, {"010\u00AD1234", "0101234", ""},
			{"+1 415-555-0171", "(415) 555-0171", "US"}, {"+82 10-2345-6789", "010-2345-6789", "KR"}, {"0047 22 86 40 00", "+47 22864000", "NO"},
			{"+44 (0)20 7946 0958", "020 7946 0958", "GB"}, {"02-312-3456", "+82 2 312 3456", "KR"},
			{"+14155550171", "1 (415) 555-0171", "KR"}, // equal digits do not need the region
		}, []pair{
			{"010-2345-6789", "010-2345-678", ""}, {"010-2345-6789", "010-2345-6798", ""}, {"+82 10-2345-6789", "010-2345-6789", ""},
			{"0047 22864000", "+47 22864000", ""}, {"+1 415-555-0171", "(415) 555-0171", ""}, {"+1 415-555-0171", "(415) 555-0171", "KR"},
			{"1-800-FLOWERS", "1-800-CANDIES", ""}, {"02-123-4567 ext 12", "02-123-456712", ""}, {"02-123-4567 ext 12", "02-123-4567", ""},
			{"+1 415-555-0171 ext. 3", "(415) 555-0171", "US"}, {"n/a", "N/A", ""}, {"n/a", "", ""}, {"-", "--", ""}, {"-", "", "US"}, {"none", "unknown", "US"},
			{"tel:010 2345 x12", "010-2345", ""}, {"tel:none", "none", ""}, {"tel: *67", "67", ""}, {"Tel. 010-2345", "Tel. 010-2346", ""}, {"tel", "", ""}, {"1-800-FLOWERS", "1-800", ""},
			{"*67", "67", ""}, {"0312345", "312345", "KR"}, {"312-3456", "02-312-3456", "KR"},
		}},
		{"email", FieldEmail, email, []pair{
			{"Carmen.Ruiz@Mail.example", "carmen.ruiz@mail.example", ""}, {" a@b.example\u00A0", "a@b.example", ""}, {"ÅSE@b.example", "åse@b.example", ""},
			{"josé@b.example", norm.NFD.String("josé@b.example"), ""}, {"ａ@ｂ．example", "a@b.example", ""}, {"ΝΊΚΟΣ@b.example", "νίκοσ@b.example", ""},
			{"ΝΊΚΟΣ@b.example", "νίκος@b.example", ""}, {"İpek@b.example", "i\u0307pek@b.example", ""}, {"mailto:a@b.example", "a@b.example", ""}, {" MailTo: A@b.example", "a@b.example", ""}, {"ẞ@c.example", "ß@c.example", ""},
		}, []pair{
			{"jose@b.example", "josé@b.example", ""}, {"a.b@c.example", "ab@c.example", ""}, {"a-b@c.example", "ab@c.example", ""},
			{"straße@c.example", "strasse@c.example", ""}, {"a+x@c.example", "a@c.example", ""}, {"a@b.example", "", ""}, {"\u200B", "", ""}, {"mailto:", "", ""}, {"İpek@b.example", "ipek@b.example", ""}, {"ıpek@b.example", "ipek@b.example", ""}, {"mailto@b.example", "@b.example", ""},
		}},
		{"text of an address", FieldAddress, text, []pair{
			{"260  Guerrero St.", "260 GUERRERO ST", ""}, {"강남구 역삼동 12-3", "강남구역삼동 12 - 3", ""}, {"福岡市博多区2－1－1", "福岡市 博多区2-1-1", ""},
			{"Hauptstraße 5", "HAUPTSTRASSE 5", ""}, {decomposed, "서울 Besançon", ""}, {"ﾊｶﾀ 1", "ハカタ 1", ""}, {"12 Rue de l'Étoile", "12, rue de l’étoile", ""},
			{"Flat 4B", "Flat 4-B", ""}, {"1−2", "1-2", ""}, {"Å 1\r\nOslo", "å 1, Oslo", ""}, {"no. 7", "No 7", ""},
			{"12〜3 Main", "12-3 main", ""}, {"12～3", "12~3", ""}, {"12~3", "12-3", ""}, {"Kalākaua, O\u02BBahu", "Kalākaua, O’ahu", ""}, {"O\u02BCahu", "O'ahu", ""}, {"O′ahu", "Oahu", ""},
			{"博多区2ー1ー1", "博多区2-1-1", ""}, {"2ｰ1", "2-1", ""},
		}, []pair{
			{"2-11 Main", "21-1 Main", ""}, {"2ー11", "21ー1", ""}, {"2~11", "211", ""}, {"2ー11", "211", ""}, {"タワー 3", "タワ 3", ""}, {"1 ビール", "1 ビル", ""}, {"2-11", "211", ""}, {"1 2 Main", "12 Main", ""}, {"1/2", "12", ""}, {"Besancon", "Besançon", ""}, {"Ås", "As", ""},
			{"260 Guerrero St", "260 Guerrero Street", ""}, {"260 Guerrero", "26 Guerrero", ""}, {"...", "--", ""}, {"...", "", ""}, {"ガ", "カ", ""}, {"北京", "东京", ""},
		}},
		{"line of an address", FieldAddress, line, []pair{
			{"260 Guerrero St|Apt 2", "260 Guerrero St., Apt 2", ""}, {"Zum Hof|5", "zum hof 5", ""},
		}, []pair{
			{"260 Guerrero St|Apt 2", "260 Guerrero St", ""}, {"1|2 Main", "12 Main", ""}, {"Apt 2|260 Guerrero St", "260 Guerrero St|Apt 2", ""},
		}},
		{"postal code", FieldAddress, code, []pair{
			{"812-0011", "8120011", ""}, {"114 55", "11455", ""}, {"sw1a1aa", "SW1A 1AA", ""}, {"75023-1234", "750231234", ""},
		}, []pair{{"812-0011", "812-001", ""}, {"11455", "", ""}}},
	} {
		for want, pairs := range map[bool][]pair{true: c.same, false: c.other} {
			for _, p := range pairs {
				a, b := c.make(p.a), c.make(p.b)
				if SameValue(c.field, a, b, p.region) != want || SameValue(c.field, b, a, p.region) != want {
					t.Errorf("%s %q and %q in %q: want %v", c.what, p.a, p.b, p.region, want)
				}
			}
		}
	}
	parts := Contact{Address: &Address{City: "Oslo", Country: "NO"}}
	for _, other := range []Contact{{Address: &Address{City: "Oslo NO"}}, {Address: &Address{Text: "Oslo NO"}}, {Address: &Address{City: "NO", Country: "Oslo"}}, {}} {
		if SameValue(FieldAddress, parts, other, "") {
			t.Errorf("%+v is not %+v", other.Address, parts.Address)
		}
	}
}

// What a server adds by itself is no other value; what was to go away is one.
func TestAdditionsOfTheServer(t *testing.T) {
	t.Parallel()
	bergen := Address{Lines: []string{"Strandgaten 201"}, City: "Bergen", PostalCode: "5004"}
	main := Address{Lines: []string{"12 Main St", "Apt 4"}, City: "Springfield", State: "MA", PostalCode: "01101-2222"}
	hakata := Address{Lines: []string{"博多駅前2-1-1"}, City: "福岡市", District: "博多区", State: "福岡県", PostalCode: "812-0011"}
	with := func(a Address, change func(a *Address)) *Address { change(&a); return &a }
	text := func(a Address, s string) *Address { return with(a, func(a *Address) { a.Text = s }) }
	country := func(a Address, s string) *Address { return with(a, func(a *Address) { a.Country = s }) }
	for _, c := range []struct {
		what               string
		have, want, before *Address
		added              bool
	}{
		{"a text", text(bergen, "Strandgaten 201, 5004 Bergen"), &bergen, nil, true},
		{"a text in another order", text(main, "Apt 4; 12 MAIN ST.\nSpringfield, MA 011012222"), &main, nil, true},
		{"a text without blanks", text(hakata, "〒812-0011福岡県福岡市博多区博多駅前2-1-1"), &hakata, nil, true},
		{"a text of large to small", text(hakata, "8120011 福岡県福岡市博多区博多駅前2-1-1"), &hakata, nil, true},
		{"a text of less", text(main, "12 Main St"), &main, nil, true},
		{"another text than ours", text(main, "Springfield MA 01101-2222, 12 Main St, Apt 4"), text(main, main.Compose()), nil, true},
		{"a text that lost what ours says", text(main, "12 Main St, Springfield, MA 01101-2222"), text(main, main.Compose()), nil, false},
		{"no text where one was wanted", &main, text(main, main.Compose()), nil, false},
		{"a text where more was wanted", text(main, main.Compose()), text(main, "c/o Kim, "+main.Compose()), nil, false},
		{"the text of before", text(bergen, "Torget 1, 5003 Bergen"), text(bergen, bergen.Compose()), text(Address{City: "Bergen"}, "Torget 1, 5003 Bergen"), false},
		{"a text with another number", text(bergen, "Strandgaten 2015, 5004 Bergen"), &bergen, nil, false},
		{"a text with numbers cut elsewhere", text(hakata, "812-0011 福岡県福岡市博多区博多駅前21-1"), &hakata, nil, false},
		{"a text in place of the parts", &Address{Text: bergen.Compose()}, &bergen, nil, false},
		{"parts beside a text", text(bergen, bergen.Compose()), &Address{Text: bergen.Compose()}, nil, false},
		{"a country", country(bergen, "NO"), &bergen, nil, true},
		{"a country where another was", country(bergen, "NO"), &bergen, country(main, "US"), true},
		{"a country beside a text", &Address{Text: "Oslo 1", Country: "NO"}, &Address{Text: "Oslo 1"}, nil, true},
		{"a country and a text with it", with(bergen, func(a *Address) { a.Country, a.Text = "Norway", bergen.Compose()+", NORWAY" }), &bergen, country(main, "US"), true},
		{"the country of before", country(bergen, "no"), &bergen, country(main, "NO"), false},
		{"another country than wanted", country(bergen, "NO"), country(bergen, "SE"), nil, false},
		{"no country where one was wanted", &bergen, country(bergen, "NO"), nil, false},
		{"a second line that was to go", with(bergen, func(a *Address) { a.Lines = []string{"Strandgaten 201", "Apt 4"} }), &bergen, &main, false},
		{"a district", with(bergen, func(a *Address) { a.District = "Vestland" }), &bergen, nil, false},
		{"an address that was to be cleared", country(Address{}, "NO"), nil, &bergen, false},
		{"nothing", nil, &bergen, nil, false},
	} {
		have, want, before := Contact{Address: c.have}, Contact{Address: c.want}, Contact{Address: c.before}
		shown := have.WithoutAdditions(want, before)
		if same := SameValue(FieldAddress, shown, want, ""); same != c.added {
			t.Errorf("%s: same %v: %+v", c.what, same, shown.Address)
		}
		if len(Differing(have, want, []string{FieldAddress})) == 0 {
			t.Errorf("%s: what is shown was changed", c.what)
		}
	}
}

// However long a value is, its form costs as much as the value is long.
func TestFormsOfLongValues(t *testing.T) {
	const short, times = 1 << 12, 8
	for _, unit := range []string{"1 ", "1ext", "a\u0301", "𝟡"} {
		compare := func(units int) cost.Cost {
			s := strings.Repeat(unit, units)
			return cost.Of(t, func() {
				a, b := Contact{Phone: s, Email: s, Address: &Address{Text: s}}, Contact{Phone: s + "2", Email: s + "2", Address: &Address{Text: s + "2"}}
				if missing := Missing(a, b, []string{FieldPhone, FieldEmail, FieldAddress}, "KR"); len(missing) != 3 {
					t.Errorf("%q: %v", unit, missing)
				}
				a.Address.Lines = strings.Split(s, "1")
				a.WithoutAdditions(Contact{Address: &Address{City: "1", Text: s}}, Contact{})
			})
		}
		one, many := compare(short), compare(short*times)
		t.Logf("%q: %v, and %v for %d times as long", unit, one.CPU, many.CPU, times)
		if many.CPU > 3*times*one.CPU {
			t.Errorf("%q: %v of CPU, and %v for %d times as long", unit, one.CPU, many.CPU, times)
		}
		if many.Bytes > 3*times*one.Bytes {
			t.Errorf("%q: %d KiB, and %d KiB for %d times as long", unit, one.Bytes>>10, many.Bytes>>10, times)
		}
	}
}
