package fhir

import "strings"

// commonWords are the words of servers' texts, folded: hiding one where a value
// happens to hold it would tell nothing less and spoil the text. elementNames
// and elementParts belong to them.
var commonWords = func() map[string]bool {
	words := map[string]bool{}
	for w := range strings.FieldsSeq(`a about absent accept accepted access account action active add added
		address addresses admin after again all allow allowed already also an and another any application are argument
		array as assign assigned at attempt attribute auth authorisation authorization authorized bad base be bearer
		because been before being between birth birthdate blank body boolean both bundle but by byte bytes call can
		cannot cardinality change changed character characters check checked choice chosen city client clients code
		codes coding codings column conditional conflict connection constraint contact contain contained contains
		content contents could country county create created criteria current data database date dates datetime day
		days decimal deleted denied detail details detected did different digit digits do does domain duplicate during
		each either element elements email empty encoded encounter encountered encoding end entity entries entry error
		errors etag exactly exceed exceeded exceeds exception exist existing exists expect expected expired expression
		extension extra fail failed fails failing failure false family fatal few fhir field fields file filter first
		following for forbidden form format formatted formats found from fullname function gender get given got greater
		group had hapi has have having header home hour how http https i id identifier identifiers if illegal in
		incorrect index information inner input insert instance instead int integer internal into invalid invariant is
		issue issues it item items its json key keys kind known language large last later least left len length less
		letter letters level like limit line list literal local locked long longer lower made mail mandatory many match
		matched matches matching max maximal maximum may media member message meta method middle min minimal minimum
		minute missing mobile mode module month more most multiple must my name names neither new next no node non none
		nor not nothing null number numbers numeric object of off old on once one only operation operations optional or
		order organization other out outcome outside over owner page pair param parameter parameters parse parsed
		parser part partial password path pattern patient patients per permission permit permitted phone please policy
		position possible post postal postcode precondition present previous primary primitive problem process
		processed processing profile profiles prohibited property provide provided put query range rate raw reached read
		reason received recognised recognized record records reference references referenced refers refresh regex
		regular reject rejected related relation remove removed repeat repeating replace request requests require
		required requirement requires resolve resource resources response result retrieve retry return returned revoked
		root row rows rule rules same save saved schema search second section see semantic send sent server service set
		sets sex should show similar since single size slice so some specified specify standard start state status step
		still stop storage store street string strings structure submitted such suitable support supported syntax system
		table target telecom telephone temp temporarily temporary text than that the their them then there these they
		this those thread threads time timeout times timestamp to token tokens too true try trying two type types
		unable unauthorized undefined under unexpected unique unit unknown unless unlike unrecognized unsupported until
		up update updated updates updating uri url use used user uses using utf uuid valid validate validated validation
		validator value values valueset version versions violated violates violation was we well were what when where
		which while whitespace who will with within without word words work would write wrong xml year yes yet you
		your zip zone male female why columns
		generally means logged resourcetype versionid lastupdated
		bulk complete completed death export exported occurred progress`) {
		words[foldWord(w)] = true
	}
	for _, name := range append(elementNames, elementParts...) {
		words[foldWord(name)] = true
	}
	return words
}()

// foldWord folds what is one word.
func foldWord(word string) string { return foldText(word).tokens[0].word }

// elementParts are the elements within those of a Patient.
var elementParts = []string{
	"assigner", "city", "code", "coding", "comparator", "contentType", "country", "creation", "data", "display",
	"district", "div", "end", "family", "given", "hash", "line", "lastUpdated", "measure", "name", "organization",
	"other", "period", "postalCode", "prefix", "preferred", "profile", "rank", "reference", "relationship", "security",
	"size", "source", "start", "state", "status", "suffix", "system", "tag", "title", "type", "unit", "url", "use",
	"userSelected", "value", "valueAddress", "valueBoolean", "valueCode", "valueCodeableConcept", "valueCoding",
	"valueDate", "valueDateTime", "valueDecimal", "valueHumanName", "valueIdentifier", "valueInteger", "valuePeriod",
	"valueQuantity", "valueReference", "valueString", "valueUri", "versionId",
}

// severities and issueTypes are FHIR R4's value sets issue-severity and
// issue-type, the latter with all levels of its hierarchy. What a server gives
// instead is not passed on.
var (
	severities = setOf(`fatal error warning information`)
	issueTypes = setOf(`invalid structure required value invariant security login unknown expired forbidden suppressed
		processing not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly
		business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational`)
)

func setOf(list string) map[string]bool {
	set := map[string]bool{}
	for s := range strings.FieldsSeq(list) {
		set[s] = true
	}
	return set
}

// known is code if the value set has it, else "unknown".
func known(set map[string]bool, code string) string {
	if set[code] {
		return code
	}
	return "unknown"
}

// codeInWords says what the common issue types mean.
var codeInWords = map[string]string{
	"value":            "The server refused a value",
	"invalid":          "The server found invalid content",
	"structure":        "The server found invalid content",
	"required":         "The server misses a required element",
	"invariant":        "The server refused content that breaks one of its rules",
	"business-rule":    "The server refused content that breaks one of its rules",
	"code-invalid":     "The server refused a code",
	"too-long":         "The server refused a value that is too long",
	"duplicate":        "The server refused a duplicate",
	"conflict":         "The server reported a conflict",
	"not-found":        "The server did not find what was asked for",
	"deleted":          "The server says that the resource was deleted",
	"not-supported":    "The server does not support the request",
	"forbidden":        "The server forbids the request",
	"security":         "The server refused the request for reasons of security",
	"informational":    "The server gave a piece of information that may hold patient data",
	"multiple-matches": "The server found more than one match",
}

// inWords stands for a text that cannot be made safe.
func inWords(code string) string {
	if words, ok := codeInWords[code]; ok {
		return words
	}
	return "The server gave a reason that may hold patient data (" + known(issueTypes, code) + ")"
}
