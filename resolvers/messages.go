package resolvers

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"patientgraph/graph"
)

// words is what callers read of an outcome, by its code: the message, or the
// detail where the FHIR server's own reason is the message.
var words = map[graph.ErrorCode]string{
	graph.ErrorCodePatientNotFound:     "there is no patient with this id",
	graph.ErrorCodeNotPermitted:        "you may not change this patient",
	graph.ErrorCodeUpdateConflict:      "the record was changed by somebody else; look at it and try again",
	graph.ErrorCodeFhirRejected:        "FHIR server rejected the update",
	graph.ErrorCodeFhirCannotApply:     "FHIR server cannot store the update; nothing was sent",
	graph.ErrorCodeFhirNotApplied:      "FHIR server did not save all of the update",
	graph.ErrorCodeFhirPatientGone:     "the patient is gone from the FHIR server",
	graph.ErrorCodeFhirPatientReplaced: "the record was merged into another; nothing was changed",
	graph.ErrorCodeFhirPatientInactive: "the record is not active; nothing was changed",
	graph.ErrorCodeFhirForbidden:       "FHIR server refuses this patient or this change",
}

// What callers read where the code alone does not say enough.
const (
	profileNotPermittedWords = "you may not change all of these fields of this patient; nothing was changed"
	untouchedWords           = " because of an element that this update does not change"
	unavailableWords         = "FHIR server communication failed"
)

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
		"clear-unguarded":   "is cleared only with expectedVersion or idempotencyKey, so that the request sent twice clears once",
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
		"clear-unguarded":   "값을 지우려면 expectedVersion 또는 idempotencyKey가 필요합니다. 같은 요청이 두 번 전송되어도 한 번만 지워지도록 하기 위함입니다",
		"nothing_to_change": "변경할 내용이 없습니다. 하나 이상의 항목을 입력하세요",
	},
}

// koreanFields says in Korean what the API calls in English.
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
