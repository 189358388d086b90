// Package mirror owns bringing what the FHIR server has into the cache, and measuring
// whether the cache is so. It must not know GraphQL or who the caller is, and it never
// writes to FHIR.
//
// One process at a time leads: it follows the server, and holds a lease in the database
// (Run), or takes it for the time of a command (Once). It does three things beside each other:
//
//   - poll: take what the server shows as changed since the last poll, and a little before
//     (poll.go; from when: progress.go). That a poll has come to its end is the look that
//     makes rows SYNCED: they were seen when it began.
//   - wide poll: the same from further back, for what became visible late (wide.go).
//   - sweep: go through all patients, page by page (sweep.go). The first one fills the cache.
//     A later one finds what the changes did not show, and who is missing: each of those is
//     asked for, and gone only if the server says so of him.
//
// What an answer shows goes to the cache as a batch (fill.go), which knows from before it was
// asked for how far the cache was (db.Fill.Mark). db.Store.FillPatients leaves alone what was
// written since, and notes it as unseen: the next poll reads these patients one by one
// (unseen.go). So it does those whose rows are locked, or who cannot be used and have no row
// (remember.go).
//
// Files are taken by Import (import.go, bundle.go, source.go, json.go, looks.go) under rules
// of their own, for a file may be old. Verifier compares rows with the server and changes
// nothing (verify.go); Sampler does so all the time, one row after the other (sampler.go).
package mirror
