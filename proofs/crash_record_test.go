package proofs_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	. "patientgraph/app/apptest"
)

// request is one write that a client asks for, perhaps several times with the
// same idempotency key. Its values are its own: they tell who wrote them.
type request struct {
	patient string
	want    Contact // "" = not asked for
	input   Object
	answers []Object // nil = the answer did not come
}

// record is what clients asked for and saw.
type record struct {
	lowers  bool // the FHIR server keeps emails in lower case
	mu      sync.Mutex
	count   int
	values  map[string]*request // by the value of phone or email
	retry   []*request          // with a key, and without an answer that settles it
	samples []sample
}

type sample struct {
	patient string
	Seen
}

// next is a new request, or an old one again.
func (r *record) next(random *rand.Rand, patients []string) *request {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.retry) > 0 && random.IntN(3) == 0 {
		n := random.IntN(len(r.retry))
		again := r.retry[n]
		r.retry = slices.Delete(r.retry, n, n+1)
		return again
	}
	r.count++
	q := &request{patient: patients[random.IntN(len(patients))]}
	q.input = Object{"patientId": q.patient}
	if kind := random.IntN(4); kind != 0 {
		q.want.Phone = fmt.Sprintf("010-%04d-%04d", r.count/10000, r.count%10000)
		q.input["phone"] = q.want.Phone
		r.values[q.want.Phone] = q
	}
	if q.want.Phone == "" || random.IntN(3) == 0 {
		q.want.Email = fmt.Sprintf("u%d@example.org", r.count)
		q.input["email"] = q.want.Email
		if r.lowers && random.IntN(3) == 0 {
			q.input["email"] = "U" + q.want.Email[1:]
		}
		r.values[q.want.Email] = q
	}
	if random.IntN(2) == 0 {
		q.input["idempotencyKey"] = fmt.Sprint("key-", r.count)
	}
	if random.IntN(12) == 0 {
		for _, s := range slices.Backward(r.samples) {
			if s.patient == q.patient {
				q.input["expectedVersion"] = s.Version
				break
			}
		}
	}
	return q
}

// write sends a request and notes the answer.
func (c *crash) write(p *Process, q *request) {
	answer, err := p.TryUpdate(q.input)
	var internal GraphQLError
	switch {
	case err == nil:
	case errors.As(err, &internal):
		answer = Object{"__typename": "INTERNAL", "error": internal.Text}
	default:
		time.Sleep(10 * time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	q.answers = append(q.answers, answer)
	if q.input["idempotencyKey"] != nil && len(q.answers) < 4 {
		c.retry = append(c.retry, q) // an answered one too: it must be told the same
	}
}

func (r *record) sample(patient string, s Seen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = append(r.samples, sample{patient, s})
}

// check holds everything that was told and seen against the FHIR server.
func (c *crash) check(p *Process) {
	histories := map[string][]Contact{}
	for _, number := range c.patients {
		history, err := c.truth.history(fhirOf(number))
		if err != nil {
			c.t.Fatal(err)
		}
		histories[number] = history
		cached, err := p.Read(number)
		if err != nil {
			c.t.Fatal(err)
		}
		if now := history[len(history)-1]; cached.Contact != now || cached.State != "SYNCED" {
			c.t.Errorf("%s: the cache has %v %s, the FHIR server %v", number, cached.Contact, cached.State, now)
		}
	}
	for _, s := range c.samples {
		if s.State == "SYNCED" && !slices.Contains(histories[s.patient], s.Contact) {
			c.t.Errorf("%s said SYNCED with %v, which the FHIR server never had", s.patient, s.Contact)
		}
	}
	outcomes, checked := map[string]int{}, map[*request]bool{}
	for _, q := range c.values {
		if !checked[q] {
			checked[q] = true
			c.checkRequest(p, q, histories[q.patient], outcomes)
		}
	}
	c.t.Logf("%d requests, %d reads; answers: %v", c.count, len(c.samples), outcomes)
}

// written counts how often a request's values came into the history.
func (q *request) written(history []Contact) (phone, email int) {
	for n := 1; n < len(history); n++ {
		if q.want.Phone != "" && history[n].Phone == q.want.Phone && history[n-1].Phone != q.want.Phone {
			phone++
		}
		if q.want.Email != "" && history[n].Email == q.want.Email && history[n-1].Email != q.want.Email {
			email++
		}
	}
	return phone, email
}

func (c *crash) checkRequest(p *Process, q *request, history []Contact, outcomes map[string]int) {
	phone, email := q.written(history)
	times := max(phone, email)
	if phone > 1 || email > 1 || q.want.Phone != "" && q.want.Email != "" && phone != email {
		c.t.Errorf("%v came into the history %d and %d times: %v", q.input, phone, email, q.answers)
	}
	var success Object
	for n, answer := range q.answers {
		last := n == len(q.answers)-1
		kind, _ := answer["__typename"].(string)
		if kind == "FhirUnavailable" {
			kind += " " + answer["applied"].(string)
		}
		outcomes[kind]++
		switch kind {
		case "UpdatePatientContactSuccess":
			if times != 1 {
				c.t.Errorf("%v was told Success and is %d times in the history %v", q.input, times, history)
			}
			if success != nil && success["operationId"] != answer["operationId"] {
				c.t.Errorf("%v was told two operations: %v, %v", q.input, success, answer)
			}
			success = answer
			normalized := []string{}
			if email := q.input["email"]; email != nil && email != q.want.Email {
				normalized = append(normalized, "email")
			}
			Want(c.t, answer, Object{"normalized": normalized})
		case "FhirUnavailable UNKNOWN":
			c.checkSettled(p, q, answer, times)
		case "FhirUnavailable NO", "UpdateConflict", "FhirRejected":
			if success != nil || last && times != 0 {
				c.t.Errorf("%v was told %v and is %d times in the history (%v)", q.input, answer, times, q.answers)
			}
		case "INTERNAL":
			if text := answer["error"].(string); !strings.Contains(text, "this mutation changed nothing") || len(q.answers) == 1 && times != 0 {
				c.t.Errorf("%v was told %s and is %d times in the history", q.input, text, times)
			}
		case "": // no answer came
		default:
			c.t.Errorf("%v was told %v", q.input, answer)
		}
	}
}

// checkSettled holds how an unknown outcome ended against what happened.
func (c *crash) checkSettled(p *Process, q *request, answer Object, times int) {
	state, _ := p.ContactUpdate(answer["operationId"])["state"].(string)
	if state == "PENDING" || state == "" || state == "APPLIED" && times != 1 || state != "APPLIED" && times != 0 && len(q.answers) == 1 {
		c.t.Errorf("%v was told UNKNOWN, then %q, and is %d times in the history", q.input, state, times)
	}
}
