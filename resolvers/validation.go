package resolvers

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/99designs/gqlgen/graphql"
	"github.com/go-playground/validator/v10"
	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"

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
	rules := map[string]validator.Func{
		"line": func(f validator.FieldLevel) bool { return isText(f.Field().String(), "") },
		"text": func(f validator.FieldLevel) bool { return isText(f.Field().String(), "\r\n\t") },
		"phone": func(f validator.FieldLevel) bool {
			if phoneRegion == "" {
				return true
			}
			number, err := phonenumbers.Parse(f.Field().String(), phoneRegion)
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

// isText tells whether s has something to read and no control characters but
// those allowed.
func isText(s, allowed string) bool {
	return strings.TrimSpace(s) != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && !strings.ContainsRune(allowed, r)
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

// messages has what is said of a broken rule, by language; {0} stands for the
// rule's parameter.
var messages = map[language.Tag]map[string]string{
	language.English: {
		"required":          "is required",
		"min":               "must have at least {0} characters",
		"max":               "must have at most {0} characters",
		"email":             "must be an email address",
		"line":              "must not be blank or hold control characters",
		"text":              "must not be blank or hold control characters other than line breaks",
		"phone":             "must be a valid phone number",
		"oneof":             "must be one of: {0}",
		"reused":            "was used with other content before",
		"nothing_to_change": "there is nothing to change: give at least one field",
	},
	language.Korean: {
		"required":          "필수 항목입니다",
		"min":               "{0}자 이상이어야 합니다",
		"max":               "{0}자 이하여야 합니다",
		"email":             "올바른 이메일 주소여야 합니다",
		"line":              "비어 있거나 제어 문자를 포함할 수 없습니다",
		"text":              "비어 있거나 줄 바꿈 외의 제어 문자를 포함할 수 없습니다",
		"phone":             "올바른 전화번호여야 합니다",
		"oneof":             "다음 중 하나여야 합니다: {0}",
		"reused":            "이미 다른 내용으로 사용되었습니다",
		"nothing_to_change": "변경할 내용이 없습니다. 하나 이상의 항목을 입력하세요",
	},
}

// fieldNames says in Korean what the API calls in English.
var koreanFields = map[string]string{
	"patientId": "환자 번호", "phone": "전화번호", "email": "이메일", "address": "주소",
	"text": "주소 전문", "lines": "상세 주소", "city": "시/도시", "district": "구/군", "state": "시/도",
	"postalCode": "우편번호", "country": "국가", "expectedVersion": "버전", "idempotencyKey": "멱등 키",
	"emergencyContact": "비상 연락처", "name": "이름", "relationship": "관계", "allergies": "알레르기", "bloodType": "혈액형",
}

var (
	spoken  = []language.Tag{language.English, language.Korean} // the first is the default
	matcher = language.NewMatcher(spoken)
	isIndex = regexp.MustCompile(`^[0-9]+$`)
)

// fault words one broken rule. Where a list is too long the unit is items.
func fault(ctx context.Context, path []string, rule, param string) *graph.FieldError {
	lang := languageOf(ctx)
	text := messages[lang][rule]
	if rule == "max" && slices.Contains([]string{"lines", "allergies"}, last(path)) {
		text = map[language.Tag]string{language.English: "must have at most {0} entries", language.Korean: "최대 {0}개까지 입력할 수 있습니다"}[lang]
	}
	text = strings.ReplaceAll(text, "{0}", param)
	if name := fieldName(path, lang); name != "" {
		text = name + ": " + text
	}
	return &graph.FieldError{Field: path, Message: text, Rule: rule}
}

func fieldName(path []string, lang language.Tag) string {
	named := slices.DeleteFunc(slices.Clone(path), isIndex.MatchString)
	if name := last(named); lang == language.Korean && koreanFields[name] != "" {
		return koreanFields[name]
	} else {
		return name
	}
}

func last(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return path[len(path)-1]
}

type languageKey struct{}

// WithAcceptLanguage keeps the language that messages to this caller use:
// the best of ko and en for the header, en when it says nothing.
func WithAcceptLanguage(ctx context.Context, header string) context.Context {
	_, i := language.MatchStrings(matcher, header)
	return context.WithValue(ctx, languageKey{}, spoken[i])
}

func languageOf(ctx context.Context) language.Tag {
	if tag, ok := ctx.Value(languageKey{}).(language.Tag); ok {
		return tag
	}
	return spoken[0]
}
