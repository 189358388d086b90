package resolvers

import (
	"strings"
	"testing"

	"github.com/99designs/gqlgen/graphql"

	"patientgraph/graph"
)

// Addresses that people have are emails, also such as carriers gave out against the
// rules of RFC 5321.
func TestWhatIsAnEmail(t *testing.T) {
	t.Parallel()
	v, err := NewValidation("")
	if err != nil {
		t.Fatal(err)
	}
	for email, good := range map[string]bool{
		"a@b.example": true, "a.b+c@b.co.jp": true, "한글@예.example": true, "JOSÉ@b.example": true, `"a b"@c.example`: true, "o'neil_1-2@b.example": true,
		"a..b@docomo.ne.jp": true, "taro.@ezweb.ne.jp": true, "taro...@docomo.ne.jp": true, "-a.-..b-@softbank.ne.jp": true, "090..1234.@ezweb.ne.jp": true,
		"not-an-email": false, "": false, "@b.example": false, ".@b.example": false, "...@docomo.ne.jp": false, ".a@b.example": false, "..a@b.example": false,
		"a@": false, "a@b..example": false, "a@.example": false, "a@b.example.": false, "a@b": false, "a@b@c.example": false, "a b@c.example": false, "a..b@c d.example": false,
		"a..b": false, "a..b@": false, "a\u0000..b@c.example": false, "a,b@c.example": false, "<a..b@c.example>": false,
		strings.Repeat("a.", 121) + "@b.example": true, strings.Repeat(".", 240) + "a@b.example": false, strings.Repeat("a.", 125) + "@b.example": false,
	} {
		faults := v.Contact(t.Context(), graph.UpdatePatientContactInput{PatientID: "1", Email: graphql.OmittableOf(&email)})
		if (len(faults) == 0) != good || !good && strings.Join(faults[0].Field, ".") != "email" {
			t.Errorf("%q: %+v", email, faults)
		}
	}
}

// No text that a mutation stores holds control characters, or what is no character.
func TestWhatIsNoCharacterIsNotStored(t *testing.T) {
	t.Parallel()
	v, err := NewValidation("")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"\ufffd", "\ufdd0", "\ufffe", "\U0010ffff", "\x00", "\x7f", "\u0085", "\u2028", "\u2029"} {
		text := "a" + bad
		email, address := `"`+text+`"@b.example`, &graph.AddressInput{
			Text: &text, Lines: []string{text}, City: &text, District: &text, State: &text, PostalCode: &text, Country: &text,
		}
		contact := v.Contact(t.Context(), graph.UpdatePatientContactInput{
			PatientID: text, Phone: graphql.OmittableOf(&text), Email: graphql.OmittableOf(&email), Address: graphql.OmittableOf(address),
			ExpectedVersion: &text, IdempotencyKey: &text,
		})
		profile := v.Profile(t.Context(), graph.UpdatePatientProfileInput{
			PatientID: text, Allergies: graphql.OmittableOf([]string{text}), BloodType: graphql.OmittableOf(&text), ExpectedVersion: &text,
			EmergencyContact: graphql.OmittableOf(&graph.EmergencyContactInput{Name: text, Relationship: &text, Phone: &text}),
		})
		if len(contact) != 12 || len(profile) != 7 {
			t.Errorf("%U: %d faults of a contact, %d of a profile, want 12 and 7", []rune(bad), len(contact), len(profile))
		}
	}
}
