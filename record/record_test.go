package record

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"patientgraph/db"
	"patientgraph/fhir"
)

// leaves calls do for each value in v, and makes those behind pointers and in
// lists that are empty.
func leaves(v reflect.Value, path string, do func(path string, leaf reflect.Value)) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time](), v.Kind() != reflect.Struct && v.Kind() != reflect.Pointer && v.Kind() != reflect.Slice:
		do(path, v)
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		leaves(v.Elem(), path, do)
	case v.Kind() == reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		}
		for n := range v.Len() {
			leaves(v.Index(n), fmt.Sprintf("%s[%d]", path, n), do)
		}
	default:
		for n := range v.NumField() {
			switch field := v.Type().Field(n); {
			case field.Anonymous:
				leaves(v.Field(n), path, do)
			case field.IsExported():
				leaves(v.Field(n), path+"."+field.Name, do)
			}
		}
	}
}

// fill gives each value in *at one of its own; names are as short as names are.
func fill(t *testing.T, at any) {
	t.Helper()
	n := 0
	leaves(reflect.ValueOf(at).Elem(), "", func(path string, leaf reflect.Value) {
		n++
		letters := string([]rune{'a' + rune(n/26), 'a' + rune(n%26)})
		switch leaf.Interface().(type) {
		case time.Time:
			leaf.Set(reflect.ValueOf(time.Unix(int64(n), 0)))
			return
		case int64:
			leaf.SetInt(int64(n))
			return
		case bool:
			leaf.SetBool(true)
			return
		}
		switch {
		case leaf.Kind() != reflect.String:
			t.Fatalf("say here how to fill %s, a %s", path, leaf.Type())
		case strings.HasSuffix(path, "Name"):
			leaf.SetString("X" + letters[1:])
		case strings.HasSuffix(path, "BirthDate"):
			leaf.SetString("1949-11-14")
		default:
			leaf.SetString("kw" + letters + "oz")
		}
	})
}

// values returns what each value in *at is.
func values(at any) map[string]any {
	all := map[string]any{}
	leaves(reflect.ValueOf(at).Elem(), "", func(path string, leaf reflect.Value) { all[path] = leaf.Interface() })
	return all
}

// A field of fhir.Patient that New forgets is found here, and a field of the row
// that it does not set.
func TestTheCacheHoldsWhatAPatientShows(t *testing.T) {
	t.Parallel()
	var p fhir.Patient
	fill(t, &p)
	want := map[string]any{
		".Number": p.Identifiers[1].Value, ".NumberSystem": p.Identifiers[1].System, ".FHIRID": p.ID,
		".Identifiers[0].System": p.Identifiers[0].System, ".Identifiers[0].Value": p.Identifiers[0].Value, ".Identifiers[0].Alias": false,
		".State.FHIRVersionID": p.VersionID, ".State.FHIRUpdatedAt": p.LastUpdated,
	}
	for path, value := range values(&p) {
		if path != ".ID" && path != ".VersionID" && path != ".LastUpdated" && !strings.HasPrefix(path, ".Identifiers") {
			if strings.HasPrefix(path, ".Replaces") {
				want[path] = value
				continue
			}
			path = strings.Replace(path, ".Emergency", ".FHIRContact", 1)
			want[".State"+strings.TrimPrefix(path, ".Contact")] = value
		}
	}
	got := New(p, p.Identifiers[1].System)
	if diff := cmp.Diff(want, values(&got)); diff != "" {
		t.Error(diff)
	}
	if n := New(p, ""); n.Number != "" {
		t.Errorf("without a system the number is %s", n.Number)
	}
	if empty := New(fhir.Patient{}, ""); !reflect.DeepEqual(empty, db.NewPatient{}) {
		t.Errorf("of nothing: %+v", empty)
	}
}

// Resource lists whatever of a row could tell who it is: a field that it forgets
// would be shown in a reason of the FHIR server. Codes, versions and times are
// nobody's.
func TestAReasonShowsNothingOfARow(t *testing.T) {
	t.Parallel()
	var row db.Patient
	fill(t, &row)
	secrets := fhir.SecretsOf(Resource(&row))
	scrubbed := func(value string) string {
		return secrets.Scrub(fhir.Issue{Severity: "error", Code: "invalid", Message: "not valid: " + value}).Message
	}
	if text := scrubbed("kwyyoz"); !strings.Contains(text, "kwyyoz") {
		t.Fatalf("what is nobody's is hidden as well: %s", text)
	}
	for path, value := range values(&row) {
		text, isText := value.(string)
		if !isText || path == ".Gender" || path == ".FHIRVersionID" {
			continue
		}
		if told := scrubbed(text); strings.Contains(told, text) {
			t.Errorf("%s %s stays in %q", path, text, told)
		}
	}
}

func TestSameSeesEachValue(t *testing.T) {
	t.Parallel()
	var a db.FHIRState
	fill(t, &a)
	for path := range values(&a) {
		var b db.FHIRState
		fill(t, &b)
		if !Same(a, b) || len(Differing(a, b, fhir.ContactEdit{SetPhone: true, SetEmail: true, SetAddress: true})) != 0 {
			t.Fatal("two that are the same differ")
		}
		leaves(reflect.ValueOf(&b).Elem(), "", func(at string, leaf reflect.Value) {
			if at == path {
				leaf.SetZero()
			}
		})
		notShown := path == ".FHIRVersionID" || path == ".FHIRUpdatedAt" || strings.HasPrefix(path, ".Other")
		if same := Same(a, b); same != notShown {
			t.Errorf("without %s: same %v", path, same)
		}
	}
}

func TestDiffering(t *testing.T) {
	t.Parallel()
	a := db.FHIRState{Phone: "1", Email: "a@b", Address: &db.Address{Lines: []string{"1"}}}
	all := fhir.ContactEdit{SetPhone: true, Phone: "1", SetEmail: true, Email: "a@b", SetAddress: true, Address: &fhir.Address{Lines: []string{"1"}}}
	for _, c := range []struct {
		b    db.FHIRState
		edit fhir.ContactEdit
		want []string
	}{
		{a, all, nil},
		{db.FHIRState{}, all, []string{fhir.FieldPhone, fhir.FieldEmail, fhir.FieldAddress}},
		{db.FHIRState{}, fhir.ContactEdit{}, nil},
		{db.FHIRState{Phone: "1", Email: "a@b", Address: &db.Address{}}, all, []string{fhir.FieldAddress}},
		{db.FHIRState{FamilyName: "X", Email: "a@b", Address: a.Address}, all, []string{fhir.FieldPhone}},
	} {
		if diff := cmp.Diff(c.want, Differing(a, c.b, c.edit)); diff != "" {
			t.Errorf("%+v: %s", c.b, diff)
		}
	}
}

// The number is the current identifier of its system, and the others of that system
// are aliases; without a current one there is no number.
func TestTheNumberIsTheCurrentIdentifier(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct{ number, aliases, others string }{
		``:                                  {"", "", ""},
		`{"system":"s","value":"1"}`:        {"1", "", ""},
		`{"system":"t","value":"1"}`:        {"", "", "1"},
		`{"value":"1"}`:                     {"", "", "1"},
		`{"system":"s","value":" 1\u00a0"}`: {"1", "", ""},
		`{"system":"s","value":"  "},{"system":"s"},{"system":"s","value":""},{"system":"s","value":"1"}`:          {"1", "", ""},
		`{"use":"old","system":"s","value":"1"}`:                                                                   {"", "1", ""},
		`{"use":"old","system":"s","value":"1"},{"system":"s","value":"2"}`:                                        {"2", "1", ""},
		`{"system":"s","value":"1","period":{"end":"2019-12-31"}},{"use":"temp","system":"s","value":"2"}`:         {"2", "1", ""},
		`{"system":"s","value":"1","period":{"start":"2097-01-01"}},{"system":"s","value":"2"}`:                    {"2", "1", ""},
		`{"system":"s","value":"1","period":{"start":"2019-12-31"}},{"system":"s","value":"2"}`:                    {"1", "2", ""},
		`{"system":"s","value":"1","period":{"end":"2019"}}`:                                                       {"", "1", ""},
		`{"use":"usual","system":"s","value":"1"},{"use":"official","system":"s","value":"2"}`:                     {"2", "1", ""},
		`{"system":"s","value":"1"},{"use":"usual","system":"s","value":"2"}`:                                      {"2", "1", ""},
		`{"use":"secondary","system":"s","value":"1"},{"system":"s","value":"2"}`:                                  {"2", "1", ""},
		`{"use":"temp","system":"s","value":"1"},{"use":"secondary","system":"s","value":"2"}`:                     {"2", "1", ""},
		`{"use":"nonsense","system":"s","value":"1"},{"use":"temp","system":"s","value":"2"}`:                      {"2", "1", ""},
		`{"use":"official","system":"t","value":"1"},{"use":"temp","system":"s","value":"2"}`:                      {"2", "", "1"},
		`{"use":"official","period":{"end":"2019-12-31"},"system":"s","value":"1"},{"system":"s","value":"1"}`:     {"1", "1", ""},
		`{"use":"official","system":"s","value":"1"},{"use":"official","system":"s","value":"2"}`:                  {"1", "2", ""},
		`{"use":["old"],"system":"s","value":"1"},{"system":{},"value":"2"},7,null,{"system":"s","value":{"x":1}}`: {"1", "", "2"},
	} {
		p, err := fhir.ParsePatient([]byte(`{"resourceType":"Patient","identifier":[`+text+`]}`), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		n := New(p, "s")
		var aliases, others []string
		for _, id := range n.Identifiers {
			if id.Alias {
				aliases = append(aliases, id.Value)
			} else {
				others = append(others, id.Value)
			}
		}
		if n.Number != want.number || strings.Join(aliases, " ") != want.aliases || strings.Join(others, " ") != want.others {
			t.Errorf("%s: number %q, aliases %q, others %q", text, n.Number, aliases, others)
		}
	}
}

// The names of the fields are the same in both packages, else no conflict would be
// found.
func TestFieldsHaveOneName(t *testing.T) {
	t.Parallel()
	edit := fhir.ContactEdit{SetPhone: true, SetEmail: true, SetAddress: true}
	row := db.Patient{Version: 1}
	if changed := row.ChangedSince(2, edit.Fields()); !slices.Equal(changed, edit.Fields()) {
		t.Errorf("of %v changed %v", edit.Fields(), changed)
	}
}
