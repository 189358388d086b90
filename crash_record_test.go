package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// request is one write that a client asks for, perhaps several times with the
// same idempotency key. Its values are its own: they tell who wrote them.
type request struct {
	patient string
	want    contact // "" = not asked for
	input   object
	answers []object // nil = the answer did not come
}

// record is what clients asked for and saw.
type record struct {
	mu      sync.Mutex
	count   int
	values  map[string]*request // by the value of phone or email
	retry   []*request          // with a key, and without an answer that settles it
	samples []sample
}

type sample struct {
	patient string
	seen
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
	q.input = object{"patientId": q.patient}
	if kind := random.IntN(4); kind != 0 {
		q.want.phone = fmt.Sprintf("010-%04d-%04d", r.count/10000, r.count%10000)
		q.input["phone"] = q.want.phone
		r.values[q.want.phone] = q
	}
	if q.want.phone == "" || random.IntN(3) == 0 {
		q.want.email = fmt.Sprintf("u%d@example.org", r.count)
		q.input["email"] = q.want.email
		r.values[q.want.email] = q
	}
	if random.IntN(2) == 0 {
		q.input["idempotencyKey"] = fmt.Sprint("key-", r.count)
	}
	if random.IntN(12) == 0 {
		for _, s := range slices.Backward(r.samples) {
			if s.patient == q.patient {
				q.input["expectedVersion"] = s.version
				break
			}
		}
	}
	return q
}

// write sends a request and notes the answer.
func (c *crash) write(p *process, q *request) {
	var answer object
	data, err := p.call(contactMutation, object{"input": q.input})
	var internal graphQLError
	switch {
	case err == nil:
		answer = data["updatePatientContact"].(map[string]any)
	case errors.As(err, &internal):
		answer = object{"__typename": "INTERNAL", "error": internal.text}
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

func (r *record) sample(patient string, s seen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.samples = append(r.samples, sample{patient, s})
}

// check holds everything that was told and seen against the FHIR server.
func (c *crash) check(p *process) {
	histories := map[string][]contact{}
	for _, number := range c.patients {
		history, err := c.truth.history(fhirOf(number))
		if err != nil {
			c.t.Fatal(err)
		}
		histories[number] = history
		cached, err := p.read(number)
		if err != nil {
			c.t.Fatal(err)
		}
		if now := history[len(history)-1]; cached.contact != now || cached.state != "SYNCED" {
			c.t.Errorf("%s: the cache has %v %s, the FHIR server %v", number, cached.contact, cached.state, now)
		}
	}
	for _, s := range c.samples {
		if s.state == "SYNCED" && !slices.Contains(histories[s.patient], s.contact) {
			c.t.Errorf("%s said SYNCED with %v, which the FHIR server never had", s.patient, s.contact)
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
func (q *request) written(history []contact) (phone, email int) {
	for n := 1; n < len(history); n++ {
		if q.want.phone != "" && history[n].phone == q.want.phone && history[n-1].phone != q.want.phone {
			phone++
		}
		if q.want.email != "" && history[n].email == q.want.email && history[n-1].email != q.want.email {
			email++
		}
	}
	return phone, email
}

func (c *crash) checkRequest(p *process, q *request, history []contact, outcomes map[string]int) {
	phone, email := q.written(history)
	times := max(phone, email)
	if phone > 1 || email > 1 || q.want.phone != "" && q.want.email != "" && phone != email {
		c.t.Errorf("%v came into the history %d and %d times: %v", q.input, phone, email, q.answers)
	}
	var success object
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
		case "FhirUnavailable UNKNOWN":
			c.checkSettled(p, q, answer, times)
		case "FhirUnavailable NO", "UpdateConflict", "FhirRejected":
			if success != nil || last && times != 0 {
				c.t.Errorf("%v was told %v and is %d times in the history (%v)", q.input, answer, times, q.answers)
			}
		case "INTERNAL":
			if text := answer["error"].(string); !strings.Contains(text, "this request changed nothing") || len(q.answers) == 1 && times != 0 {
				c.t.Errorf("%v was told %s and is %d times in the history", q.input, text, times)
			}
		case "": // no answer came
		default:
			c.t.Errorf("%v was told %v", q.input, answer)
		}
	}
}

// checkSettled holds how an unknown outcome ended against what happened.
func (c *crash) checkSettled(p *process, q *request, answer object, times int) {
	data, err := p.call(updateQuery, object{"id": answer["operationId"]})
	if err != nil {
		c.t.Fatal(err)
	}
	state, _ := data.at("contactUpdate", "state").(string)
	if state == "PENDING" || state == "" || state == "APPLIED" && times != 1 || state != "APPLIED" && times != 0 && len(q.answers) == 1 {
		c.t.Errorf("%v was told UNKNOWN, then %q, and is %d times in the history", q.input, state, times)
	}
}
