package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
)

// found lists the FHIR ids of the patients that a filter finds, in order.
func found(t *testing.T, c *Client, filter Object) []string {
	t.Helper()
	page, _ := c.Query(`query ($f: PatientFilter) { patients(first: 50, filter: $f) { totalCount nodes { fhirId } } }`, Object{"f": filter})["patients"].(map[string]any)
	list := []string{}
	nodes, _ := page["nodes"].([]any)
	for _, node := range nodes {
		list = append(list, node.(map[string]any)["fhirId"].(string))
	}
	if n, _ := page["totalCount"].(float64); int(n) != len(list) {
		t.Errorf("%v: %d of %v", filter, len(list), page["totalCount"])
	}
	slices.Sort(list)
	return list
}

func searchable(t *testing.T, databaseURL string, files ...string) {
	t.Helper()
	for i, name := range files {
		files[i] = filepath.Join("testdata", "search", name)
	}
	if out, err := importFiles(t, databaseURL, files...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestNamesAreFoundAsPeopleTypeThem: words in any order, without accents, in either
// form of Hangul, in each script that the record has, and by former names.
func TestNamesAreFoundAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		searchable(t, databaseURL, "names.ndjson", "names-more.ndjson")
		p := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL)
		for asked, want := range map[string]string{
			"ibarra begona": "nunez-22", "GUL ozturk": "ozturk-22", "\uC11C\uD558\uC724": "seo-22", "하윤 서": "seo-22", "タナカ": "tanaka-22", "ren tanaka": "tanaka-22",
			"\u1109\u1165\u1112\u1161\u110B\u1172\u11AB": "seo-22", "蓮 田中": "tanaka-22", "ﾚﾝ": "tanaka-22", "ｔａｎａｋａ": "tanaka-22", "núñez": "nunez-22",
			"herlihy": "byrne-m", "aoife herlihy": "byrne-m", "Byrne": "byrne-m", "effie": "byrne-m", "ni bhroin": "byrne-m", "nibhroin aoife": "byrne-m",
			"ivanova": "ivanova-m", "иванова": "ivanova-m", "Петрова Алёна": "ivanova-m", "алена": "ivanova-m",
			"herlihy ozturk": "", "!": "",
		} {
			if got := strings.Join(found(t, p.Client, Object{"name": asked}), " "); got != want {
				t.Errorf("%q finds %s, want %s", asked, got, want)
			}
		}
		shown := p.Query(`{ patients(first: 1, filter: {name: "tanaka"}) { nodes { familyName givenName fullName } } }`, nil)
		Want(t, shown["patients"].(map[string]any)["nodes"].([]any)[0].(map[string]any), Object{"familyName": "田中", "givenName": "蓮", "fullName": "田中蓮"})
	})
}

// TestNumbersAreFoundAsPeopleDialThem: every number of the patient, in any format;
// with a region its national and international forms are one. The region may be set
// after the import.
func TestNumbersAreFoundAsPeopleDialThem(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		searchable(t, databaseURL, "phones.ndjson")
		for region, searches := range map[string]map[string]string{
			"NO": {
				"91234567": "berg-23", "+47 22864000": "berg-23", "22 86 40 00": "berg-23", "55558100": "lund-23", "92222333": "berg-23",
				"+4755558100": "lund-23", "0047 91 23 45 67": "berg-23", "９１２３４５６７": "berg-23", "9123456": "", "+46 91234567": "",
			},
			"": {"91234567": "", "+4791234567": "berg-23", "004791234567": "berg-23", "22864000": "berg-23", "+47 (55) 55 81 00": "lund-23"},
		} {
			p := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL, "PHONE_REGION="+region)
			for asked, want := range searches {
				if got := strings.Join(found(t, p.Client, Object{"phone": asked}), " "); got != want {
					t.Errorf("%q in region %q finds %s, want %s", asked, region, got, want)
				}
			}
		}
	})
}

// TestANewNumberIsFoundAtOnce: a write moves the record in the search, and the
// numbers that it left alone stay.
func TestANewNumberIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		patient, err := os.ReadFile("testdata/search/phones.ndjson")
		if err != nil {
			t.Fatal(err)
		}
		berg, _, _ := strings.Cut(string(patient), "\n")
		_, base := StartFHIR(t, fhirsim.Options{}, berg)
		MustImport(t, databaseURL, berg)
		p := StartWith(t, base, databaseURL, "PHONE_REGION=NO")
		nodes := p.Query(`{ patients(first: 1) { nodes { id phone } } }`, nil)["patients"].(map[string]any)["nodes"].([]any)
		Want(t, nodes[0].(map[string]any), Object{"phone": "+47 912 34 567"})
		Want(t, p.Update(Object{"patientId": nodes[0].(map[string]any)["id"], "phone": "40 61 23 45"}), Object{"__typename": "UpdatePatientContactSuccess"})
		for asked, want := range map[string]string{"+4740612345": "berg-23", "91234567": "", "22864000": "berg-23", "92222333": "berg-23"} {
			if got := strings.Join(found(t, p.Client, Object{"phone": asked}), " "); got != want {
				t.Errorf("%q finds %s, want %s", asked, got, want)
			}
		}
	})
}
