package main

import (
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
)

// numberSystem is the identifier.system of the patients' numbers.
const numberSystem = "urn:patientgraph:benchmark"

// patient is what the servers are asked for; nil: there is none.
type patient struct {
	ID        string  `json:"id"`
	FullName  *string `json:"fullName"`
	BirthDate *string `json:"birthDate"`
	Phone     *string `json:"phone"`
	Email     *string `json:"email"`
}

// person is what a synthetic patient is made of.
type person struct {
	patient
	family, given, gender, city string
}

var (
	families = []string{"김", "이", "박", "최", "정", "Chalmers", "Windsor", "Nguyen", "Öztürk", "de la Cruz", "Kowalska", "O'Neill"}
	givens   = []string{"민준", "서연", "지우", "도윤", "하은", "Jim", "Amélie", "Linh", "Can", "Inés", "Zofia", "Siobhán"}
	cities   = []string{"Seoul", "Busan", "Incheon", "Daegu", "Daejeon"}
)

// people makes always the same patients. One in eight has no email address.
func people(total int) iter.Seq[person] {
	return func(yield func(person) bool) {
		random := rand.New(rand.NewPCG(16, 64))
		for n := 1; n <= total; n++ {
			p := person{
				family: families[random.IntN(len(families))], given: fmt.Sprint(givens[random.IntN(len(givens))], n),
				gender: []string{"female", "male"}[random.IntN(2)], city: cities[random.IntN(len(cities))],
			}
			full := p.given + " " + p.family
			born := fmt.Sprintf("%d-%02d-%02d", 1930+random.IntN(95), 1+random.IntN(12), 1+random.IntN(28))
			phone, email := fmt.Sprintf("010-%04d-%04d", random.IntN(10_000), random.IntN(10_000)), fmt.Sprintf("patient%d@example.org", n)
			p.patient = patient{ID: fmt.Sprintf("P-2025-%06d", n), FullName: &full, BirthDate: &born, Phone: &phone}
			if random.IntN(8) > 0 {
				p.Email = &email
			}
			if !yield(p) {
				return
			}
		}
	}
}

// writePatients writes FHIR Patients, one a line.
func writePatients(w io.Writer, total int) error {
	for p := range people(total) {
		email := ""
		if p.Email != nil {
			email = fmt.Sprintf(`,{"system":"email","value":%q}`, *p.Email)
		}
		if _, err := fmt.Fprintf(w, `{"resourceType":"Patient","id":"f-%s","meta":{"versionId":"1","lastUpdated":"2026-01-02T03:04:05Z"},`+
			`"identifier":[{"system":%q,"value":%q}],"name":[{"use":"official","text":%q,"family":%q,"given":[%q]}],`+
			`"telecom":[{"system":"phone","value":%q,"use":"mobile"}%s],"gender":%q,"birthDate":%q,"address":[{"use":"home","line":["1 Main St"],"city":%q,"country":"KR"}]}`+"\n",
			p.ID, numberSystem, p.ID, *p.FullName, p.family, p.given, *p.Phone, email, p.gender, *p.BirthDate, p.city); err != nil {
			return err
		}
	}
	return nil
}
