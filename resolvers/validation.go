package resolvers

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode"

	"github.com/99designs/gqlgen/graphql"
	"github.com/go-playground/validator/v10"
	"github.com/nyaruka/phonenumbers"

	"patientgraph/graph"
)

// Validation holds the rules of ours: shape, length and obvious nonsense. On
// values the FHIR server has the last word.
type Validation struct {
	validate *validator.Validate
}

// NewValidation returns the rules. With a phone region (ISO 3166 alpha-2,
// "KR") phone numbers must be valid there or international; without one their
// form is left to the FHIR server.
func NewValidation(phoneRegion string) (*Validation, error) {
	if phoneRegion != "" && phonenumbers.GetCountryCodeForRegion(phoneRegion) == 0 {
		return nil, fmt.Errorf("PHONE_REGION: %q is no region such as KR or US", phoneRegion)
	}
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string { return f.Tag.Get("json") })
	v.RegisterCustomTypeFunc(omittableValue,
		graphql.Omittable[*string]{}, graphql.Omittable[[]string]{},
		graphql.Omittable[*graph.AddressInput]{}, graphql.Omittable[*graph.EmergencyContactInput]{})
	plain := validator.New()
	rules := map[string]validator.Func{
		// The library's rule, but that the part before @ may hold dots in a row, and at its
		// end: Japanese carriers gave out such addresses (docomo, au) until RFC 5321 was kept.
		"email": func(f validator.FieldLevel) bool {
			text := f.Field().String()
			if at := strings.LastIndexByte(text, '@'); at >= 0 {
				text = strings.TrimSuffix(dots.ReplaceAllString(text[:at], "."), ".") + text[at:]
			}
			return plain.Var(text, "email") == nil
		},
		"line": func(f validator.FieldLevel) bool { return isText(f.Field().String(), "") },
		"text": func(f validator.FieldLevel) bool { return isText(f.Field().String(), "\r\n\t") },
		"phone": func(f validator.FieldLevel) bool {
			text := f.Field().String()
			if strings.Contains(text, "@") { // an email address would not be shown as the phone
				return false
			}
			if phoneRegion == "" {
				return true
			}
			number, err := phonenumbers.Parse(text, phoneRegion)
			return err == nil && phonenumbers.IsValidNumber(number)
		},
	}
	for tag, rule := range rules {
		if err := v.RegisterValidation(tag, rule); err != nil {
			return nil, fmt.Errorf("register rule %s: %w", tag, err)
		}
	}
	return &Validation{validate: v}, nil
}

// omittableValue shows the validator what an Omittable holds: nil when it was
// omitted or null.
func omittableValue(field reflect.Value) any {
	switch o := field.Interface().(type) {
	case graphql.Omittable[*string]:
		return o.Value()
	case graphql.Omittable[[]string]:
		return o.Value()
	case graphql.Omittable[*graph.AddressInput]:
		return o.Value()
	case graphql.Omittable[*graph.EmergencyContactInput]:
		return o.Value()
	}
	return nil
}

var dots = regexp.MustCompile(`\.{2,}`)

// isText reports whether s has something to read, no control characters and line ends but
// those allowed, and nothing that is no character: U+FFFD stands where one was lost, as half a surrogate
// pair of a GraphQL literal is.
func isText(s, allowed string) bool {
	return strings.TrimSpace(s) != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) && !strings.ContainsRune(allowed, r) || r == unicode.ReplacementChar || unicode.Is(unicode.Noncharacter_Code_Point, r)
	})
}

// Contact returns every fault in the input, none when it is sound.
func (v *Validation) Contact(ctx context.Context, input graph.UpdatePatientContactInput) []*graph.FieldError {
	faults := v.check(ctx, input)
	if !input.Phone.IsSet() && !input.Email.IsSet() && !input.Address.IsSet() {
		faults = append(faults, nothingToChange(ctx))
	}
	if a := input.Address.Value(); a != nil && a.Text == nil && len(a.Lines) == 0 && a.City == nil &&
		a.District == nil && a.State == nil && a.PostalCode == nil && a.Country == nil {
		faults = append(faults, fault(ctx, []string{"address"}, "required", ""))
	}
	if input.ExpectedVersion == nil && input.IdempotencyKey == nil {
		for _, field := range []struct {
			name    string
			cleared bool
		}{
			{"phone", input.Phone.IsSet() && input.Phone.Value() == nil},
			{"email", input.Email.IsSet() && input.Email.Value() == nil},
			{"address", input.Address.IsSet() && input.Address.Value() == nil},
		} {
			if field.cleared { // sent twice it would take the next entry too
				faults = append(faults, fault(ctx, []string{field.name}, "clear-unguarded", ""))
			}
		}
	}
	return faults
}

// Profile returns every fault in the input, none when it is sound.
func (v *Validation) Profile(ctx context.Context, input graph.UpdatePatientProfileInput) []*graph.FieldError {
	faults := v.check(ctx, input)
	if !input.EmergencyContact.IsSet() && !input.Allergies.IsSet() && !input.BloodType.IsSet() {
		faults = append(faults, nothingToChange(ctx))
	}
	return faults
}

func nothingToChange(ctx context.Context) *graph.FieldError {
	return fault(ctx, []string{}, "nothing_to_change", "")
}

func (v *Validation) check(ctx context.Context, input any) []*graph.FieldError {
	err := v.validate.StructCtx(ctx, input)
	if err == nil {
		return nil
	}
	found, ok := err.(validator.ValidationErrors)
	if !ok {
		panic(fmt.Sprintf("validate %T: %v", input, err)) // only a wrong call of the validator gets here
	}
	faults := make([]*graph.FieldError, 0, len(found))
	for _, f := range found {
		faults = append(faults, fault(ctx, fieldPath(f.Namespace()), f.Tag(), f.Param()))
	}
	return faults
}

// fieldPath turns UpdatePatientContactInput.address.lines[0] into address,
// lines, 0.
func fieldPath(namespace string) []string {
	path := strings.FieldsFunc(namespace, func(r rune) bool { return strings.ContainsRune(".[]", r) })
	return path[1:]
}
