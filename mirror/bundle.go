package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
)

// Why a Bundle, or an entry of one, is not taken.
var (
	errBundleType = errors.New("a Bundle that is neither a collection nor a searchset")
	errNested     = errors.New("a Bundle within a Bundle; import it by itself")
	errEntries    = errors.New("a Bundle whose entry is no list")
	errEntry      = errors.New("an entry that holds no resource with a resourceType")
)

// maxValues bounds an entry; what it holds of a Patient, fhir bounds again.
const maxValues = 60_000

// bundle imports the patients of a Bundle, one entry after the other. Its type
// may come after the entries: then they are in the cache, and it is reported.
func (i *importer) bundle(ctx context.Context) error {
	s, began := i.source, i.source.line
	s.skip('{')
	refused := false
	return s.members(func(key string) error {
		switch key {
		case "type", "resourceType":
			text, _, err := s.value(maxWord)
			if err != nil {
				return err
			}
			word := strings.Trim(string(text), `"`)
			if key == "type" && word != "collection" && word != "searchset" || key == "resourceType" && word != "Bundle" {
				refused = true
				return i.reject(began, 0, errBundleType, errBundleType)
			}
			return nil
		case "entry":
			return i.entries(ctx, refused)
		default:
			_, _, err := s.value(0)
			return err
		}
	})
}

// entries reads the list of entries, and imports them unless they are refused.
func (i *importer) entries(ctx context.Context, refused bool) error {
	s := i.source
	b, err := inside(s.blanks())
	if err != nil {
		return err
	}
	if b != '[' {
		if _, _, err := s.value(0); err != nil {
			return err
		}
		return i.reject(s.line, 0, errEntries, errEntries)
	}
	s.skip(b)
	for n := 1; ; n++ {
		b, err := inside(s.blanks())
		if err != nil {
			return err
		}
		if n == 1 && b == ']' {
			s.skip(b)
			return nil
		}
		line := s.line
		text, whole, err := s.value(maxLine)
		switch {
		case err != nil:
			return err
		case refused:
		case !whole:
			err = i.reject(line, n, errTooLong, errTooLong)
		default:
			err = i.entry(ctx, line, n, text)
		}
		if err != nil {
			return err
		}
		if b, err = inside(s.blanks()); err != nil || b != ',' && b != ']' {
			return notJSONUnless(err)
		}
		if s.skip(b); b == ']' {
			return nil
		}
	}
}

// entry imports the patient of an entry. Other resources are passed over: a
// searchset brings what its patients refer to.
func (i *importer) entry(ctx context.Context, line, n int, text []byte) error {
	if err := jsonlimit.Check(text, maxDepth, maxValues); err != nil {
		return i.reject(line, n, err, err)
	}
	if !json.Valid(text) {
		return i.reject(line, n, errNotJSON, errNotJSON)
	}
	resource := gjson.GetBytes(text, "resource")
	kind := resource.Get("resourceType")
	switch {
	case kind.Type != gjson.String:
		return i.reject(line, n, errEntry, errEntry)
	case kind.Str == "Patient":
		return i.add(ctx, line, n, []byte(resource.Raw))
	case kind.Str == "Bundle":
		return i.reject(line, n, errNested, errNested)
	default:
		i.result.Others++
		return nil
	}
}
