package db

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

// Each line holds what is the same to a search.
func TestFoldMakesEqual(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"nunez", "Núñez", "NU\u0301N\u0303EZ", "ｎｕｎｅｚ", "Nu\u00ADñez", "\u202ANúñez\u202C\uFEFF"},
		{"ozturk", "Öztürk", "OZTURK"}, {"istanbul ilgin", "İstanbul Ilgın", "ISTANBUL ILGIN"}, {"strasse", "Straße", "STRASSE", "STRAẞE"},
		{"soren aeroe", "Søren Ærøe"}, {"lukasz", "Łukasz"}, {"nguyen van dong", "Nguyễn Văn Đông"},
		{"서하윤", norm.NFD.String("서하윤"), "서\u200B하윤", "\u3164서하윤"},
		{"たなか", "タナカ", "ﾀﾅｶ"}, {"がっぽ", "ガッポ", "ｶﾞｯﾎﾟ"}, {"すーざん", "スーザン"},
		{"αλεξης", "Αλέξης", "ΑΛΈΞΗΣ"}, {"петр", "Пётр", "ПЕТР"},
		{"محمد علي", "مُحَمَّد علی", "محمــد على"}, {"احمد", "أحمد"}, {"כהן", "כֹּהֵן"},
		{"jimin", "Ji-min", "Ji‐Min", "ji–min"}, {"obrien", "O'Brien", "O’Brien", "OʼBRIEN"}, {"dr jim jr", "Dr. Jim,Jr.", " dr \t jim\u00A0jr"},
		{"प्रिया", "प्रिया\u200D"}, {"iv", "Ⅳ"}, {"", ".", "-", "\u2800", "\x00", "\u200B"},
	} {
		want := fold(same[0])
		for _, s := range same[1:] {
			if got := fold(s); got != want {
				t.Errorf("%q: %q, want %q as of %q", s, got, want, same[0])
			}
		}
	}
	for _, other := range [][2]string{{"か", "が"}, {"은", "온"}, {"प्रिया", "परया"}, {"a", "b"}} {
		if fold(other[0]) == fold(other[1]) {
			t.Errorf("%q and %q are one", other[0], other[1])
		}
	}
}

func TestFoldIsStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		if once := fold(s); fold(once) != once {
			t.Fatalf("%q becomes %q, then %q", s, once, fold(once))
		}
	})
}

func TestWhatFindsAName(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		state := func(names ...Name) FHIRState {
			return FHIRState{FamilyName: names[0].Family, GivenName: names[0].Given, FullName: names[0].Text, OtherNames: names[1:]}
		}
		ctx := context.Background()
		add(t, s, testTime,
			NewPatient{Number: "cruz", State: state(Name{"de la Cruz", "María José", "María José de la Cruz"}, Name{Family: "Ibarra"})},
			NewPatient{Number: "seo", State: state(Name{"서", "하윤", "서하윤"}, Name{"Seo", "Ha-yun", ""})},
			NewPatient{Number: "tanaka", State: state(Name{"田中", "蓮", "田中蓮"}, Name{"Tanaka", "Ren", ""}, Name{"タナカ", "レン", ""})},
			NewPatient{Number: "muller", State: state(Name{"Müller", "Jörg", "Jörg Müller"})},
			NewPatient{Number: "brien", State: state(Name{"O'Brien", "Siobhán Mary-Kate", ""})},
			NewPatient{Number: "text", State: state(Name{Text: "Park Ji Min"})},
			NewPatient{Number: "mixed", State: state(Name{"이", "James", "James 이"})},
			NewPatient{Number: "lee", State: state(Name{"Lee", "Anna", "Prof. Dr. Anna Lee"})},
			NewPatient{Number: "none", State: state(Name{})})
		for asked, want := range map[string]string{
			"cruz maria": "cruz", "MARIA CRUZ": "cruz", "jose ibarra": "cruz", "delacruz": "cruz", "la jose": "cruz", "cruz, maria": "cruz", "de la cruz": "cruz",
			"서하윤": "seo", "하윤 서": "seo", "하윤서": "seo", "서 하": "seo", "윤": "seo", "hayun seo": "seo", "Seo Ha Yun": "seo", "ha-yun": "seo", "서 hayun": "seo",
			"田中蓮": "tanaka", "蓮　田中": "tanaka", "蓮": "tanaka", "ﾀﾅｶ": "tanaka", "たなか": "tanaka", "REN tanaka": "tanaka", "タナカレン": "tanaka", "蓮田": "tanaka",
			"mueller joerg": "muller", "muller": "muller", "Müller": "muller", "jörg": "muller",
			"obrien": "brien", "o'brien": "brien", "O’BRIEN siobhan": "brien", "mary kate": "brien", "marykate o brien": "brien",
			"jimin": "text", "ji-min park": "text", "min": "text", "이james": "mixed", "james 이": "mixed", "james이": "mixed", "prof lee": "lee",
			"tanakaren": "", "maria tanaka": "", "서김": "", "nnx": "", "eanna": "", ".": "", "-": "", "' '": "", "😀": "",
		} {
			page, err := s.Patients(ctx, PageRequest{Order: OrderNameAsc, First: 10, Filter: Filter{Name: asked}})
			if err != nil || strings.Join(ids(page), " ") != want {
				t.Errorf("%q finds %v, want %q (%v)", asked, page, want, err)
			}
			own, err := s.CountPatients(ctx, Filter{IDs: []string{"tanaka"}, Name: asked})
			if err != nil || (own == 1) != (want == "tanaka") {
				t.Errorf("%q finds %d in one record (%v)", asked, own, err)
			}
		}
	})
}

func TestWhatFindsANumber(t *testing.T) {
	t.Parallel()
	type search struct{ region, asked, want string }
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		for number, phones := range map[string][]string{
			"berg": {"+47 912 34 567", "22 86 40 00", "+47 922 22 333"}, "lund": {"0047 (55) 55 81 00"},
			"kim": {"010-2345-6789"}, "lee": {"+82 (0)10-9999-8888"}, "smith": {"(415) 555-0171 ext. 12", "1 212 555 0199"},
			"jones": {"+44 (0)20 7946 0958"}, "rossi": {"06 698 12345"}, "khan": {"٠٥٠ ١٢٣ ٤٥٦٧"}, "abroad": {"011 49 30 1234567"},
			"tel": {"tel:+1-650-253-0000"}, "ward": {"Ask the ward", "none"}, "odd": {"+999 1234567"}, "wide": {"０３－１２３４－５６７８"},
		} {
			add(t, s, testTime, NewPatient{Number: number, State: FHIRState{Phone: phones[0], OtherPhones: phones[1:]}})
		}
		for _, c := range []search{
			{"NO", "91234567", "berg"}, {"NO", "+47 22864000", "berg"}, {"NO", "22 86 40 00", "berg"}, {"NO", "55558100", "lund"}, {"NO", "004792222333", "berg"},
			{"", "91234567", ""}, {"", "4791234567", "berg"}, {"", "+4791234567", "berg"}, {"", "0047-912-34-567", "berg"}, {"", "+47 55558100", "lund"}, {"", "22864000", "berg"},
			{"KR", "001 82 10-2345-6789", "kim"}, {"KR", "00700-82-10-2345-6789", "kim"}, {"US", "011 47 91234567", "berg"}, {"AU", "0011 47 912 34 567", "berg"},
			{"KR", "+82 10-2345-6789", "kim"}, {"KR", "01023456789", "kim"}, {"KR", "82 10 2345 6789", "kim"}, {"KR", "010-9999-8888", "lee"}, {"", "+821099998888", "lee"},
			{"US", "415.555.0171", "smith"}, {"US", "+1 415 555 0171", "smith"}, {"US", "4155550171 x12", "smith"}, {"US", "4155550171 x13", ""}, {"US", "12125550199", "smith"},
			{"US", "+12125550199", "smith"}, {"US", "2125550199", "smith"}, {"US", "650 253 0000", "tel"}, {"US", "+49 30 1234567", "abroad"},
			{"GB", "020 7946 0958", "jones"}, {"GB", "2079460958", "jones"}, {"", "+442079460958", "jones"}, {"IT", "+39 06 698 12345", "rossi"},
			{"AE", "050 1234567", "khan"}, {"AE", "+971501234567", "khan"}, {"", "０５０1234567", "khan"}, {"JP", "+81 3-1234-5678", "wide"},
			{"", "ask  the WARD", "ward"}, {"NO", "None", "ward"}, {"", "+999 1234567", "odd"}, {"NO", "912", ""}, {"NO", "-", ""}, {"NO", "+", ""}, {"NO", "00", ""},
			{"NO", strings.Repeat("9", 1000), ""}, {"DE", "+47 91234567", "berg"}, {"DE", "91234567", ""},
		} {
			f := Filter{Phone: c.asked, PhoneRegion: c.region}
			page, err := s.Patients(ctx, PageRequest{Order: OrderNameAsc, First: 10, Filter: f})
			if err != nil || strings.Join(ids(page), " ") != c.want {
				t.Errorf("%+v finds %v (%v)", c, page, err)
			}
			f.IDs = []string{"berg"}
			if own, err := s.CountPatients(ctx, f); err != nil || (own == 1) != (c.want == "berg") {
				t.Errorf("%+v finds %d in one record (%v)", c, own, err)
			}
		}
	})
}

// A row that changes is found by what it has now, and by nothing that it had.
func TestTheKeysFollowTheRow(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		finds := func(when string, f Filter, want ...string) {
			t.Helper()
			page, err := s.Patients(ctx, PageRequest{Order: OrderNameAsc, First: 10, Filter: f})
			if err != nil || !slices.Equal(ids(page), want) {
				t.Errorf("%s: %+v finds %v, want %v (%v)", when, f, page, want, err)
			}
		}
		st := FHIRState{FamilyName: "Berg", Phone: "1111", OtherPhones: []string{"2222"}, OtherNames: []Name{{Family: "Lund"}}, FHIRUpdatedAt: testTime}
		add(t, s, testTime, NewPatient{Number: "A", FHIRID: "a", State: st}, NewPatient{Number: "B", State: st})
		if _, err := s.SetContact("B", ContactEdit{SetPhone: true, Phone: "3333"}, 0, testTime, ContactUpdate{ID: "op-b", Actor: "a", Digest: "d"}); err != nil {
			t.Fatal(err)
		}
		finds("changed here", Filter{Phone: "3333"}, "B")
		finds("changed here", Filter{Phone: "1111"}, "A")
		finds("changed here", Filter{Phone: "2222"}, "A", "B")
		if _, err := s.SetProfile("A", ProfileEdit{SetBloodType: true, BloodType: "A+"}, 0, testTime); err != nil {
			t.Fatal(err)
		}
		finds("profile", Filter{Phone: "2222"}, "A", "B")
		finds("profile", Filter{Name: "lund"}, "A", "B")

		begun, err := begin(s, "op-1", "A", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SendUpdate("op-1", "me", "A", "", "{}"); err != nil {
			t.Fatal(err)
		}
		st.Phone, st.OtherPhones = "4444", []string{"1111"}
		closed(t, s, usual("op-1", begun.Patient, st))
		finds("written", Filter{Phone: "4444"}, "A")
		finds("written", Filter{Phone: "1111"}, "A")
		finds("written", Filter{Phone: "2222"}, "B")

		st.FamilyName, st.OtherNames, st.Phone, st.OtherPhones, st.FHIRUpdatedAt = "Strand", []Name{{Family: "Berg"}}, "", nil, testTime.AddDate(1, 0, 0)
		if _, err := s.ImportPatients(ctx, []NewPatient{{FHIRID: "a", State: st}}, testTime); err != nil {
			t.Fatal(err)
		}
		finds("imported", Filter{Name: "strand berg"}, "A")
		finds("imported", Filter{Name: "lund"}, "B")
		finds("imported", Filter{Name: "lun"}, "B")
		finds("imported", Filter{Phone: "4444"})
		finds("imported", Filter{Phone: "1111"})
		for table, want := range map[string]int{"patient_phones WHERE patient_id = 'A'": 0, "patient_phones": 2, "patients WHERE search_key IS NULL": 0} {
			if n, err := s.number(ctx, "SELECT count(*) FROM "+table); err != nil || n != want {
				t.Errorf("%s: %d rows, want %d (%v)", table, n, want, err)
			}
		}
	})
}

// The longest keys fit into the indexes: PostgreSQL refuses more, unless it can
// compress them.
func TestTheLongestKeysFit(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		random := rand.New(rand.NewPCG(1, 2))
		text := func(n int) string {
			runes := make([]rune, n)
			for i := range runes {
				runes[i] = 0x20000 + random.Int32N(40_000) // Han of four bytes
			}
			return string(runes)
		}
		for range 20 {
			st := FHIRState{FamilyName: text(500), GivenName: text(500), FullName: text(500), BirthDate: text(99), Gender: text(99), Phone: text(500)}
			for range 80 {
				st.OtherNames = append(st.OtherNames, Name{Family: text(1 + random.IntN(5))})
			}
			id := add(t, s, testTime, NewPatient{Number: text(64), State: st})[0]
			p, err := s.Patient(context.Background(), id)
			if err != nil || len(p.keys.search) < maxSearchKey-30 || len(p.keys.search) > maxSearchKey {
				t.Errorf("a key of %d bytes, %v", len(p.keys.search), err)
			}
		}
	})
}

// However many names and numbers a patient has, the row is kept, and the first of
// them are searched.
func TestHugeNamesAndNumbers(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		st := FHIRState{FamilyName: strings.Repeat("😀", 5000), GivenName: strings.Repeat("\u0390", 5000), BirthDate: strings.Repeat("9", 99), Gender: strings.Repeat("😀", 99)}
		for n := range 2_000 {
			st.OtherNames = append(st.OtherNames, Name{Family: "Name" + strings.Repeat("😀", n%300)})
			st.OtherPhones = append(st.OtherPhones, strings.Repeat("7", 1+n%500))
		}
		add(t, s, testTime, NewPatient{Number: strings.Repeat("😀", 64), State: st})
		for _, f := range []Filter{{Name: "name"}, {Name: "😀"}, {Phone: "777"}} {
			if n, err := s.CountPatients(context.Background(), f); err != nil || n != 1 {
				t.Errorf("%+v finds %d, %v", f, n, err)
			}
		}
	})
}
