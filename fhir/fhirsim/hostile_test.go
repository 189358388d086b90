package fhirsim

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"patientgraph/internal/cost"
)

// Whoever sends the server what must not be parsed hears a refusal, as from HAPI,
// and the next request is answered.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	if err := s.Put([]byte(patientX)); err != nil {
		t.Fatal(err)
	}
	base, stop, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	head := `{"resourceType":"Patient","id":"x","x":`
	for name, body := range map[string]string{
		"arrays":          head + strings.Repeat("[", 8<<20),
		"closed arrays":   head + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}",
		"objects":         strings.Repeat(`{"a":`, 1<<20),
		"values":          head + "[" + strings.Repeat("{},", 1<<20) + "{}]}",
		"telecom entries": `{"resourceType":"Patient","id":"x","telecom":[` + strings.Repeat(`{"system":"phone","value":"02-123-4567"},`, 200_000) + "{}]}",
	} {
		if r := do(t, http.MethodPut, base+"/Patient/x", body); r.status != http.StatusInternalServerError || !strings.Contains(r.body, "HAPI-1861") {
			t.Errorf("%s: %d %.200s", name, r.status, r.body)
		}
	}
	if _, version, _ := s.Get("x"); version != 1 {
		t.Errorf("version %d was stored", version)
	}
	if r := do(t, http.MethodPut, base+"/Patient/x", changedX); r.status != http.StatusOK {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// Twice the phones take about twice the time to check.
func TestCostOfPhones(t *testing.T) {
	s := New(Options{})
	check := func(n int) time.Duration {
		body := []byte(`{"telecom":[` + strings.Repeat(`{"system":"phone","value":"02-123-4567"},`, n) + "{}]}")
		return cost.Of(t, func() {
			if p := s.checkPhones(body); p != nil {
				t.Fatalf("%+v", p)
			}
		}).CPU
	}
	const times = 32
	few, many := check(500), check(500*times)
	if many > 8*times*max(few, time.Millisecond) {
		t.Errorf("%d times the phones: %v instead of %v", times, many, few)
	}
}

func TestTheLogForgetsLargeBodies(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for range 100 {
		s.log.add(&Request{Body: make([]byte, 4<<20)})
	}
	total := 0
	for _, r := range s.Requests() {
		total += len(r.Body)
	}
	if total > maxLogged || total < maxLogged/2 {
		t.Errorf("%d bytes are remembered", total)
	}
}
