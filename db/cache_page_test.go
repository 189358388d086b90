package db

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// ids returns the ids of a page.
func ids(p *Page) []string {
	list := []string{}
	for _, patient := range p.Patients {
		list = append(list, patient.ID)
	}
	return list
}

// walk reads every page of an order, forward or backward, and returns the ids
// in order.
func walk(t require, s *Store, r PageRequest, size int, forward bool, between func()) []string {
	var all []string
	for range 1000 {
		r.First, r.Last = size, 0
		if !forward {
			r.First, r.Last = 0, size
		}
		page := bothPages(t, s, r)
		if forward {
			all = append(all, ids(page)...)
			if !page.HasNext {
				return all
			}
			r.After = page.End
		} else {
			all = append(ids(page), all...)
			if !page.HasPrevious {
				return all
			}
			r.Before = page.Start
		}
		between()
	}
	t.Fatalf("the pages never end")
	return nil
}

// TestThePageSizeIsInTheText: PostgreSQL plans a page anew each time whose size is an argument.
func TestThePageSizeIsInTheText(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		o := orderings[OrderCreatedDesc]
		text, args := s.listingOf(Filter{}, o).selectRows(s, PageRequest{First: 20}, o, keyOfPage, conditions{})
		if !strings.HasSuffix(text, " LIMIT 21") || len(args) != 0 {
			t.Errorf("%s with %v", text, args)
		}
	})
}

// bothPages returns a page that Patients and EachPatient agree about.
func bothPages(t require, s *Store, r PageRequest) *Page {
	page, err := s.Patients(context.Background(), r)
	if err != nil {
		t.Fatalf("page: %v", err)
	}
	var each []*Patient
	other, err := s.EachPatient(context.Background(), r, func(p *Patient) {
		own := *p
		each = append(each, &own)
	})
	if err != nil || other.Patients != nil {
		t.Fatalf("each patient of the page: %v; %d patients are kept", err, len(other.Patients))
	}
	if other.Patients = each; !reflect.DeepEqual(other, page) {
		t.Fatalf("%+v: a page is\n%+v\nand patient by patient\n%+v", r, page, other)
	}
	return page
}

// require is what tests and properties have in common.
type require interface{ Fatalf(string, ...any) }

// sorted is the model: ids in an order, ties by id.
func sorted(all map[string]*Patient, o Order) []string {
	order := orderings[o]
	list := make([]*Patient, 0, len(all))
	for _, p := range all {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *Patient) int {
		c := cmp.Or(compareKeys(order.key(a), order.key(b)), cmp.Compare(a.ID, b.ID))
		if order.desc {
			return -c
		}
		return c
	})
	var ordered []string
	for _, p := range list {
		ordered = append(ordered, p.ID)
	}
	return ordered
}

func compareKeys(a, b any) int {
	if n, ok := a.(int64); ok {
		return cmp.Compare(n, b.(int64))
	}
	return cmp.Compare(a.(string), b.(string))
}

func TestPagesAgreeWithASortedList(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		all := map[string]*Patient{}
		for n := range 60 {
			st := FHIRState{
				FamilyName: []string{"김", "Kim", "kim", "", "Ångström", "Z"}[n%6], GivenName: fmt.Sprint("g", n%4),
				BirthDate: []string{"", "1949", "1949-11", "1949-11-14", "2001-01-01"}[n%5],
			}
			id := fmt.Sprintf("P-%d", n)
			add(t, s, testTime.Add(time.Duration(n%7)*time.Second), NewPatient{Number: id, State: st})
			numbered(t, s)
			p, err := s.Patient(context.Background(), id)
			if err != nil {
				t.Fatal(err)
			}
			all[id] = p
		}
		for o := range orderings {
			want := sorted(all, o)
			for _, size := range []int{1, 7, 59, 60, 61} {
				for _, forward := range []bool{true, false} {
					if got := walk(t, s, PageRequest{Order: o}, size, forward, func() {}); !slices.Equal(got, want) {
						t.Errorf("order %s, pages of %d, forward %v:\ngot  %v\nwant %v", o, size, forward, got, want)
					}
				}
			}
		}
	})
}

func TestPagesStayWherePatientsAreAdded(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		for n := range 20 {
			add(t, s, testTime.Add(time.Duration(n)*time.Second), NewPatient{Number: fmt.Sprintf("A-%02d", n)})
		}
		extra := 0
		got := walk(t, s, PageRequest{Order: OrderCreatedDesc}, 3, true, func() {
			extra++
			add(t, s, testTime.Add(time.Hour), NewPatient{Number: fmt.Sprintf("B-%02d", extra)})
		})
		if len(got) != 20 || got[0] != "A-19" || got[19] != "A-00" {
			t.Errorf("the pages hold %v", got)
		}
	})
}

func TestBadCursors(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1"})
		page, err := s.Patients(context.Background(), PageRequest{Order: OrderNameAsc, First: 1})
		if err != nil {
			t.Fatal(err)
		}
		encode := base64.RawURLEncoding.EncodeToString
		for _, c := range []string{
			"x", "!", page.Start + "=", encode([]byte(`{"o":"created-desc","n":1,"i":"P-1"}`)) + "\n", page.Start, // the last is of another order
			encode([]byte(`{}`)), encode([]byte(`{"o":"created-desc"}`)), encode([]byte(`{"o":"created-desc","n":"1","i":"x"}`)),
			encode([]byte(`{"o":"created-desc","n":1,"i":"\u0000"}`)), encode([]byte("null")),
		} {
			for _, r := range []PageRequest{{After: c}, {Before: c}} {
				r.Order, r.First = OrderCreatedDesc, 1
				if _, err := s.Patients(context.Background(), r); !errors.Is(err, ErrBadCursor) {
					t.Errorf("cursor %q: %v", c, err)
				}
			}
		}
	})
}

func FuzzCursor(f *testing.F) {
	s := openStore(f, "sqlite::memory:")
	add(f, s, testTime, NewPatient{Number: "P-1"})
	f.Add("")
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"o":"name-asc","t":"' OR 1=1 --","i":"x"}`)))
	f.Fuzz(func(t *testing.T, c string) {
		page, err := s.Patients(context.Background(), PageRequest{Order: OrderNameAsc, First: 1, After: c})
		if err != nil && !errors.Is(err, ErrBadCursor) || err == nil && len(page.Patients) > 1 {
			t.Fatalf("cursor %q: %+v, %v", c, page, err)
		}
	})
}

func TestNameSearchAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		letters := rapid.SampledFrom([]rune("가나다김ab AßİI%_'😀\u0301ﬁ"))
		name := rapid.StringOfN(letters, 0, 6, -1)
		n := 0
		names := map[string][3]string{}
		rapid.Check(t, func(t *rapid.T) {
			var batch []NewPatient
			for range 3 {
				n++
				id := fmt.Sprint("P-", n)
				parts := [3]string{name.Draw(t, "family"), name.Draw(t, "given"), name.Draw(t, "full")}
				names[id] = parts
				batch = append(batch, NewPatient{Number: id, State: FHIRState{FamilyName: parts[0], GivenName: parts[1], FullName: parts[2]}})
			}
			if _, err := s.ImportPatients(context.Background(), batch, testTime); err != nil {
				t.Fatal(err)
			}
			asked := name.Draw(t, "asked")
			words := strings.Fields(fold(asked))
			want := 0
			for _, parts := range names {
				forms := Name{parts[0], parts[1], parts[2]}.forms()
				if asked == "" || len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool {
					return !slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(form, word) })
				}) {
					want++
				}
			}
			got, err := s.CountPatients(context.Background(), Filter{Name: asked})
			if err != nil || got != want {
				t.Fatalf("%q finds %d, want %d (%v)", asked, got, want, err)
			}
		})
	})
}

func TestNameSearchOfManyMatches(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		for n := range 6 {
			batch := make([]NewPatient, 500)
			for i := range batch {
				batch[i] = NewPatient{State: FHIRState{FamilyName: "김", GivenName: fmt.Sprintf("민%03d", n*500+i), FullName: "김민"}}
			}
			if n == 3 {
				batch[100].State = FHIRState{FamilyName: "독고", FullName: "독고탁"}
			}
			add(t, s, testTime.Add(time.Duration(n)*time.Second), batch...)
		}
		for asked, want := range map[string]int{"김": 2999, "김민": 2999, "민": 2999, "독고": 1, "고탁": 1, "민29": 110, "민2999": 1, "없음": 0} {
			if got, err := s.CountPatients(context.Background(), Filter{Name: asked}); err != nil || got != want {
				t.Errorf("%s finds %d, want %d (%v)", asked, got, want, err)
			}
			page, err := s.Patients(context.Background(), PageRequest{Order: OrderCreatedDesc, First: 10, Filter: Filter{Name: asked}})
			if err != nil || len(page.Patients) != min(want, 10) || page.HasNext != (want > 10) {
				t.Errorf("%s: page of %d, next %v (%v)", asked, len(page.Patients), page.HasNext, err)
			}
		}
	})
}

func TestFilters(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		add(t, s, testTime,
			NewPatient{Number: "A", FHIRID: "a", State: FHIRState{BirthDate: "1949", Gender: "male", Phone: "010-1111-2222"}},
			NewPatient{Number: "B", FHIRID: "b", State: FHIRState{BirthDate: "1949-11", Gender: "female", Phone: "+82 10"}},
			NewPatient{Number: "C", State: FHIRState{BirthDate: "1949-11-14", Gender: "", Phone: "call me"}})
		add(t, s, testTime.Add(time.Hour), NewPatient{Number: "D", FHIRID: "d", State: FHIRState{BirthDate: "1950", Gender: "asked-unknown"}})
		sent(t, s, "op-1", "B")
		for _, c := range []struct {
			name string
			f    Filter
			want string
		}{
			{"all", Filter{}, "ABCD"},
			{"none", Filter{None: true}, ""},
			{"own record", Filter{IDs: []string{"B"}}, "B"},
			{"own records, and one that is not there", Filter{IDs: []string{"D", "no", "A"}}, "AD"},
			{"own records and other filters", Filter{IDs: []string{"A", "B", "C"}, BirthDate: "1949", Gender: "male", Phone: "010-1111-2222"}, "A"},
			{"own record and another filter", Filter{IDs: []string{"B"}, Gender: "male"}, ""},
			{"year", Filter{BirthDate: "1949"}, "ABC"},
			{"month", Filter{BirthDate: "1949-11"}, "BC"},
			{"day", Filter{BirthDate: "1949-11-14"}, "C"},
			{"gender", Filter{Gender: "female"}, "B"},
			{"gender unknown", Filter{Gender: "unknown"}, "CD"},
			{"phone by digits", Filter{Phone: "(010) 11112222"}, "A"},
			{"phone without digits", Filter{Phone: "call me"}, "C"},
			{"phone, part of one", Filter{Phone: "1111"}, ""},
			{"state", Filter{SyncState: Pending}, "B"},
			{"local", Filter{SyncState: LocalOnly}, "C"},
			{"updated since", Filter{UpdatedSince: testTime.Add(time.Hour)}, "D"},
			{"zero byte", Filter{Name: "\x00", Phone: "\x00", IDs: []string{"\x00"}}, ""},
		} {
			page, err := s.Patients(ctx, PageRequest{Order: OrderBirthDateAsc, First: 10, Filter: c.f})
			if err != nil || strings.Join(ids(page), "") != c.want {
				t.Errorf("%s: %v, want %s (%v)", c.name, page, c.want, err)
			}
			if n, err := s.CountPatients(ctx, c.f); err != nil || n != len(c.want) {
				t.Errorf("%s: count %d, want %d (%v)", c.name, n, len(c.want), err)
			}
		}
	})
}

func BenchmarkPatient(b *testing.B) {
	s := openStore(b, "sqlite:"+b.TempDir()+"/x.db")
	add(b, s, testTime, NewPatient{Number: "P-1", FHIRID: "a", State: fullState()})
	for b.Loop() {
		if _, err := s.Patient(context.Background(), "P-1", ColFullName, ColPhone, ColEmail, ColBirthDate, ColGender); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPage reads 200 whole rows.
func BenchmarkPage(b *testing.B) {
	s := openStore(b, "sqlite:"+b.TempDir()+"/x.db")
	for n := range 200 {
		add(b, s, testTime, NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("a", n), State: fullState()})
	}
	for b.Loop() {
		if _, err := s.Patients(context.Background(), PageRequest{Order: OrderCreatedDesc, First: 200}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkImportPatients(b *testing.B) {
	s := openStore(b, "sqlite:"+b.TempDir()+"/x.db")
	n := 0
	for b.Loop() {
		batch := make([]NewPatient, 500)
		for i := range batch {
			n++
			st := fullState()
			st.GivenName = fmt.Sprint("Donya", n)
			st.OtherNames, st.OtherPhones = nil, nil // as most have
			batch[i] = NewPatient{FHIRID: fmt.Sprint("f", n), State: st}
		}
		if _, err := s.ImportPatients(context.Background(), batch, testTime); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "patients/s")
}

func BenchmarkNameSearch(b *testing.B) {
	s := openStore(b, "sqlite:"+b.TempDir()+"/x.db")
	for n := range 40 {
		batch := make([]NewPatient, 500)
		for i := range batch {
			k := n*500 + i
			batch[i] = NewPatient{State: FHIRState{FamilyName: "김", GivenName: fmt.Sprintf("민%04d", k), FullName: fmt.Sprintf("김민%04d", k)}}
		}
		add(b, s, testTime.Add(time.Duration(n)*time.Second), batch...)
	}
	for _, asked := range []string{"김", "민1", "민1999", "없"} {
		b.Run(asked, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Patients(context.Background(), PageRequest{Order: OrderCreatedDesc, First: 20, Filter: Filter{Name: asked}, Columns: []Column{ColFullName}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Callers refuse longer cursors than these (maxCursor in resolvers/page.go), so
// no page may have one.
func TestCursorsAreShort(t *testing.T) {
	t.Parallel()
	const longest = 4_000
	for _, character := range []string{"<", "😀", "\u2028", "x", "\u0390"} {
		name := strings.Repeat(character, maxFold)
		p := &Patient{ID: strings.Repeat("<", 64)}
		p.keys = keysOf(&FHIRState{FamilyName: name, GivenName: name, FullName: name})
		if n := len(OrderNameAsc.Cursor(p)); n > longest {
			t.Errorf("a name of %q makes a cursor of %d bytes", character, n)
		}
	}
}
