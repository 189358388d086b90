package main

import "encoding/json"

// What is asked.
const (
	onePatient = "one patient"
	onePage    = "page of 50"
	pageSize   = 50
)

// cases are what is asked, in the order of the table.
var cases = []string{onePatient, onePage}

// question is how a server is asked one of the cases: the path, the body around the value
// that differs, and how each good answer begins.
type question struct {
	Path, Before, After, Begins string
	Echoes                      bool // a good answer has the value too
}

// questions are how a kind of server is asked.
type questions map[string]question

// The answers of all servers look alike, but for the cursors.
const (
	patientBegins = `{"data":{"patient":{"id":"`
	pageBegins    = `{"data":{"patients":{"nodes":[{"id":"`
)

// graphQL makes questions of documents that are asked with a variable.
func graphQL(patient, page string) questions {
	body := func(document, variable string) string {
		text, _ := json.Marshal(document) // strings always encode
		return `{"query":` + string(text) + `,"variables":{"` + variable + `":`
	}
	return questions{
		onePatient: {"/graphql", body(patient, "id"), "}}", patientBegins, true},
		onePage:    {"/graphql", body(page, "after"), "}}", pageBegins, false},
	}
}

var (
	ofPatientGraph = graphQL(
		`query($id: ID!) { patient(id: $id) { id fullName birthDate phone email } }`,
		`query($after: String) { patients(first: 50, after: $after) { nodes { id fullName birthDate phone email } pageInfo { hasNextPage endCursor } } }`)
	ofPostGraphile = graphQL(
		`query($id: String!) { patient: patientByRowId(rowId: $id) { id: rowId fullName birthDate phone email } }`,
		`query($after: Cursor) { patients: allPatients(first: 50, after: $after, orderBy: [CREATED_AT_DESC, ROW_ID_DESC]) { nodes { id: rowId fullName birthDate phone email } pageInfo { hasNextPage endCursor } } }`)
	ofByHand = questions{
		onePatient: {"/patient", `{"id":`, `}`, patientBegins, true},
		onePage:    {"/patients", `{"after":`, `}`, pageBegins, false},
	}
	ofHello = questions{
		onePatient: {"/patient", `{"id":`, `}`, patientBegins, false},
		onePage:    {"/patients", `{"after":`, `}`, pageBegins, false},
	}
)

// answer is what every server answers.
type answer struct {
	Data struct {
		Patient  *patient `json:"patient,omitempty"`
		Patients *page    `json:"patients,omitempty"`
	} `json:"data"`
}

type page struct {
	Nodes    []patient `json:"nodes"`
	PageInfo struct {
		HasNextPage bool    `json:"hasNextPage"`
		EndCursor   *string `json:"endCursor"`
	} `json:"pageInfo"`
}
