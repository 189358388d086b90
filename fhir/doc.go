// Package fhir owns everything PatientGraph knows about FHIR R4 servers and
// Patient resources: the HTTP client, the sorting of answers into outcomes,
// the lossless edit of a Patient's contact and the reading of a Patient into
// plain values. It must not know GraphQL, the cache, or who the caller is.
//
// # Scrubbing
//
// What a server says may repeat a patient's values. Record and text are made
// alike first: decode.go resolves encodings, fold.go folds what that gives into
// tokens. secrets.go (with dates.go and damaged.go) takes the values of a record and puts them
// into the tree of secrets_tree.go. reading.go finds them in one reading of a
// text. scrub.go is the way in: it makes the readings and puts "…" in the place
// of what they found. words.go holds the ordinary words, which are no secrets by
// themselves, and what is said instead of a text that cannot be made safe.
//
// # Connections
//
// dial.go makes them, conn.go hands out exactly one answer for each request, and
// framing.go tells where an answer ends. What has arrived before a request began
// is never its answer: the connection is dropped, and net/http repeats the
// request on another one, for nothing of it was written.
//
// # Listings and changes
//
// changes.go has what a server is asked, and which way to find changes it was seen to
// take; newest.go which of several versions counts. walk.go goes from page to page,
// resume.go finds the way on after a page that is gone, moved or too long, and page.go
// reads one. search.go knows which links may be followed.
//
// # Credentials
//
// credentials.go says how each mode logs in. Where tokens are issued, tokens.go has
// one for all requests and asks for one at a time, by oauth.go; tokens_shared.go
// shares a chain of refresh tokens with other replicas. A request that was refused
// for our credentials was not carried out, and is sent once more with another token
// (exchange in transport.go): net/http repeats nothing of which bytes were written.
//
// # Exports
//
// export.go has a server export all its patients, and waits for it. export_file.go
// reads the files, which are longer than any answer: they are streamed.
// export_address.go decides where they may lie, and who is shown our credentials.
//
// # Contexts
//
// A context ends the conversation with a server, not the work on what came of
// it: Scrub, InputFields, Untouched and the reading and editing of a body look at
// none. Their input is bounded (maxText, maxIssues, maxExpressions,
// maxSecretBytes, maxDepth, maxPatientValues), so the work is some milliseconds, or
// a quarter of a second for a hostile answer of 8 MiB (cost_test.go,
// reasons_cost_test.go).
package fhir
