// Package judge decides what became of a PUT to the FHIR server, and what comes
// next. It is pure: it does no I/O, keeps no state and knows neither the journal
// nor the cache, nor who asks. Package writethrough collects what is known of
// the PUT (a Case) and does what the Ruling says.
//
// A status code alone never decides. The server may say OK and save nothing,
// refuse and have saved, or not answer at all. So what it shows afterwards is
// read (a Sight), and three questions are answered of it:
//
//   - Fate: do its data show the values of the PUT, those of before, or others?
//   - Can anything change that any more? A PUT that named a version (If-Match)
//     can no longer land once the server shows which version followed it. Without
//     versions, or where the history does not tell, the PUT may be under way
//     until the settle window is over.
//   - May it be sent again? Only where it cannot have left, where If-Match keeps
//     it from landing twice, or where it did not land and never will.
//
// Where the answers do not suffice the ruling is UNKNOWN: the reconciler looks
// again later. testdata/rulings.txt shows the ruling for every case.
package judge
