package resolvers

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/99designs/gqlgen/graphql"

	"patientgraph/graph"
)

func TestVisiblePoint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ typed, sent string }{
		"as it is":                {"+49 (221) 555-0177", "+49 (221) 555-0177"},
		"isolates":                {"\u2066010-2345\u2069-6789", "010-2345-6789"},
		"marks and embeddings":    {"\u202A\u200E010\u200F\u061C-2345-6789\u202C", "010-2345-6789"},
		"zero width":              {"010\u200B\u200C\u200D\u2060-2345\uFEFF", "010-2345"},
		"soft hyphen":             {"kim@po\u00ADst.example", "kim@post.example"},
		"variation selector":      {"kim\uFE0F@post.example", "kim@post.example"},
		"fillers and graphemes":   {"\u3164010\u034F\u115F\uFFA0", "010"},
		"tags":                    {"010\U000E0031", "010"},
		"no-break blanks within":  {"01\u00A042\u202F68\u200753", "01 42 68 53"},
		"blanks around":           {"\u3000\t\r\n 010 \u2003\u2028\u0085\u2800", "010"},
		"full width":              {"＋８２　（１０）　２３４５－６７８９", "+82 (10) 2345-6789"},
		"full-width email":        {"ｋｉｍ＠post．example", "kim@post.example"},
		"digits of a script":      {"٠١٠ १२३", "٠١٠ १२३"},
		"an email of a script":    {"한글@예.example", "한글@예.example"},
		"a control stays":         {"010\u0000", "010\u0000"},
		"a tab within stays":      {"010\t1", "010\t1"},
		"nothing":                 {"", ""},
		"nothing that is visible": {" \u200B\uFEFF\u00A0\u3000\u2800\u3164\t", ""},
	} {
		if sent := visiblePoint(c.typed); sent != c.sent {
			t.Errorf("%s: %+q, want %+q", name, sent, c.sent)
		}
	}
}

func TestVisibleText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ typed, kept string }{
		"as it is":                  {"Kölner Straße 5, 한글 😀", "Kölner Straße 5, 한글 😀"},
		"marks":                     {"\u200E\u202BHauptstr. 5\u202C\uFEFF", "Hauptstr. 5"},
		"blanks around":             {"\u00A0 Köln\u3000\n", "Köln"},
		"no-break blanks":           {"Rue\u00A0du Bac\u202F12", "Rue du Bac 12"},
		"Japanese blanks":           {"千代田区　丸の内", "千代田区　丸の内"},
		"full width":                {"丸の内１－２", "丸の内１－２"},
		"soft hyphen and zero":      {"Berg\u00ADstra\u200Bße\u2060", "Bergstraße"},
		"line breaks":               {"\r\n1 Main St\r\nSeoul\r\n", "1 Main St\r\nSeoul"},
		"Persian":                   {"خانه\u200Cها", "خانه\u200Cها"},
		"Persian, at the end":       {"\u200Cخانه\u200C ", "خانه"},
		"Persian abbreviation":      {"ه\u200D.ش", "ه\u200D.ش"},
		"Devanagari":                {"क्\u200Dष", "क्\u200Dष"},
		"Sinhala":                   {"ශ්\u200Dරී", "ශ්\u200Dරී"},
		"Malayalam, at the end":     {"അവന്\u200D", "അവന്\u200D"},
		"emoji":                     {"👩🏽\u200D⚕\uFE0F", "👩🏽\u200D⚕\uFE0F"},
		"variant of a Han name":     {"葛\U000E0100城市", "葛\U000E0100城市"},
		"Mongolian":                 {"ᠠ\u180Eᠡ\u180B", "ᠠ\u180Eᠡ\u180B"},
		"joiners among Latin":       {"Kö\u200Cln\u200D", "Köln"},
		"joiners among digits":      {"506\u200D67\u200C", "50667"},
		"joiners among Hangul":      {"서\u200C울\u200D", "서울"},
		"joiners among Han":         {"東\u200C京\u200D", "東京"},
		"selectors among Latin":     {"Bonn\uFE0F", "Bonn"},
		"Arabic number sign":        {"\u0600١٢", "\u0600١٢"},
		"fillers":                   {"서울\u3164\u1160", "서울"},
		"directions within Hebrew":  {"רחוב \u200Fהרצל 5\u200E", "רחוב הרצל 5"},
		"a blank that takes a form": {"\u2800\uFE0F\u3000\u200D", ""},
		"nothing that is visible":   {"\u200B \u00A0\u2067\u200D\uFE0F", ""},
	} {
		if kept := visibleText(c.typed); kept != c.kept {
			t.Errorf("%s: %+q, want %+q", name, kept, c.kept)
		}
	}
}

// FuzzVisible: cleaning once is enough, what is left begins and ends with
// something to see, and a clean text stays as it is.
func FuzzVisible(f *testing.F) {
	f.Add("\u2067+49 221 555\u20690177")
	f.Add("خانه\u200Cها\u200C ")
	f.Add("\u2800\uFE0F👩🏽\u200D⚕\uFE0F")
	f.Fuzz(func(t *testing.T, s string) {
		for name, clean := range map[string]func(string) string{"point": visiblePoint, "text": visibleText} {
			once := clean(s)
			if again := clean(once); again != once {
				t.Errorf("%s of %+q is %+q, then %+q", name, s, once, again)
			}
			runes := []rune(once)
			if len(runes) > 0 && (isInvisible(runes[0]) || isBlank(runes[0]) || isBlank(runes[len(runes)-1])) {
				t.Errorf("%s of %+q is %+q", name, s, once)
			}
			if name == "point" && slices.ContainsFunc(runes, isInvisible) {
				t.Errorf("invisible in the %s of %+q: %+q", name, s, once)
			}
			plain := strings.TrimSpace(strings.Map(func(r rune) rune {
				if r > unicode.MaxASCII {
					return -1
				}
				return r
			}, s))
			if cleaned := clean(plain); cleaned != plain {
				t.Errorf("%s of plain %q is %q", name, plain, cleaned)
			}
		}
	})
}

func TestVisibleInputsKeepOmittedAndNull(t *testing.T) {
	t.Parallel()
	null := graph.UpdatePatientContactInput{
		Phone: graphql.OmittableOf[*string](nil), Address: graphql.OmittableOf[*graph.AddressInput](nil),
	}
	got := visibleContact(null)
	if !got.Phone.IsSet() || got.Phone.Value() != nil || got.Email.IsSet() || !got.Address.IsSet() || got.Address.Value() != nil {
		t.Errorf("contact: %+v", got)
	}
	profile := visibleProfile(graph.UpdatePatientProfileInput{Allergies: graphql.OmittableOf[[]string](nil)})
	if !profile.Allergies.IsSet() || profile.Allergies.Value() != nil || profile.EmergencyContact.IsSet() || profile.BloodType.IsSet() {
		t.Errorf("profile: %+v", profile)
	}
	empty := visibleProfile(graph.UpdatePatientProfileInput{Allergies: graphql.OmittableOf([]string{})})
	if empty.Allergies.Value() == nil {
		t.Error("an empty list of allergies became null")
	}
}

func TestFilterOfWhatIsVisible(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	filter, err := filterOf(&graph.PatientFilter{Name: text("\u200E홍길동\u00A0"), Phone: text("\u2066０１０-1111\u2069")})
	if err != nil || filter.Name != "홍길동" || filter.Phone != "010-1111" {
		t.Errorf("searches for %+v (%v)", filter, err)
	}
	if filter, err := filterOf(&graph.PatientFilter{Name: text(""), Phone: text("")}); err != nil || filter.Name+filter.Phone != "" {
		t.Errorf("an empty filter searches for %+v (%v)", filter, err)
	}
	for _, f := range []*graph.PatientFilter{{Name: text("\u200B")}, {Phone: text("\u200B")}, {Name: text("Kim"), Phone: text("\u3000")}} {
		if filter, err := filterOf(f); err == nil {
			t.Errorf("a filter of nothing visible searches for %+v", filter)
		}
	}
}
