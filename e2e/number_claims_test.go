package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
)

// Numbers that are exchanged between the files of one command end right, and nothing
// is reported as refused that ends right; what is refused is reported with its file.
func TestNumbersAreSettledOnceACommand(t *testing.T) {
	t.Parallel()
	const before, after = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
	one := func(id, updated, number string) string {
		return numbered(id, updated, "1", "usual "+numberSystem+" "+number)
	}
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		command := func(files ...[]string) (string, error) {
			var names []string
			for _, lines := range files {
				names = append(names, fileOf(t, lines))
			}
			return importWith(t, databaseURL, names, "PATIENT_ID_SYSTEM="+numberSystem)
		}
		var first []string
		for i := range 5 {
			first = append(first, one(fmt.Sprint("p-", i), before, fmt.Sprint("N-", i)))
		}
		if said, err := command(first); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		// A ring over three files, a chain over two, and a new patient with a number
		// that a later file frees. A file that cannot be read keeps none from it.
		said, err := command([]string{one("p-0", after, "N-1"), one("new", after, "N-3")}, []string{one("p-1", after, "N-2")}, []string{one("p-2", after, "N-0"), one("p-3", after, "N-4")}, []string{one("p-4", after, "N-9")})
		if err != nil || strings.Contains(said, "refused") || !strings.Contains(said, "1 new, 5 updated, 0 kept as they were, 0 bad lines") {
			t.Errorf("%v\n%s", err, said)
		}
		p := StartWith(t, nobody, databaseURL)
		wantFound(p, map[string]string{"N-0": "p-2 N-0", "N-1": "p-0 N-1", "N-2": "p-1 N-2", "N-3": "new N-3", "N-4": "p-3 N-4", "N-9": "p-4 N-9"})

		names := []string{fileOf(t, []string{one("late", after, "N-8"), one("double", after, "N-9")}), "nowhere", fileOf(t, []string{one("twin", after, "N-8")})}
		said, err = importWith(t, databaseURL, names, "PATIENT_ID_SYSTEM="+numberSystem)
		if err == nil || strings.Count(said, "belongs to another patient") != 2 || !strings.Contains(said, "3 new") || !strings.Contains(said, "2 bad lines") ||
			!strings.Contains(said, fmt.Sprintf(`"file":%q,"line":2`, names[0])) || !strings.Contains(said, fmt.Sprintf(`"file":%q,"line":1`, names[2])) {
			t.Errorf("%v\n%s", err, said)
		}
		wantFound(p, map[string]string{"N-8": "late N-8", "N-9": "p-4 N-9"})
	})
}

// What was claimed under a former PATIENT_ID_SYSTEM takes no number of the new one,
// and counts again with the old setting.
func TestAClaimOfAFormerSystemTakesNoNumber(t *testing.T) {
	t.Parallel()
	const other = "urn:oid:2.999.7.2"
	const d1, d2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		under := func(system string, lines ...string) (string, error) {
			return importWith(t, databaseURL, []string{fileOf(t, lines)}, "PATIENT_ID_SYSTEM="+system)
		}
		if said, err := under(numberSystem, numbered("a", d1, "1", "usual "+numberSystem+" 1", "usual "+other+" 7"), numbered("b", d1, "1", "usual "+numberSystem+" 1")); err == nil {
			t.Errorf("two have one number\n%s", said)
		}
		// a gets its number of the other system, and its former one is c's there.
		for _, lines := range [][]string{
			{numbered("a", d2, "1", "usual "+other+" 7")},
			{numbered("c", d1, "1", "usual "+other+" 1")},
			{numbered("d", d1, "1", "usual "+other+" 8")},
		} {
			if said, err := under(other, lines...); err != nil || strings.Contains(said, "refused") {
				t.Errorf("%v\n%s", err, said)
			}
		}
		p := StartWith(t, nobody, databaseURL)
		wantFound(p, map[string]string{"1": "c 1", "7": "a 7", "8": "d 8"})
		if said, err := under("", numbered("d", d2, "2")); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
		wantFound(p, map[string]string{"1": "c 1", "7": "a 7", "8": "d 8"})
		// Set back: nobody claims the number under that system but b.
		if said, err := under(numberSystem, numbered("e", d1, "1", "usual "+numberSystem+" 9")); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
		wantFound(p, map[string]string{"1": "b 1", "9": "e 9"})
	})
}

// The number of a patient whom a write found gone is for the record that has it now,
// be it told before or after; until then nothing changes, and a patient that comes
// back claims it like any other.
func TestTheNumberOfAGonePatientIsFree(t *testing.T) {
	t.Parallel()
	const d1, d2 = "2026-01-01T00:00:00Z", "2099-01-02T00:00:00Z" // before and after they are found gone
	line := func(id, updated, number string) string {
		return numbered(id, updated, "010-1111-1111", "usual "+numberSystem+" "+number)
	}
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		lines := []string{line("a", d1, "1"), line("b", d1, "2"), line("c", d1, "3")}
		server, base := StartFHIR(t, fhirsim.Options{}, lines...)
		mustIn(t, databaseURL, lines...)
		p := StartWith(t, base, databaseURL)
		s := &System{Product: p, FHIR: server}
		refused := func(lines ...string) {
			t.Helper()
			if said, err := in(t, databaseURL, lines...); err == nil || !strings.Contains(said, "belongs to another patient") {
				t.Errorf("%v\n%s", err, said)
			}
		}
		refused(line("a-2", d1, "1"))
		for _, id := range []string{"a", "b", "c"} {
			server.Delete(id)
		}
		for _, number := range []string{"1", "2", "3"} {
			Want(t, s.Update(Object{"patientId": number, "phone": "010-2"}), Object{"code": "FHIR_PATIENT_GONE", "patient.id": number})
		}
		wantFound(p, map[string]string{"1": "", "2": "", "3": ""})
		mustIn(t, databaseURL, line("b-2", d1, "2")) // and the claim that was left
		wantFound(p, map[string]string{"1": "a-2 1", "2": "b-2 2", "3": ""})
		for _, id := range []string{"a", "b"} {
			Want(t, p.Query(`query($id: String) { patients(filter: {fhirId: $id}) { nodes { phone } } }`, Object{"id": id}),
				Object{"patients.nodes": []any{}})
		}
		mustIn(t, databaseURL, line("c", d1, "3")) // an old file brings nobody back
		wantFound(p, map[string]string{"3": ""})
		mustIn(t, databaseURL, line("c", d2, "3")) // it is back
		refused(line("c-2", d1, "3"))
		refused(line("a", d2, "1"))
		wantFound(p, map[string]string{"1": "a-2 1", "3": "c 3"})
	})
}
