package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// settlement is the subscription to how an update ends.
func settlement(t testing.TB, operationID any) string {
	t.Helper()
	return `subscription { contactUpdateSettled(operationId: ` + JSON(t, operationID) + `) { state patientId result { ... on FhirRejected { message code } } } }`
}

// untilSubscribed waits until the product has as many subscriptions.
func untilSubscribed(p *Product, n int) {
	p.T.Helper()
	wait.Until(p.T, fmt.Sprint(n, " subscriptions are open"), func() bool {
		open := 0
		_, text := p.Get("/metrics")
		for line := range strings.Lines(text) {
			if rest, found := strings.CutPrefix(line, "patientgraph_subscriptions{"); found {
				var here int
				_, value, _ := strings.Cut(rest, "} ")
				fmt.Sscan(value, &here)
				open += here
			}
		}
		return open == n
	})
}

// rejectedUpdate returns an update that the FHIR server refused.
func rejectedUpdate(s *System) (operationID any) {
	s.T.Helper()
	s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Status: http.StatusUnprocessableEntity, Body: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"value","diagnostics":"Invalid phone format"}]}`})
	refused := s.Update(Object{"patientId": Number, "phone": NewPhone})
	Want(s.T, refused, Object{"__typename": "FhirRejected"})
	return refused["operationId"]
}

func TestARefusedWriteIsToldByEachTransport(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		id := rejectedUpdate(s)
		subscription := settlement(t, id)
		want := Object{
			"data.contactUpdateSettled.state": "REJECTED", "data.contactUpdateSettled.patientId": Number,
			"data.contactUpdateSettled.result": Object{"message": "Invalid phone format", "code": "FHIR_REJECTED"},
		}
		byGET := s.Request(http.MethodGet, "/graphql?query="+url.QueryEscape(subscription), "", "Accept", "text/event-stream")
		for name, stream := range map[string]*Stream{"events": s.Subscribe(subscription), "events by GET": s.Stream(byGET), "parts": s.SubscribeMultipart(subscription)} {
			event, ended := stream.Next()
			if ended {
				t.Fatalf("%s: nothing is told", name)
			}
			Want(t, event, want)
			if event, ended := stream.Next(); !ended || !stream.Whole {
				t.Errorf("%s: then came %v, complete: %v", name, event, stream.Whole)
			}
			if stream.Header.Get("X-Accel-Buffering") != "no" || stream.Header.Get("Cache-Control") != "no-store" || stream.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s: %v", name, stream.Header)
			}
		}
		socket := s.Socket()
		socket.Subscribe("1", subscription, nil)
		next := socket.Next()
		Want(t, next, Object{"type": "next", "id": "1"})
		Want(t, Object(next["payload"].(map[string]any)), want)
		Want(t, socket.Next(), Object{"type": "complete", "id": "1"})
	})
}

// TestFramesOfAWebSocket plays frames as a client's log has them, with the token and
// the operation's id of this run.
func TestFramesOfAWebSocket(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	frames := read(t, "testdata/ws-frames.ndjson")
	frames = strings.Replace(frames, "Bearer …", "Bearer "+Token(t, auth.RoleAdmin, ""), 1)
	frames = strings.Replace(frames, `"…"`, JSON(t, rejectedUpdate(s)), 1)
	socket, _, err := s.Dial("graphql-transport-ws")
	if err != nil {
		t.Fatal(err)
	}
	for frame := range strings.Lines(frames) {
		var message Object
		if err := json.Unmarshal([]byte(frame), &message); err != nil {
			t.Fatal(err)
		}
		from := message["from"]
		delete(message, "from")
		if from == "client" {
			socket.Send(message)
			continue
		}
		if got, want := JSON(t, socket.Next()), JSON(t, message); got != want {
			t.Errorf("the server sent %s, want %s", got, want)
		}
	}
}

func TestChangesAreToldByEachTransport(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	subscription := `subscription { patientChanged(id: "` + Number + `") { phone } }`
	parts, socket := s.SubscribeMultipart(subscription), s.Socket()
	socket.Subscribe("a", subscription, nil)
	socket.Subscribe("b", subscription, nil)
	untilSubscribed(s.Product, 3)
	Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
	wantChange(t, parts, Object{"phone": NewPhone})
	ids := map[any]bool{}
	for range 2 {
		next := socket.Next()
		ids[next["id"]] = true
		Want(t, next, Object{"type": "next", "payload.data.patientChanged.phone": NewPhone})
	}
	if len(ids) != 2 {
		t.Errorf("told to %v", ids)
	}
	// What the client has completed ends alone, and its id is free.
	socket.Send(Object{"type": "complete", "id": "a"})
	untilSubscribed(s.Product, 2)
	socket.Subscribe("a", `{ viewer { role } }`, nil)
	Want(t, socket.Next(), Object{"type": "next", "id": "a", "payload.data.viewer.role": "admin"})
	Want(t, socket.Next(), Object{"type": "complete", "id": "a"})
	Want(t, updateProfile(s.Client, Object{"patientId": Number, "bloodType": "A+"}), Object{"__typename": "UpdatePatientProfileSuccess"})
	Want(t, socket.Next(), Object{"type": "next", "id": "b"})
	socket.Leave()
	parts.Leave()
	untilSubscribed(s.Product, 0)
}

// TestARefusedSubscriptionHasNoData, and it is no answer: GraphQL, section 7.1.
func TestARefusedSubscriptionHasNoData(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	for subscription, code := range map[string]string{
		`{ patientChanged(id: "nobody") { id } }`:                                                           "BAD_USER_INPUT",
		`{ a: patientChanged(id: "` + Number + `") { id } b: patientChanged(id: "` + Number + `") { id } }`: "GRAPHQL_VALIDATION_FAILED",
		`{ patientChanged(id: "` + Number + `") @skip(if: true) { id } }`:                                   "GRAPHQL_VALIDATION_FAILED",
		`{ ...on Subscription { __typename } }`:                                                             "GRAPHQL_VALIDATION_FAILED",
	} {
		subscription = "subscription Refused " + subscription
		for _, stream := range []*Stream{s.Subscribe(subscription), s.SubscribeMultipart(subscription)} {
			event, _ := stream.Next()
			if _, has := event["data"]; has || event.ErrorCode() != code {
				t.Errorf("%s: told %v", subscription, event)
			}
			if event, ended := stream.Next(); !ended || !stream.Whole {
				t.Errorf("and then %v", event)
			}
		}
		socket := s.Socket()
		socket.Subscribe("1", subscription, nil)
		message := socket.Next()
		Want(t, message, Object{"type": "error", "id": "1"})
		if errors, _ := message["payload"].([]any); (Object{"errors": errors}).ErrorCode() != code {
			t.Errorf("%s: by WebSocket came %v", subscription, message)
		}
		socket.Send(Object{"type": "ping"})
		Want(t, socket.Next(), Object{"type": "pong"}) // no complete
		socket.Leave()
	}
	for _, transport := range []string{"sse", "multipart", "websocket"} {
		s.UntilLog(`"transport":"` + transport + `","ended":"failed"`)
	}
}

// TestABrokenSubscriptionIsAnError by each transport: no client subscribes again after
// a mere complete.
func TestABrokenSubscriptionIsAnError(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	s := StartSystem(t, databaseURL)
	subscription := `subscription { patientChanged(id: "` + Number + `") { allergies } }`
	events, parts, socket := s.Subscribe(subscription), s.SubscribeMultipart(subscription), s.Socket()
	socket.Subscribe("1", subscription, nil)
	untilSubscribed(s.Product, 3)
	if _, err := dbtest.Open(t, databaseURL).Exec("UPDATE patients SET allergies = '{', change_seq = 0 WHERE id = $1", Number); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []*Stream{events, parts} {
		if event, ended := stream.Next(); ended || event.ErrorCode() != "INTERNAL" {
			t.Errorf("told %v, ended: %v", event, ended)
		}
		if event, ended := stream.Next(); !ended || !stream.Whole {
			t.Errorf("and then %v", event)
		}
	}
	message := socket.Next()
	Want(t, message, Object{"type": "error", "id": "1"})
	if errors, _ := message["payload"].([]any); (Object{"errors": errors}).ErrorCode() != "INTERNAL" {
		t.Errorf("by WebSocket came %v", message)
	}
	untilSubscribed(s.Product, 0)
	metrics := scrape(s.Product).text
	for _, line := range []string{
		`patientgraph_internal_errors_total 3`, `patientgraph_subscriptions_ended_total{reason="failed",transport="sse"} 1`,
		`patientgraph_subscriptions_ended_total{reason="failed",transport="multipart"} 1`, `patientgraph_subscriptions_ended_total{reason="failed",transport="websocket"} 1`,
	} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

// TestWebSocketsCarryQueriesAndMutations with all limits of a request.
func TestWebSocketsCarryQueriesAndMutations(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	socket := s.Socket()
	socket.Subscribe("1", `query($id: ID!) { patient(id: $id) { id } nobody: patient(id: "none") { id } }`, Object{"id": Number})
	Want(t, socket.Next(), Object{"type": "next", "id": "1", "payload.data": Object{"patient": Object{"id": Number}, "nobody": nil}})
	Want(t, socket.Next(), Object{"type": "complete", "id": "1"})
	socket.Subscribe("2", ContactMutation, Object{"input": Object{"patientId": Number, "phone": NewPhone}})
	Want(t, socket.Next(), Object{"type": "next", "id": "2", "payload.data.updatePatientContact.__typename": "UpdatePatientContactSuccess"})
	Want(t, socket.Next(), Object{"type": "complete", "id": "2"})
	counts := "{"
	for n := range 240 {
		counts += fmt.Sprintf(" y%d: patients(filter: {birthDate: \"%d\"}) { totalCount }", n, 1700+n)
	}
	for name, c := range map[string]struct {
		payload Object
		code    string
	}{
		"validation":    {Object{"query": `{ patient(id: "x") { shoeSize } }`}, "GRAPHQL_VALIDATION_FAILED"},
		"syntax":        {Object{"query": `{ patient(`}, "GRAPHQL_PARSE_FAILED"},
		"no document":   {Object{"query": ""}, ""},
		"many counts":   {Object{"query": counts + "}"}, "LIMIT_EXCEEDED"},
		"nested":        {Object{"query": strings.Repeat("{a", 60) + strings.Repeat("}", 60)}, "LIMIT_EXCEEDED"},
		"deep JSON":     {Object{"query": "{ viewer { role } }", "variables": Object{"v": deep(200)}}, "LIMIT_EXCEEDED"},
		"introspection": {Object{"query": "{ __schema { types { name } } }"}, "any"},
	} {
		socket.Send(Object{"id": name, "type": "subscribe", "payload": c.payload})
		message := socket.Next()
		errors, _ := message["payload"].([]any)
		code := Object{"errors": errors}.ErrorCode()
		if message["type"] == "next" { // an error of a field
			code = Object(message["payload"].(map[string]any)).ErrorCode()
			Want(t, socket.Next(), Object{"type": "complete", "id": name})
		}
		if message["id"] != name || code == "" && c.code != "" || c.code != "any" && code != c.code && c.code != "" {
			t.Errorf("%s: %v", name, message)
		}
	}
	// No complete came after an error: this is the next message.
	socket.Send(Object{"type": "ping", "payload": Object{"at": 1}})
	Want(t, socket.Next(), Object{"type": "pong", "payload": Object{"at": 1}})
}

func deep(levels int) any {
	if levels == 0 {
		return 1
	}
	return []any{deep(levels - 1)}
}

// TestWebSocketsAreClosedAsTheProtocolSays: graphql-ws, PROTOCOL.md.
func TestWebSocketsAreClosedAsTheProtocolSays(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	init := JSON(t, Object{"type": "connection_init", "payload": Object{"Authorization": "Bearer " + Token(t, auth.RoleAdmin, "")}})
	initOf := func(payload Object) string { return JSON(t, Object{"type": "connection_init", "payload": payload}) }
	follow := JSON(t, Object{"type": "subscribe", "id": "1", "payload": Object{"query": `subscription { patientChanged(id: "` + Number + `") { id } }`}})
	for name, c := range map[string]struct {
		send []string
		code int
		says string
	}{
		"no JSON":                       {[]string{init, `{"type":"ping"`}, 4400, "JSON"},
		"no object":                     {[]string{init, `["ping"]`}, 4400, "object"},
		"no type":                       {[]string{init, `{"id":"1"}`}, 4400, "type"},
		"a type that is a number":       {[]string{init, `{"type":5}`}, 4400, "type"},
		"an unknown type":               {[]string{init, `{"type":"start","id":"1","payload":{"query":"{x}"}}`}, 4400, "type"},
		"a type in another case":        {[]string{init, `{"TYPE":"ping"}`}, 4400, "type"},
		"what servers send":             {[]string{init, `{"type":"connection_ack"}`}, 4400, "type"},
		"a binary message":              {[]string{init, "binary"}, 4400, "text"},
		"a ping of a text":              {[]string{init, `{"type":"ping","payload":"x"}`}, 4400, "payload"},
		"a pong of a list":              {[]string{init, `{"type":"pong","payload":[]}`}, 4400, "payload"},
		"an init of a text":             {[]string{`{"type":"connection_init","payload":"x"}`}, 4400, "payload"},
		"complete without id":           {[]string{init, `{"type":"complete"}`}, 4400, "id"},
		"subscribe without id":          {[]string{init, `{"type":"subscribe","payload":{"query":"{x}"}}`}, 4400, "id"},
		"an empty id":                   {[]string{init, `{"type":"subscribe","id":"","payload":{"query":"{x}"}}`}, 4400, "id"},
		"an id that is a number":        {[]string{init, `{"type":"subscribe","id":1,"payload":{"query":"{x}"}}`}, 4400, "id"},
		"a long id":                     {[]string{init, `{"type":"subscribe","id":"` + strings.Repeat("x", 5000) + `","payload":{"query":"{x}"}}`}, 4400, "long"},
		"no payload":                    {[]string{init, `{"type":"subscribe","id":"1"}`}, 4400, "payload"},
		"no query":                      {[]string{init, `{"type":"subscribe","id":"1","payload":{}}`}, 4400, "query"},
		"a query in another case":       {[]string{init, `{"type":"subscribe","id":"1","payload":{"query":"{x}","QUERY":"{y}"}}`}, 4400, "query"},
		"a query that is a list":        {[]string{init, `{"type":"subscribe","id":"1","payload":{"query":["{x}"]}}`}, 4400, "query"},
		"variables that are a list":     {[]string{init, `{"type":"subscribe","id":"1","payload":{"query":"{x}","variables":[]}}`}, 4400, "variables"},
		"an operationName of an object": {[]string{init, `{"type":"subscribe","id":"1","payload":{"query":"{x}","operationName":{}}}`}, 4400, "operationName"},
		"extensions of a text":          {[]string{init, `{"type":"subscribe","id":"1","payload":{"query":"{x}","extensions":"x"}}`}, 4400, "extensions"},
		"an id twice":                   {[]string{init, `{"type":"complete","id":"1","id":"2"}`}, 4400, "twice"},
		"a type twice":                  {[]string{init, `{"type":"ping","type":"pong"}`}, 4400, "twice"},
		"a type twice, once escaped":    {[]string{init, `{"type":"ping","t\u0079pe":"pong"}`}, 4400, "twice"},
		"no UTF-8":                      {[]string{init, "{\"type\":\"ping\",\"payload\":{\"x\":\"\xff\"}}"}, 1007, "UTF-8"},
		"deeper than JSON may be":       {[]string{init, `{"type":"ping","payload":` + strings.Repeat("[", 50_000)}, 4400, "deep"},
		"subscribe before init":         {[]string{follow}, 4401, "Unauthorized"},
		"no token":                      {[]string{`{"type":"connection_init"}`}, 4403, "bearer token is required"},
		"no token, payload null":        {[]string{`{"type":"connection_init","payload":null}`}, 4403, "bearer token is required"},
		"a token without Bearer":        {[]string{initOf(Object{"Authorization": Token(t, auth.RoleAdmin, "")})}, 4403, "Bearer"},
		"a token that is a number":      {[]string{initOf(Object{"Authorization": 7})}, 4403, "Bearer"},
		"two tokens":                    {[]string{initOf(Object{"Authorization": "Bearer x", "authorization": "Bearer y"})}, 4403, "more than one"},
		"a forged token":                {[]string{initOf(Object{"Authorization": "Bearer " + Token(t, auth.RoleAdmin, "") + "x"})}, 4403, "the token is invalid"},
		"an expired token":              {[]string{initOf(Object{"authorization": "Bearer " + TokenOf(t, Object{"role": "admin", "exp": 1_000_000_000})})}, 4403, "the token has expired"},
		"an id that is under way":       {[]string{init, follow, follow}, 4409, "Subscriber for 1 already exists"},
		"two inits":                     {[]string{init, init}, 4429, "Too many initialisation requests"},
		"a large message":               {[]string{init, `{"type":"ping","payload":{"x":"` + strings.Repeat("x", 128<<10) + `"}}`}, 1009, ""},
		"a large init":                  {[]string{initOf(Object{"x": strings.Repeat("x", 64<<10)})}, 1009, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket, _, err := s.Dial("graphql-transport-ws")
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range c.send {
				if text == "binary" {
					socket.SendBinary(`{"type":"ping"}`)
				} else {
					socket.SendText(text)
				}
			}
			if code, reason := socket.Closed(); code != c.code || !strings.Contains(reason, c.says) {
				t.Errorf("it was closed with %d %q, want %d and %q", code, reason, c.code, c.says)
			}
		})
	}
}

// TestDocumentsAreNamedOverEveryTransport without their text, in each way that there is.
func TestDocumentsAreNamedOverEveryTransport(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	const query = `{ viewer { role } }`
	sum := sha256.Sum256([]byte(query))
	hash := hex.EncodeToString(sum[:])
	persisted := Object{"persistedQuery": Object{"version": 1, "sha256Hash": hash}}
	s.Post(JSON(t, Object{"query": query, "extensions": persisted}))
	socket := s.Socket()
	for name, payload := range map[string]Object{
		"documentId": {"documentId": hash}, "doc_id": {"doc_id": hash}, "extensions": {"extensions": persisted}, "null": {"query": nil, "doc_id": hash},
	} {
		socket.Send(Object{"type": "subscribe", "id": name, "payload": payload})
		Want(t, socket.Next(), Object{"type": "next", "id": name, "payload.data.viewer.role": "admin"})
		Want(t, socket.Next(), Object{"type": "complete", "id": name})
	}
	for _, name := range []string{"documentId", "doc_id"} {
		Want(t, s.Send(s.Request(http.MethodGet, "/graphql?"+name+"="+hash, "")).Object, Object{"data.viewer.role": "admin"})
	}
}

// TestOtherSubprotocolsAreRefused: of the library before graphql-ws too, which is
// called graphql-ws.
func TestOtherSubprotocolsAreRefused(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	for _, subprotocol := range []string{"graphql-ws", "", "mqtt"} {
		socket, _, err := s.Dial(subprotocol)
		if err != nil {
			t.Fatal(err)
		}
		if code, reason := socket.Closed(); code != 4406 || !strings.Contains(reason, "graphql-transport-ws") {
			t.Errorf("%q: it was closed with %d %s", subprotocol, code, reason)
		}
	}
}

func TestATokenInTheHeaderOpensAWebSocket(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	nurse := "Bearer " + Token(t, auth.RoleNurse, "")
	for name, c := range map[string]struct {
		payload any
		role    string
	}{
		"header alone": {nil, "nurse"}, "another in the payload": {Object{"authorization": "bearer " + Token(t, auth.RoleLab, "")}, "lab"},
	} {
		socket, _, err := s.Dial("graphql-transport-ws", "Authorization", nurse)
		if err != nil {
			t.Fatal(err)
		}
		socket.Send(Object{"type": "ping"}) // allowed at any time
		Want(t, socket.Next(), Object{"type": "pong"})
		socket.Send(Object{"type": "connection_init", "payload": c.payload})
		Want(t, socket.Next(), Object{"type": "connection_ack"})
		socket.Subscribe("1", "{ viewer { role } }", nil)
		if role := socket.Next().At("payload", "data", "viewer", "role"); role != c.role {
			t.Errorf("%s: it is opened as %v", name, role)
		}
	}
	if _, response, err := s.Dial("graphql-transport-ws", "Authorization", "Bearer x"); err == nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("with a bad one: %v", err)
	}
}

// TestAbusePagesElsewhereOpenNoWebSocket: a browser asks nobody before it opens one.
func TestAbusePagesElsewhereOpenNoWebSocket(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "CORS_ORIGINS=https://portal.example")
	for origin, opens := range map[string]bool{
		"": true, s.URL: true, "https://portal.example": true,
		"https://elsewhere.example": false, "null": false, "http://portal.example": false, "https://portal.example.evil.example": false, "file://": false,
		strings.Replace(s.URL, "127.0.0.1", "127.0.0.2", 1): false,
	} {
		var headers []string
		if origin != "" {
			headers = []string{"Origin", origin}
		}
		_, response, err := s.Dial("graphql-transport-ws", headers...)
		if (err == nil) != opens || !opens && response.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %v", origin, err)
		}
	}
}

// TestAbuseSubscriptionsShareABound over all transports, and WebSockets have one too.
func TestAbuseSubscriptionsShareABound(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	nurse := s.As(TokenOf(t, Object{"sub": "n", "role": "nurse"}))
	subscription := `subscription { patientChanged(id: "` + Number + `") { id } }`
	socket := nurse.Socket()
	for n := range 49 {
		socket.Subscribe(fmt.Sprint(n), subscription, nil)
	}
	parts := nurse.SubscribeMultipart(subscription)
	untilSubscribed(s.Product, 50)
	if event, _ := nurse.Subscribe(subscription).Next(); event.ErrorCode() != "LIMIT_EXCEEDED" || !strings.Contains(fmt.Sprint(event["errors"]), "50") {
		t.Errorf("the 51st hears %v", event)
	}
	socket.Subscribe("51", subscription, nil)
	if refused := socket.Next(); refused["type"] != "error" || !strings.Contains(fmt.Sprint(refused["payload"]), "LIMIT_EXCEEDED") {
		t.Errorf("the 51st hears %v", refused)
	}
	parts.Leave()
	untilSubscribed(s.Product, 49)
	for range 49 {
		nurse.Socket()
	}
	more, _, err := nurse.Dial("graphql-transport-ws")
	if err != nil {
		t.Fatal(err)
	}
	more.Send(Object{"type": "connection_init", "payload": Object{"Authorization": "Bearer " + TokenOf(t, Object{"sub": "n", "role": "nurse"})}})
	if code, reason := more.Closed(); code != 1013 || !strings.Contains(reason, "LIMIT_EXCEEDED") || !strings.Contains(reason, "50") {
		t.Errorf("the 51st WebSocket was closed with %d %s", code, reason)
	}
	s.As(TokenOf(t, Object{"sub": "another", "role": "nurse"})).Socket()
	socket.Leave()
	wait.Until(t, "there is room after one has left", func() bool {
		again, _, err := nurse.Dial("graphql-transport-ws")
		if err != nil {
			t.Fatal(err)
		}
		again.Send(Object{"type": "connection_init", "payload": Object{"Authorization": "Bearer " + TokenOf(t, Object{"sub": "n", "role": "nurse"})}})
		return again.Next()["type"] == "connection_ack"
	})
}

// TestSubscriptionsNeedAStream: a request with one answer is refused, and a GET that
// streams changes nothing.
func TestSubscriptionsNeedAStream(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	subscription := `subscription { patientChanged(id: "` + Number + `") { id } }`
	for _, accept := range []string{"application/json", "application/graphql-response+json", "*/*", "application/json, text/event-stream", "multipart/mixed;subscriptionSpec=2.0"} {
		answer := s.Post(Body(t, subscription, nil), "Accept", accept)
		if answer.ErrorCode() != "BAD_USER_INPUT" || !strings.Contains(fmt.Sprint(answer.Object), "text/event-stream") {
			t.Errorf("%s: %d %v", accept, answer.Status, answer.Object)
		}
	}
	mutation := `mutation { updatePatientContact(input: { patientId: "` + Number + `", phone: "` + NewPhone + `" }) { __typename } }`
	answer, err := http.DefaultClient.Do(s.Request(http.MethodGet, "/graphql?query="+url.QueryEscape(mutation), "", "Accept", "text/event-stream"))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "POST" || s.Puts() > 0 {
		t.Errorf("a mutation by GET: status %d, %d PUTs", answer.StatusCode, s.Puts())
	}
	for _, stream := range []*Stream{s.Subscribe(`{ patient(id: "x") { shoeSize } }`), s.SubscribeMultipart(`{ patient(id: "x") { shoeSize } }`)} {
		event, _ := stream.Next()
		if _, has := event["data"]; has || event.ErrorCode() != "GRAPHQL_VALIDATION_FAILED" {
			t.Errorf("a bad document: %v", event)
		}
		if event, ended := stream.Next(); !ended || !stream.Whole {
			t.Errorf("and then %v", event)
		}
	}
	for _, stream := range []*Stream{s.Subscribe(`{ viewer { role } }`), s.SubscribeMultipart(`{ viewer { role } }`)} {
		event, _ := stream.Next()
		Want(t, event, Object{"data.viewer.role": "admin"})
		if event, ended := stream.Next(); !ended || !stream.Whole {
			t.Errorf("and then %v", event)
		}
	}
}

func TestStreamsAreInTheLogAndTheMetrics(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	subscription := strings.Replace(settlement(t, rejectedUpdate(s)), "subscription", "subscription Ended", 1)
	socket := s.Socket()
	socket.Subscribe("secret-id", subscription, nil)
	socket.Next()
	socket.Next()
	for _, stream := range []*Stream{s.Subscribe(subscription), s.SubscribeMultipart(subscription)} {
		for ended := false; !ended; {
			_, ended = stream.Next()
		}
	}
	if now := scrape(s.Product); !strings.Contains(now.text, "\npatientgraph_websockets 1\n") {
		t.Errorf("with one WebSocket: %v", now.series["patientgraph_websockets"])
	}
	socket.Leave()
	s.UntilLog(`"transport":"websocket","ended":"1000"`)
	for _, c := range []struct {
		msg    string
		fields Object
	}{
		{"GraphQL operation", Object{"operation_name": "Ended", "operation_type": "subscription", "transport": "websocket", "ended": "complete", "role": "admin"}},
		{"GraphQL request", Object{"operation_name": "Ended", "transport": "sse", "ended": "complete", "status": 200.0}},
		{"GraphQL request", Object{"operation_name": "Ended", "transport": "multipart", "ended": "complete", "status": 200.0}},
		{"GraphQL request", Object{"method": "GET", "operation_name": "", "transport": "websocket", "ended": "1000", "status": 101.0, "role": "admin"}},
	} {
		wait.Until(t, fmt.Sprint("the log has ", c), func() bool {
			return slices.ContainsFunc(lines(t, s.Log, c.msg), func(line Object) bool {
				for name, value := range c.fields {
					if line[name] != value {
						return false
					}
				}
				return true
			})
		})
	}
	if strings.Contains(s.Log.String(), "secret-id") {
		t.Error("the log has what the client called its operation")
	}
	metrics := scrape(s.Product)
	for _, line := range []string{
		`patientgraph_subscriptions{transport="sse"} 0`, `patientgraph_websockets 0`,
		`patientgraph_subscriptions_ended_total{reason="complete",transport="sse"} 1`, `patientgraph_subscriptions_ended_total{reason="complete",transport="multipart"} 1`,
		`patientgraph_subscriptions_ended_total{reason="complete",transport="websocket"} 1`,
	} {
		if !strings.Contains(metrics.text, "\n"+line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
}
