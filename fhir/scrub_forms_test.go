package fhir

import (
	"strings"
	"testing"
	"unicode"
)

// TestScrubHidesValuesInOtherForms: names in any order, inflected, glued, abbreviated and
// in the spelling of another keyboard; dates as people write them in many languages;
// numbers in other groups; parts of addresses.
func TestScrubHidesValuesInOtherForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ resource, reason, secrets string }{
		{`{"name":[{"family":"Иванова","given":["Анна","Сергеевна"]},{"use":"maiden","family":"Кузнецова"}],"birthDate":"1938-04-17","telecom":[{"system":"phone","value":"+7 912 345-67-89"}],"address":[{"line":["ул. Ленина, д. 5, кв. 12"],"city":"Екатеринбург","postalCode":"620014"}]}`,
			"Пациентка Ивановой Анне Сергеевне (17 апреля 1938 г.р.), телефон 8 (912) 345 67 89, проживает в Екатеринбурге, Ленина 5-12, 620 014, урожд. Кузнецовой", "Иванов Анн Сергеев апреля 17 1938 912 345 67 89 Екатеринб Ленин 620 014 Кузнецов"},
		{`{"name":[{"family":"Kowalska","given":["Zofia"]}],"birthDate":"1951-09-03","telecom":[{"system":"phone","value":"601 234 567"}],"address":[{"line":["ul. Długa 7"],"city":"Kraków"}]}`,
			"Pacjentka Zofii Kowalskiej ur. 3 września 1951 (3.IX.1951), tel. 60-12-34-567, w Krakowie przy Długiej 7", "Zofii Kowalsk wrze 1951 IX 60-12 567 Krak Długiej"},
		{`{"name":[{"family":"Nguyễn","given":["Thị","Mai"]}],"birthDate":"1962-11-08","address":[{"line":["12 Lê Lợi"],"city":"Huế"}]}`,
			"bệnh nhân Mai Nguyen Thi sinh ngày 8 tháng 11 năm 1962 tại 12 Le Loi, Hue; NGUYỄN THỊ MAI", "Nguyen Thi 8 11 1962 Loi Hue"},
		{`{"name":[{"family":"山田","given":["花子"]},{"family":"ヤマダ","given":["ハナコ"]}],"birthDate":"1938-04-17","telecom":[{"system":"phone","value":"03-1234-5678"}],"address":[{"line":["神宮前1丁目2-3"],"city":"渋谷区","postalCode":"150-0001"}]}`,
			"花子山田様 昭和13年4月17日生 (ﾔﾏﾀﾞ ﾊﾅｺ) 電話０３（１２３４）５６７８ 〒1500001 渋谷 神宮前一丁目", "花子 山田 13年 4月 17 ﾔﾏﾀﾞ ﾊﾅｺ １２３４ ５６７８ 1500001 渋谷 神宮前"},
		{`{"name":[{"family":"홍","given":["길동"]}],"birthDate":"1990-05-03","telecom":[{"system":"phone","value":"010-1111-2222"}],"address":[{"line":["테헤란로 152"],"city":"서울특별시","district":"강남구"}]}`,
			"길동 홍님(90년 5월 3일생, 900503-1234567)의 번호 010.1111.2222(+82 10 1111 2222)이 서울 강남 테헤란로152에", "길동 홍 90년 5월 3일 900503 1111 2222 서울 강남 테헤란"},
		{`{"name":[{"family":"García Lorca","given":["José","María"]}],"birthDate":"1944-02-29","contact":[{"name":{"family":"Quiñones","given":["Begoña"]},"telecom":[{"system":"phone","value":"600 11 22 33"}],"address":{"line":["Calle Mayor 3"],"city":"Ávila"}}]}`,
			"Lorca, J. M.; José Mª; G. Lorca; contacto Begona Quinones 600-112-233, C/ Mayor 3 - AVILA; nacido el 29 de febrero de 1944; 29feb44; 1944-060", "Lorca José Begona Quinones 600 112 Mayor AVILA 29 febrero 1944 29feb44"},
		{`{"name":[{"family":"Aune","given":["Solveig"]}],"birthDate":"1938-04-17","telecom":[{"system":"phone","value":"73 55 01 02"}],"address":[{"line":["Fjordgata 8"],"city":"Trondheim","postalCode":"7010"}]}`,
			"Patient Aune,Solveig DOB=17APR1938 dob:38-04-17 born on the 17th of April, 1938; Sunday 17.4.; tel:+4773550102; 7355-0102; 735 50 102; Fjordgt 8; Fjordgaten 8; 8, Fjordgata", "Aune Solveig 17APR 38-04 17th April 17.4 7355 735 Fjordg"},
		{`{"name":[{"family":"Kim","given":["Min-su"]}],"birthDate":"2001-12-25","telecom":[{"system":"phone","value":"+82-10-9999-8888"}]}`,
			"Minsu KIM / Min Su Kim / KimMinSu / kim.minsu / M. Kim / Kim M.S.; 25 Aralık 2001; 25. joulukuuta 2001; 25 декабря 2001; 25 grudnia 2001; 25. prosince 2001; 25 декабря; ๒๕ ธันวาคม ๒๕๔๔; 2544", "Minsu KIM Kim kim Su Aralık joulukuuta декабря grudnia prosince ๒๕"},
		{`{"name":[{"family":"O'Connor","given":["Siobhán"]}],"birthDate":"1970-07-04","telecom":[{"system":"email","value":"siobhan.oconnor@mail.example.ie"}]}`,
			"OConnor O Connor O’Connor o-connor Siobhan siobhan[at]mail.example.ie siobhan.oconnor at mail dot example dot ie; July 4th; 4th July; 4 Jul '70; 07/04/70", "Connor Siobhan siobhan mail.example July Jul 07/04"},
		{`{"name":[{"family":"بن علي","given":["فاطمة"]}],"birthDate":"1980-01-02","telecom":[{"system":"phone","value":"٠٥٠ ١٢٣ ٤٥٦٧"}],"address":[{"city":"الرياض"}]}`,
			"المريضة فاطمة بنت علي، وفاطمه بن على، مواليد ٢ يناير ١٩٨٠ هاتف 0501234567 في الرياض والرياض", "فاطم يناير ٢ 0501 رياض"},
		{`{"name":[{"family":"Παπαδόπουλος","given":["Γιώργος"]}],"birthDate":"1955-03-25"}`,
			"του Γιώργου Παπαδόπουλου, γεν. 25 Μαρτίου 1955, ΠΑΠΑΔΟΠΟΥΛΟΣ ΓΙΩΡΓΟΣ", "Γιώργου Παπαδόπ Μαρτίου 25 ΠΑΠΑΔ ΓΙΩΡ"},
		{`{"name":[{"family":"Virtanen","given":["Aino"]}],"birthDate":"1949-06-21","address":[{"line":["Mannerheimintie 4"],"city":"Turku"}]}`,
			"Ainon Virtasen, s. 21.6.1949 eli 21. kesäkuuta 1949, osoite Mannerheimintiellä 4 Turussa", "Ainon Virta 21 kesäkuuta 1949 Manner"},
		{`{"name":[{"family":"Li","given":["Wei"]}],"birthDate":"1960-10-10","address":[{"line":["Nanjing Lu 1"],"city":"Shanghai"}]}`,
			"Wei Li; LiWei; Li_Wei; wei.li; liwei1960; LI,WEI", "Wei Li liwei LI"},
		{`{"address":[{"postalCode":"NW1 9EA"}]}`, "postcode NW19EA, nw19ea, NW1-9EA", "NW nw 19 EA ea"},
		{`{"address":[{"postalCode":"D02 X285"},{"postalCode":"00-549"},{"postalCode":"SW1A 2AA"}],"identifier":[{"value":"QQ 12 34 56 C"}]}`, "D02X285; 00549; SW1A2AA; QQ123456C", "D02 X285 00549 SW AA QQ 6C"},
		{`{"birthDate":"1990-05-15"}`, "15 Bealtaine 1990; Bealtaine 15, 1990; 1990 Bealtaine 15; 90년 5월 15일", "15 Bealtaine 1990 90"},
		{`{"name":[{"family":"May","given":["Will"]}],"birthDate":"1960-10-10"}`, "Patient Will May may not be updated", "Will May"},
		{`{"name":[{"family":"Иванова","given":["Анна"]}],"birthDate":"1938-04-17"}`, "b. 17 April; Пациент А. Иванова; ИВАНОВА А.С.", "17 April Иван ИВАН"},
		{`{"name":[{"family":"홍","given":["길동"]}]}`, "길동씨; 홍씨; 홍 환자", "길동 홍"},
		{`{"name":[{"family":"Müller","given":["Jürgen"]}],"birthDate":"1971-03-01","telecom":[{"system":"phone","value":"0171 2345678"}],"address":[{"line":["Königstraße 12b"],"city":"Köln","postalCode":"50667"}]}`,
			"Herr Muellers Juergen (*1.3.71, 01. März 1971) Tel. +49 171 23 45 678 / 0171/234-5678 / 171 2345 678, Koenigstr. 12 b, D-50667 Koeln, Königstr.12b", "Mueller Juergen 1.3 März 171 234 345 Koenigstr Königstr 50667 Koeln"},
		{`{"name":[{"family":"Smith","given":["John","Q"]}],"birthDate":"1980-12-24","telecom":[{"system":"phone","value":"(212) 555-0143"}],"address":[{"line":["221B Baker Street","Apt. 4"],"city":"New York","state":"NY","postalCode":"10001-1234"}]}`,
			"Smith, John Q. DOB 12-24-80 / 24Dec1980 / Dec. 24th, 1980 / 19801224 / 1980/12/24 / 12241980, 212.555.0143 / 1 212 555 0143 / 5550143 / x0143, 221-B Baker St, New York NY 10001", "Smith John 12-24 24Dec Dec 24th 19801224 12241980 555 0143 221 Baker York NY 10001"},
		{`{"contact":[{"name":{"family":"Haugen","given":["Ragnhild"]},"telecom":[{"system":"phone","value":"22 86 00 11"}]}],"name":[{"family":"Aune","given":["Bo"]}]}`,
			"contact[0]: Ragnhild Haugen (mother of Bo), tlf 2286 0011; B. Aune; R. Haugens", "Ragnhild Haugen 2286 Bo Aune"},
		{`{"identifier":[{"system":"urn:x","value":"19380417-12345"}],"name":[{"family":"Berg"}]}`, "fnr 170438 12345, 193804 1712345, 1938041712345, ID:19380417/12345; Bergs", "12345 1938 Berg"},
		{`{"name":[{"text":"Dr. Anne-Marie de la Cruz"}],"birthDate":"1966"}`, "de la Cruz A-M; AnneMarie; Annemarie; anne.marie", "Cruz Anne anne Marie"},
		{`{"name":[{"family":"Ó Briain","given":["Seán"]}],"birthDate":"1990-01-31"}`, "O Briain S; OBriain; Ui Bhriain Sean; 31ú Eanáir 1990; 31-I-1990; 31/1; 1/31", "Briain Sean 31-I 31/1 1/31"},
		{`{"name":[{"family":"王","given":["小明"]},{"family":"Wang","given":["Xiaoming"]}],"birthDate":"1985-08-15","address":[{"text":"北京市朝阳区建国路88号","city":"北京市","district":"朝阳区","line":["建国路88号"]}]}`, "王小明（1985年08月15日生）住北京朝阳建国路88号; Xiao-ming Wang; XM Wang; 小明王", "王 小明 1985 08月 15日 北京 朝阳 建国 88号 Xiao Wang"},
		{`{"name":[{"family":"Yılmaz","given":["Ayşe"]}],"birthDate":"1975-11-02","address":[{"city":"İstanbul","line":["Atatürk Cad. 5"]}]}`, "Ayşe'nin Yılmaz'ın YILMAZ AYSE ISTANBUL'da Atatürk Caddesi 5, 2 Kasım 1975", "Ay Y ılmaz YILMAZ AYSE ISTANBUL Atat Kasım 1975"},
		{`{"name":[{"family":"שרון","given":["דוד"]}],"birthDate":"1958-05-14"}`, "דוד שרון נולד ב-14 במאי 1958", "דוד שרון 14 במאי"},
		{`{"name":[{"family":"Sharma","given":["Priya"]}],"birthDate":"1958-05-14","telecom":[{"system":"phone","value":"+91 98765 43210"}]}`, "Priyaben Sharmaji 9876543210 98-76-54-32-10 (98765)43210 0 98765 43210, 14 मई 1958, 14 May 1958, may 14", "Priya Sharma 98 765 43210 मई May"},
		{`{"name":[{"family":"Field","given":["Grace"]}],"birthDate":"1958-05-14"}`, "Grace Field: field telecom invalid", "Grace Field"},
		{`{"name":[{"family":"Aune","given":["Solveig"]}],"extension":[{"url":"http://x/mothersMaidenName","valueString":"Ødegård"}],"generalPractitioner":[{"display":"Dr. Kåre Moe"}],"maritalStatus":{"text":"Enke etter Leif"}}`, "mother's maiden name Odegaard / ØDEGÅRD / Oedegaard; GP Moe, Kaare; widow of Leif", "Odegaard ØDEG Oedegaard Moe Kaare Leif"},
		{`{"name":[{"family":"Aune","given":["Solveig"]}],"birthDate":"1938-04-17","telecom":[{"system":"phone","value":"73 55 01 02"}]}`,
			"SAune, Aune^Solveig, FHIRSolveig, AUNE/SOLVEIG; 7 3 5 5 0 1 0 2, [73][55][01][02], 0047 73550102; 17/IV/38, Apr-17-1938, 1938年4月17日, 38/4/17, ๑๗ เมษายน ๒๔๘๑, S13.4.17", "Aune Solveig AUNE 55 0102 17 IV Apr 1938 เมษายน S13.4"},
		{`{"birthDate":"1970-03-01"}`, "born on the 1st of March; birthday 1st of March '70; 1 of March 70; March the 1st, '70; el día 1 de marzo de 70; 1º de março de 70; le 1er mars 70; l'1 de març; primo: 1 di marzo; den 1:a mars; den 1. marts -70; am 1ten März; 1-го марта 70; 1 tháng 3 năm 70; '70, 1st of March; op 1 maart; de 1ste van maart; 1-én március; 1 Maret 70; the 1st day of March", "March marzo março mars març marts März марта tháng maart március Maret 1 70"},
		{`{"birthDate":"1968-06-23"}`, "nacida el 23 de junio; 23 de junio de 68; 23 de xuño... 23 de junho do 68; 23 juin; junio 23; 23 giugno '68; il 23 di giugno; 23rd of June, 68", "junio junho juin giugno June 68"},
		{`{"birthDate":"1966-08-21"}`, "21 di agosto; 21ste augustus; 21 de agosto de 66; 21. august '66; 21 Ogos", "agosto augustus august Ogos 21 66"},
		{`{"birthDate":"1975-11-30"}`, "30 tháng 11 năm 75; ngày 30 tháng 11; 30 tháng 11", "30 11 75"},
		{`{"name":[{"family":"Müller","given":["Jürgen"]}],"address":[{"city":"Köln","line":["Königstraße 12"]}]}`,
			"MÃ¼ller, JÃ¼rgen, KÃ¶ln; M?ller J?rgen K?ln K?nigstra?e; M\uFFFDller M��ller; Mller Jrgen; MÃƒÂ¼ller; M_ller; MÃ¼llers", "ller rgen ln nigstra"},
		{`{"name":[{"family":"Piękna","given":["Łucja"]}],"address":[{"city":"Gdańsk"}]}`, "PiÄ™kna, Å\u0081ucja, GdaÅ„sk; Pi?kna ?ucja Gda?sk; Pikna", "kna ucja sk"},
		{`{"name":[{"family":"홍","given":["길동"]}]}`, "í\u0099\u008dê¸¸ë\u008f\u0099 is unknown", "í ê"},
		{`{"name":[{"family":"Mäkinen"},{"family":"Halonen"},{"family":"Ahonen"},{"family":"Rinne"},{"family":"Aalto"}],"address":[{"city":"Rovaniemi"}]}`,
			"Mäkisen Mäkistä Halosen Ahosen Ahosella Rinteen Aallon Aallolle Rovaniemellä Rovaniemessä Rovaniemeltä", "Mäki Halos Ahos Rint Aal Rovan"},
		{`{"name":[{"family":"Berg"}],"address":[{"city":"Helsinki"},{"city":"Turku"},{"city":"Lahti"},{"city":"Virta"},{"city":"Tampere"}]}`,
			"Helsingistä Helsingissä Helsinkiin Turussa Turkuun Lahdessa Virran Tampereella", "Helsin Tur Lahd Virr Tamper"},
		{`{"birthDate":"1957-03-08"}`, "month=3, day=8; {\"day\":8,\"month\":3}; Calendar[YEAR=1957,MONTH=2,DAY_OF_MONTH=8]; dd=08, mm=03, yyyy=1957", "3 8 MONTH=2 1957"},
		{`{"birthDate":"1957-03-08"}`, "Thu Mar 07 23:00:00 UTC 1957; 一九五七年三月八日; 昭和三十二年三月八日; 1957年三月八日; 삼월 팔일; 3월달 8일", "Mar 07 1957 三月 八日 삼월 팔일 3월 8일"},
		{`{"birthDate":"2000-10-21"}`, "十月二十一日; 시월 이십일일; Oct 20 or Oct 22", "月 日 시월 이십 Oct 20 22"},
	} {
		got := SecretsOf([]byte(c.resource)).Text(c.reason, "value")
		for secret := range strings.FieldsSeq(c.secrets) {
			if strings.Contains(got, secret) {
				t.Errorf("%q is left in %q", secret, got)
			}
		}
	}
}

// TestScrubHidesBirthDatesInWords: day and month are the birth date without any year, and
// whatever joins them; so are the month and two digits of the year. What only counts stays.
func TestScrubHidesBirthDatesInWords(t *testing.T) {
	t.Parallel()
	for birth, texts := range map[string][]string{
		"1970-03-01": {
			"1st of March", "1st of March '70", "1 of March 70", "1st March", "March 1st", "March the 1st", "March, on the 1st", "1st day of the month of March", "first of March '70",
			"1 March, in the year 70", "1 March of the year '70", "March of '70", "March '70", "70 March the 1st", "day 1 of month 3", "month 3, day 1, year 70",
			"1 de marzo del 70", "día 1 del mes de marzo", "primero de marzo", "1º de março de 70", "primeiro de março", "1° marzo del 70", "1er mars", "1er du mois de mars", "premier mars",
			"1e maart", "1ste van maart", "1:a mars 70", "1. des Monats März", "1ten März", "maaliskuun 1. päivänä 70", "1-го марта 70", "1 числа марта", "1-go marca", "1 dne března", "1.března roku 70",
			"1 martie anul 70", "1η Μαρτίου 70", "1 του Μαρτίου", "1’inci Mart", "Mart'ın 1", "március 1-jén", "1 de març", "1 ng Marso", "1 bulan Maret tahun 70",
			"1 tháng 3", "tháng 3 năm 70", "ngày 1 của tháng 3 năm 70", "1 की मार्च", "1 เดือนมีนาคม", "1 من مارس 70", "1 من شهر مارس", "1 במרץ 70", "1 ב מרץ",
		},
		"1968-06-23": {"23 de junio de 68", "23 de junho do 68", "23 di giugno", "23 du mois de juin", "23sten Juni", "23-го июня", "kesäkuun 23", "haziran ayının 23"},
		"1966-08-21": {"21 di agosto", "21ste augustus", "21 de agosto de 66"},
		"1975-11-30": {"30 tháng 11 năm 75", "30 tháng 11", "tháng 11 ngày 30", "30 del mes 11 del 75"},
		"2001-10-09": {"9 de octubre del 01", "October the 9th, 2001", "9-го октября 01"},
	} {
		s := SecretsOf(patientJSON("p", `"birthDate":`+quote(birth)))
		for _, text := range texts {
			got := s.Text("value "+text+" is bad", "value")
			rest := strings.TrimSuffix(strings.TrimPrefix(got, "value "), " is bad")
			for word := range strings.FieldsSeq(rest) { // an article or the like before it may stay, no ending of it
				alone := !strings.Contains(word, hidden) && (withinDates[foldWord(word)] || monthMarks[foldWord(word)])
				if strings.ContainsFunc(word, isWord) && !alone {
					t.Errorf("born %s, %q: %q", birth, text, got)
				}
			}
		}
		day, rest, _ := strings.Cut(texts[0], " ")
		for _, cut := range []string{day, day + " " + strings.Fields(rest)[0]} { // as tidy cuts
			if got := s.Text("not valid "+cut+hidden, "value"); strings.ContainsFunc(got, unicode.IsDigit) {
				t.Errorf("born %s, %q: %q", birth, cut, got)
			}
		}
	}
	s := SecretsOf(patientJSON("p", `"birthDate":"1970-03-01"`))
	for _, text := range []string{
		"1 of 3 may be given", "at most 1 in 3", "the first of 3 entries", "line 1, column 3", "value 70 of 1", "in March", "Rule 3.1 of part 1", "1 to 3 of 70", "1 of January '70", "3 of the 1",
	} {
		if got := s.Text(text, "value"); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestScrubHidesDamagedNames: letters beyond ASCII that were read in another charset,
// replaced or left out. Shorter pieces of a name are any words.
func TestScrubHidesDamagedNames(t *testing.T) {
	t.Parallel()
	s := SecretsOf(patientJSON("p", `"birthDate":"1970-03-01","name":[{"family":"Müller","given":["Jürgen","Zoë","Åse"]},{"family":"Ødegård"},{"family":"Nguyễn"},{"family":"García","given":["José"]},
		{"family":"Piękna"},{"family":"Gąsiorowská"},{"family":"Иванова"},{"family":"Παπαδόπουλος"},{"family":"山田","given":["花子"]},{"family":"홍","given":["길동"]}],
		"address":[{"city":"Köln","line":["Königstraße 12b"]}],"text":{"div":"<div>Téléphone? Größte</div>"}`))
	for _, damaged := range []string{
		"MÃ¼ller", "MÃƒÂ¼ller", "MÃƒÆ’Ã‚Â¼ller", "MĂĽller", "MГјller", "M├╝ller", "M√ºller", "M³ller", "Mьller", "Mⁿller", "M¸ller", "MÃ?ller",
		"M?ller", "M??ller", "M\uFFFDller", "M\uFFFD\uFFFDller", "M%3Fller", "M%EF%BF%BDller", "M¿ller", "M*ller", "M_ller", "M ller", "Mu?ller", "Mu¨ller",
		"M?llers", "FHIRM?ller", "getM?llerName", "Mller", "Mllers", "J?rgen", "Jrgen", "K?ln", "KÃ¶ln", "K?lner", "K?nigstra?e", "K?nigstr.", "Knigstrae",
		"Zo?", "ZoÃ«", "?se", "Ã…se", "?deg?rd", "Ã˜degÃ¥rd", "degrd", "Nguy?n", "Nguy??n", "Nguyá»…n", "Garc?a", "GarcÃ\u00ADa", "GarcÃa", "Garca", "Jos?",
		"PiÄ™kna", "Pi?kna", "G?siorowská", "G?siorowsk?", "GÄ…siorowskÃ¡", "Gr??te",
		"Ð˜Ð²Ð°Ð½Ð¾Ð²Ð°", "Р\u0098РІР°РЅРѕРІР°", "Î Î±Ï€Î±Î´ÏŒÏ€Î¿Ï…Î»Î¿Ï‚", "å±±ç”°", "ê¸¸ë\u008f™",
	} {
		got := strings.ReplaceAll(s.Text("value "+damaged+" bad", "value"), "str.", "")
		if rest := strings.Trim(strings.TrimPrefix(got, "value"), "?. "); rest != "… bad" && rest != "…. bad" {
			t.Errorf("%q: %q", damaged, got)
		}
	}
	for _, text := range []string{
		"Téléphone invalide : format attendu", "Is it valid?", "see http://x?se=1 and idx_se", "kl n or n_l", "a?b_c*d", "Größe, öffentlich: „die“ …se", "M l, lle r",
	} {
		if got := s.Text(text, "value"); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// TestScrubHidesFinnishForms: the consonants before the last vowel change with the ending.
func TestScrubHidesFinnishForms(t *testing.T) {
	t.Parallel()
	for name, forms := range map[string]string{
		"Helsinki": "Helsingistä Helsingissä Helsinkiin Helsingiltä", "Lappeenranta": "Lappeenrannassa", "Lampi": "Lammella Lammen", "Pekka": "Pekan Pekalla", "Jukka": "Jukalle",
		"Antti": "Antin Antilla", "Lahti": "Lahdessa Lahden", "Virta": "Virran", "Valta": "Vallan", "Turku": "Turun Turussa", "Seppä": "Sepän Sepälle",
	} {
		s := SecretsOf(patientJSON("p", `"address":[{"city":`+quote(name)+`}]`))
		for form := range strings.FieldsSeq(forms) {
			if got := s.Text(form+" is bad", "value"); got != "… is bad" {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}
