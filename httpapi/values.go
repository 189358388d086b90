package httpapi

import (
	"regexp"
	"strings"
)

// repeats are the words of gqlparser (2.5.64) that repeat a value of the request, which
// may be a patient's and would end in the error reports of clients. The type stays, and
// the position beside it.
var repeats = []struct {
	hint    string // in all of them: a document may be wrong in a thousand places
	words   *regexp.Regexp
	instead string
}{
	{"Expected value of type", regexp.MustCompile(`(?s)^(Expected value of type "[^"]*"), found .*$`), `$1, found another.`},
	{"cannot represent", regexp.MustCompile(`(?s)^((?:Enum "[^"]*"|Int|Float|String|Boolean|ID) cannot represent [-a-z0-9 ]* value): .*?( Did you mean .*)?$`), `$1.$2`},
	{"does not exist in", regexp.MustCompile(`^Value "[^"]*" does not exist in "`), `The value does not exist in "`},
	{"is not a valid", regexp.MustCompile(`(?s)^.* is not a valid (\w+)$`), `the value is not a valid $1`},
	{"strconv.", regexp.MustCompile(`(?s)^.*strconv\.\w+: parsing .*: ([a-z ]+)$`), `the value is no number: $1`},
	{"pected ", regexp.MustCompile(`(?s)^(Expected .+, found|Unexpected) (Name|Int|Float|String|BlockString|Comment) ".*$`), `$1 $2`},
}

func withoutValues(message string) string {
	for _, r := range repeats {
		if strings.Contains(message, r.hint) && r.words.MatchString(message) {
			return r.words.ReplaceAllString(message, r.instead)
		}
	}
	return message
}
