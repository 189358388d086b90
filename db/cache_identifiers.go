package db

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/uptrace/bun"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Identifier is one that a patient has beside its number.
type Identifier struct {
	System, Value string
	Alias         bool // of the system of the numbers: the record is found by it as by its number
}

// The kinds of what a record is found by, see the table patient_identifiers.
const (
	kindNumber  = "NUMBER"
	kindFormer  = "FORMER"
	kindAlias   = "ALIAS"
	kindClaimed = "CLAIMED"
	kindOther   = "OTHER"
)

// identifierRow is a row of patient_identifiers.
type identifierRow struct{ kind, value, systemKey, key string }

var errBadNumber = errors.New("its patient number is longer than 64 characters, holds control characters or nothing that is seen")

// isNumber reports whether a text can be a patient number.
func isNumber(s string) bool {
	return clean(s) == s && !longer(s, 64) && !hasControl(s) && identifierKey(s) != ""
}

// identifierKey is what an identifier is searched by: letter case, width and what
// nobody sees do not matter. Servers should treat tokens so when in doubt (FHIR R4,
// search, token).
func identifierKey(s string) string {
	visible := strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, clean(atMost(s, maxFold)))
	return cut(strings.TrimSpace(strings.ToLower(cases.Fold().String(norm.NFKC.String(visible)))))
}

// The system_key of a NUMBER is that of the system under which the record's latest
// FHIR resource claims the number; notClaimed and the key, where that resource does not
// claim it or a write found the patient gone; "" where the number was assigned here and
// no system was ever looked at.
const (
	notClaimed = "!"
	notKnown   = "?" // an older version stored the number: it counts as claimed
)

// numberKey returns the system_key of the number.
func numberKey(identifiers []identifierRow) string {
	for _, name := range identifiers {
		if name.kind == kindNumber {
			return name.systemKey
		}
	}
	return ""
}

// withNumber returns what a row is found by after an older resource of its patient told
// its number, which it has by now or claims: newer identifiers stay.
func withNumber(identifiers []identifierRow, number string, claimed bool, n NewPatient) []identifierRow {
	system := identifierKey(n.NumberSystem)
	kept := []identifierRow{{kindNumber, number, system, identifierKey(number)}}
	if claimed {
		kept[0].systemKey = notClaimed + system
		kept = append(kept, identifierRow{kindClaimed, n.Number, system, ""})
	}
	for _, name := range identifiers {
		if name.kind != kindNumber && name.kind != kindClaimed {
			kept = append(kept, name)
		}
	}
	return kept
}

// withResource returns what a row is found by after its patient was taken.
func withResource(identifiers []identifierRow, number string, claimed bool, n NewPatient) []identifierRow {
	system := identifierKey(n.NumberSystem)
	kept := []identifierRow{{kindNumber, number, numberKey(identifiers), identifierKey(number)}}
	for _, name := range identifiers {
		if name.kind == kindFormer {
			kept = append(kept, name)
		}
	}
	switch {
	case n.Number == number:
		kept[0].systemKey = system
	case system != "":
		kept[0].systemKey = notClaimed + system
	}
	if claimed {
		kept = append(kept, identifierRow{kindClaimed, n.Number, system, ""})
	}
	for _, id := range n.Identifiers {
		name := identifierRow{kindOther, "", identifierKey(id.System), identifierKey(id.Value)}
		switch {
		case id.Alias && isNumber(id.Value):
			if id.Value == n.Number { // listed as a former one too
				continue
			}
			name.kind, name.value = kindAlias, id.Value
		case name.key == "":
			continue
		}
		kept = append(kept, name)
	}
	return kept
}

// renumbered returns what a row is found by after its number has moved.
func renumbered(identifiers []identifierRow, former, number string) []identifierRow {
	formerSystem, system := "", ""
	var kept []identifierRow
	for _, name := range identifiers {
		switch {
		case name.kind == kindNumber:
			formerSystem = strings.TrimPrefix(name.systemKey, notClaimed)
			if formerSystem != "" && formerSystem != notKnown {
				system = cmp.Or(system, notClaimed+formerSystem)
			}
			if assignedNumber.MatchString(former) {
				formerSystem = ""
			}
		case name.kind == kindClaimed && name.value == number:
			system = name.systemKey
		case name.kind == kindFormer && name.value == number:
		default:
			kept = append(kept, name)
		}
	}
	return append(kept, identifierRow{kindFormer, former, formerSystem, identifierKey(former)},
		identifierRow{kindNumber, number, system, identifierKey(number)})
}

// The statements of identifiers.
var (
	identifiersOf = prepared(`SELECT patient_id, kind, value, system_key, value_key FROM patient_identifiers WHERE patient_id = ANY(?)`)
	// forgetAliases: a number that somebody has is no alias.
	forgetAliases     = prepared(`DELETE FROM patient_identifiers WHERE kind IN ('FORMER', 'ALIAS') AND value = ANY(?)`)
	deleteIdentifiers = prepared(`DELETE FROM patient_identifiers WHERE patient_id = ANY(?)`)
	aliasesAmong      = prepared(`SELECT DISTINCT value FROM patient_identifiers WHERE kind IN ('FORMER', 'ALIAS') AND value = ANY(?)`)
	numbersOfFHIR     = preparedToRead(`SELECT fhir_id, id FROM patients WHERE fhir_id = ANY(?)`)
	aliasesOf         = preparedToRead(`SELECT value, min(patient_id) FROM patient_identifiers WHERE patient_id = ANY(?) AND kind || '' IN ('FORMER', 'ALIAS')
		AND NOT EXISTS (SELECT 1 FROM patients WHERE id = value) GROUP BY value HAVING count(DISTINCT patient_id) = 1`)
	numbersByNumber = preparedToRead(`SELECT id, id FROM patients WHERE id = ANY(?)
		UNION ALL ` + recordsByAlias + ` AND value = ANY(?) GROUP BY value HAVING count(DISTINCT patient_id) = 1`)
)

// recordsByAlias begins the search for aliases, as the index has them. One that two
// records claim finds neither.
const recordsByAlias = `SELECT value, min(patient_id) FROM patient_identifiers WHERE kind IN ('FORMER', 'ALIAS')`

var intoIdentifiers = intoTable("patient_identifiers", "patient_id, kind, value, system_key, value_key")

// identifiersOf reads what records are found by, by their numbers.
func (s *Store) identifiersOf(ctx context.Context, tx bun.Tx, numbers []string) (map[string][]identifierRow, error) {
	rows, err := s.in(ctx, tx, identifiersOf).QueryContext(ctx, s.list(numbers))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	identifiers := map[string][]identifierRow{}
	for rows.Next() {
		var number string
		var n identifierRow
		if err := rows.Scan(&number, &n.kind, &n.value, &n.systemKey, &n.key); err != nil {
			return nil, err
		}
		identifiers[number] = append(identifiers[number], n)
	}
	return identifiers, rows.Err()
}

// writeIdentifiers writes what records are found by, where it changed. numbers became
// somebody's: they are nobody's alias any more.
func (s *Store) writeIdentifiers(ctx context.Context, tx bun.Tx, before, after map[*Patient][]identifierRow, numbers []string) error {
	if len(numbers) > 0 {
		if _, err := s.exec(ctx, tx, forgetAliases, s.list(numbers)); err != nil {
			return err
		}
	}
	var changed []string
	var values []any
	for p, identifiers := range after {
		wanted := map[identifierRow]bool{}
		for _, n := range identifiers {
			if alias := n.kind == kindFormer || n.kind == kindAlias && n.value != p.ID; !alias || !slices.Contains(numbers, n.value) {
				wanted[n] = true
			}
		}
		same := len(before[p]) == len(wanted)
		for _, n := range before[p] {
			same = same && wanted[n]
		}
		if same {
			continue
		}
		changed = append(changed, p.ID)
		for n := range wanted {
			values = append(values, p.ID, n.kind, n.value, n.systemKey, n.key)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if _, err := s.exec(ctx, tx, deleteIdentifiers, s.list(changed)); err != nil {
		return err
	}
	return s.insert(ctx, tx, intoIdentifiers, values)
}

// findIdentifiers reads what the rows are found by, which of them cannot move now, and
// which numbers of patients without a FHIR id are aliases.
func (i *importing) findIdentifiers(ctx context.Context) error {
	var numbers, moving, local []string
	for number := range i.byID {
		numbers = append(numbers, number)
	}
	for _, n := range i.batch {
		switch row := i.byFHIRID[n.FHIRID]; {
		case row != nil && n.Number != "" && n.Number != row.ID:
			moving = append(moving, row.ID)
		case n.FHIRID == "" && n.Number != "":
			local = append(local, clean(n.Number))
		}
	}
	identifiers, err := i.store.identifiersOf(ctx, i.tx, numbers)
	if err != nil {
		return err
	}
	i.identifiers, i.aliases = map[*Patient][]identifierRow{}, map[string]bool{}
	for number, row := range i.byID {
		i.identifiers[row] = identifiers[number]
	}
	if len(local) > 0 {
		known, err := i.store.ids(ctx, i.tx, aliasesAmong, i.store.list(local))
		if err != nil {
			return err
		}
		for _, alias := range known {
			i.aliases[alias] = true
		}
	}
	i.open, err = i.store.unmovable(ctx, i.tx, moving)
	return err
}

// writeAllIdentifiers writes what the rows and the new patients are found by.
func (i *importing) writeAllIdentifiers(ctx context.Context) error {
	after := map[*Patient][]identifierRow{}
	for p, k := range i.taken {
		identifiers := i.identifiers[p]
		if p.ID != i.cameAs[p] && i.cameAs[p] != "" {
			identifiers = renumbered(identifiers, i.cameAs[p], p.ID)
		}
		if i.strangers[p] { // who had these numbers was somebody else
			identifiers = slices.DeleteFunc(slices.Clone(identifiers), func(name identifierRow) bool { return name.kind == kindFormer })
		}
		if i.numberOnly[p] {
			after[p] = withNumber(identifiers, p.ID, i.outcomes[k].Claimed, i.batch[k])
		} else {
			after[p] = withResource(identifiers, p.ID, i.outcomes[k].Claimed, i.batch[k])
		}
	}
	return i.store.writeIdentifiers(ctx, i.tx, i.identifiers, after, i.moved)
}

// identifierSearches are the ways in which a text is looked for: "value" or, as in a FHIR
// token search, "system|value" and "|value", which has no system.
func identifierSearches(text string) (wheres []conditions) {
	if key := identifierKey(text); key != "" {
		wheres = append(wheres, of("value_key = ?", key))
	}
	if system, value, told := strings.Cut(text, "|"); told && identifierKey(value) != "" {
		wheres = append(wheres, of("value_key = ? AND system_key = ?", identifierKey(value), identifierKey(system)))
	}
	return wheres
}

// byOwnIdentifier and byAlias select who has an identifier. A number wins over aliases.
const (
	byOwnIdentifier = "SELECT patient_id FROM patient_identifiers WHERE kind IN ('NUMBER', 'OTHER') AND "
	byAlias         = "SELECT min(patient_id) FROM patient_identifiers WHERE kind IN ('FORMER', 'ALIAS')" +
		" AND NOT EXISTS (SELECT 1 FROM patients AS holder WHERE holder.id = value AND holder.id <> patient_id) AND "
)

// identified selects the patients who have an identifier, some of them twice.
func identified(text string) (selects string, args []any) {
	var parts []string
	for _, where := range identifierSearches(text) {
		asked := strings.Join(where.texts, " AND ")
		parts = append(parts, byOwnIdentifier+asked, byAlias+asked+" HAVING count(DISTINCT patient_id) = 1")
		args = slices.Concat(args, where.args, where.args)
	}
	return strings.Join(parts, " UNION ALL "), args
}

// whereIdentifier asks that a record has an identifier. Among own records nothing of others
// is looked at: it must not take longer for what others have. || ” keeps the planner from
// the indexes of all.
func whereIdentifier(c *conditions, text string, own []string) {
	among := "?" + strings.Repeat(", ?", max(len(own)-1, 0))
	var ids []any
	for _, id := range own {
		ids = append(ids, clean(id))
	}
	var parts []string
	var args []any
	for _, where := range identifierSearches(text) {
		asked := strings.Join(where.texts, " AND ")
		ofRow := strings.Replace(asked, "value_key", "value_key || ''", 1)
		if len(own) > 0 {
			parts = append(parts, "id IN (SELECT patient_id FROM patient_identifiers WHERE patient_id IN ("+among+") AND kind || '' <> 'CLAIMED'"+
				" AND (kind || '' IN ('NUMBER', 'OTHER') OR value = patient_id OR value || '' NOT IN ("+among+")) AND "+ofRow+")")
			args = slices.Concat(args, ids, ids, where.args)
			continue
		}
		// Counted: for EXISTS PostgreSQL would look at the identifiers of all.
		parts = append(parts, "(SELECT count(*) FROM patient_identifiers WHERE patient_id = patients.id AND kind || '' IN ('NUMBER', 'OTHER') AND "+ofRow+") > 0",
			"id IN ("+byAlias+asked+" HAVING count(DISTINCT patient_id) = 1)")
		args = slices.Concat(args, where.args, where.args)
	}
	if c.nothing = c.nothing || len(parts) == 0; !c.nothing {
		c.add("("+strings.Join(parts, " OR ")+")", args...)
	}
}
