// Package writethrough owns the write protocol: the FHIR server first, the cache
// after, and in the cache only what the FHIR server showed. It must not know
// GraphQL, HTTP servers or who the caller is: authorisation and validation come
// before it. docs/write-through.md says what the protocol promises and how each
// promise is proven.
//
// # The words
//
//   - A Change is what a caller wants. An update is one durable contact update,
//     a line of the journal; its id is the operationId. A patient's number is
//     Patient.id, never the FHIR id.
//   - judge.Put is the change that the PUT is to make, judge.Heard how the server
//     answered it, judge.Sight what the server shows afterwards, judge.Fate what
//     became of the PUT by these data, judge.Ruling what follows.
//   - An Outcome is what the caller is told, and told again with the same
//     idempotency key. It is never evidence: what is decided later is decided by
//     what the server shows.
//   - An unresolved update is one whose PUT has an open fate; an unstored end is
//     one that the database has not taken yet.
//
// # A write, in order
//
//  1. The change waits for its turn (turn.go): one write per patient, in this
//     process by a lock, across processes by the journal. A key that came before
//     gets the answer of before.
//  2. BeginUpdate writes the line, ACCEPTED, with a lease that is renewed while
//     this process lives (lease.go). A patient without a FHIR id is changed in
//     the cache alone (local.go), with a warning in the log.
//  3. The patient is read from the FHIR server and edited byte for byte
//     (update.go). If it shows the values already nothing is sent: APPLIED.
//  4. SendUpdate commits SENT with the Put, and PENDING on the cached row, before
//     the first byte leaves. Whenever the process dies from here on, the cache
//     does not claim to be the truth.
//  5. The PUT leaves, with If-Match where the server has versions. Its answer is
//     Heard. Unless nothing can have left, or the answer shows the version that
//     the PUT made, the patient is read again (look.go): the Sight.
//  6. judge.Decide rules: the update ends, or is UNKNOWN, or the writer looks
//     again, sends the same PUT again, or makes another of what is there now; three
//     PUTs at most (timing.go). The same value in another form is the value
//     (fhir.SameValue): the Outcome names it as normalized.
//  7. CloseUpdate writes the end, in one transaction with the cached row, which
//     follows what the server showed or keeps its values (ending.go), and is
//     SYNCED again if no other update of the patient is open. If the database
//     fails here the caller hears the truth all the same, with PENDING, and the
//     end is written as soon as the database takes it.
//
// # The states of an update
//
// ACCEPTED: it holds its patient, nothing has left. SENT: it holds its patient,
// its PUT may have left. UNKNOWN: its PUT may still take effect; it holds the
// patient no longer. Others may write where If-Match keeps the two apart; where
// nothing does (a server without versions) they are told to come back. APPLIED,
// REJECTED, CONFLICT and NOT_APPLIED are ends. db/journal.go has every transition
// in a table.
//
// # What is left open
//
// The reconciler (reconcile.go) runs in every process, at start and every two
// seconds. It claims updates whose lease ran out: their process died, or they
// are UNKNOWN and it is time to look again. ACCEPTED ends as NOT_APPLIED. Of the
// others it reads the patient and asks the same judge.Decide, but sends nothing
// again. A PUT leaves within three quarters of FHIR_TIMEOUT, or not at all. It may
// be under way until the settle window is over (twice FHIR_TIMEOUT, on OpenEMR eight
// times, at least 20 s; not before it is known what kind of server it is). If the
// reconciler cannot know, it leaves the update UNKNOWN and looks again later.
//
// A process that only stood still (a lease is 10 s, timing.go) finds its lease gone
// and writes nothing. If it knows more (its PUT did land) it tells its caller so
// and reopens the update: NOT_APPLIED becomes UNKNOWN, and the next look corrects
// the record.
//
// While the FHIR server is silent the circuit (circuit.go) refuses writes at once,
// but for one at a time that tries it.
package writethrough
