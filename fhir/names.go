package fhir

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// nameOrder ranks HumanName.use; a name that is not current comes after all others.
var nameOrder = []string{"official", "usual", "", "anonymous", "nickname", "temp", "maiden", "old"}

// representationURL (HL7's extension registry) says in which script a HumanName
// repeats another one: IDE ideographic, SYL syllabic, ABC alphabetic.
const representationURL = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"

// representations ranks them: a name as its bearer writes it goes first, then one
// that does not say.
var representations = []string{"IDE", "", "ABC", "SYL"}

// namesOf lists the names that hold something, the one that is shown first.
func namesOf(doc gjson.Result, now time.Time) []Name {
	type ranked struct {
		name Name
		rank int
	}
	var list []ranked
	for _, entry := range elements(member(doc, "name")) {
		n := Name{str(entry, "family"), strings.Join(strs(member(entry, "given")), " "), str(entry, "text")}
		if !isBlank(n.Family + n.Given + n.Text) {
			list = append(list, ranked{n, nameRank(entry, now)})
		}
	}
	slices.SortStableFunc(list, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	names := make([]Name, 0, len(list))
	for _, r := range list {
		names = append(names, r.name)
	}
	return names
}

// nameRank goes by whether the name is current, then by use, then by its script.
// What is marked as a script and has no use repeats the official name.
func nameRank(entry gjson.Result, now time.Time) int {
	use, representation := str(entry, "use"), representationOf(entry)
	if use == "" && representation != "" {
		use = "official"
	}
	rank := slices.Index(nameOrder, use)
	if rank < 0 {
		rank = len(nameOrder)
	}
	if !holds(member(entry, "period"), now) {
		rank += len(nameOrder) + 1
	}
	return rank*len(representations) + slices.Index(representations, representation)
}

func representationOf(entry gjson.Result) string {
	for _, extension := range elements(member(entry, "extension")) {
		if code := str(extension, "valueCode"); str(extension, "url") == representationURL && slices.Contains(representations, code) {
			return code
		}
	}
	return ""
}
