package fhir

import "testing"

func TestCompose(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]Address{
		"12 Main St, Apt 4, Springfield, MA 01101, US":          {Lines: []string{"12 Main St", "Apt 4"}, City: "Springfield", District: "Hampden County", State: "MA", PostalCode: "01101", Country: "US"},
		"1 Oak St, New Orleans, Louisiana":                      {Lines: []string{"1 Oak St"}, City: "New Orleans", District: "Orleans Parish", State: "Louisiana"},
		"1 High St, Kent, Dover, CT16 1AA, UK":                  {Lines: []string{"1 High St"}, City: "Dover", District: "Kent", PostalCode: "CT16 1AA", Country: "UK"},
		"서울특별시 강남구 테헤란로 152 ABC타워 7층 06236":                     {Lines: []string{"테헤란로 152", "ABC타워 7층"}, District: "강남구", City: "서울특별시", State: "서울특별시", PostalCode: "06236", Country: "KR"},
		"대한민국 경기도 성남시 분당구 판교로 1":                                {Lines: []string{"판교로 1"}, District: "분당구", City: "성남시", State: "경기도", Country: "대한민국"},
		"100020 北京市朝阳区建国路 88号":                                  {Lines: []string{"建国路", "88号"}, District: "朝阳区", City: "北京市", PostalCode: "100020", Country: "CHN"},
		"長野県北佐久郡軽井沢町長倉 1":                                       {Lines: []string{"長倉 1"}, District: "北佐久郡", City: "軽井沢町", State: "長野県"},
		"札幌市北区北7条西4丁目 サッポロタワー3階":                                {Lines: []string{"北7条西4丁目", "サッポロタワー3階"}, District: "北区", City: "札幌市"},
		"106-6108 東京都港区六本木6-10-1 Roppongi Hills Mori Tower 42F": {Lines: []string{"六本木6-10-1", "Roppongi Hills Mori Tower 42F"}, City: "港区", State: "東京都", PostalCode: "106-6108"},
		"서울특별시 강남구 테헤란로 152 Gangnam Finance Center 20F":         {Lines: []string{"테헤란로 152", "Gangnam Finance Center 20F"}, District: "강남구", City: "서울특별시", Country: "KR"},
		"Königstr. 1, Stuttgart-Mitte, Stuttgart, BW 70173":     {Lines: []string{"Königstr. 1"}, City: "Stuttgart", District: "Stuttgart-Mitte", State: "BW", PostalCode: "70173"},
		"1 Pine St, Seattle, WA 98101":                          {Lines: []string{"1 Pine St"}, City: "Seattle", District: "King", State: "WA", PostalCode: "98101"},
		"Harbour View 8, Hong Kong 香港":                          {Lines: []string{"Harbour View 8"}, City: "Hong Kong 香港"},
	} {
		if got := a.Compose(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
