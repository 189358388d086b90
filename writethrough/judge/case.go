package judge

// Heard says how the FHIR server answered a PUT. The journal keeps it. The
// statuses are the usual ones: package fhir sorts an answer by what it means.
type Heard string

// The answers.
const (
	Nothing   Heard = ""          // none that can be trusted: reset, timeout, 408, 5xx, a 2xx with a body that is no FHIR
	NotSent   Heard = "NOT_SENT"  // no byte has left: connection refused, TLS, DNS
	Shown     Heard = "SHOWN"     // 200 with the patient in a new version: what the PUT made, with the values or not
	OK        Heard = "OK"        // 200 without a new version: no body, an OperationOutcome, no ETag
	Unchanged Heard = "UNCHANGED" // 200 whose own answer shows the version of before, or lacks the values and has no version
	Created   Heard = "CREATED"   // 201: the patient was gone, and the PUT made it anew
	Conflict  Heard = "CONFLICT"  // 409, 412, 423 that name a value
	Busy      Heard = "BUSY"      // 409, 412, 423 that name none: a lock, a race, an empty body, a page, XML, JSON of no known form
	Refused   Heard = "REFUSED"   // the values were refused: 400, 422 and other 4xx
	Gone      Heard = "GONE"      // it does not have this patient any more: 410, and a 404 that says so
	Forbidden Heard = "FORBIDDEN" // 403: refused for this patient or this request
	Denied    Heard = "DENIED"    // our credentials were refused, or our rate: 401, 429, a 403 that speaks of the token or meets all patients
)

// Read says how the read after a PUT went.
type Read string

// The reads.
const (
	Unread     Read = "failed"
	Seen       Read = "seen"
	SeenGone   Read = "gone"   // the server says that it does not have this patient any more
	SeenDenied Read = "denied" // it refuses our credentials just as it refused the PUT
)

// History says what the server's history could tell of the version that
// followed the one that the PUT named.
type History string

// The histories.
const (
	Silent     History = "silent"     // nothing: there is none, the version has not moved, or a deletion followed
	Told       History = "told"       // which version it was, and what it shows
	Failing    History = "failing"    // the server answers with a failure
	Unanswered History = "unanswered" // it does not answer
)

// Fate is what the server's data say of a PUT.
type Fate string

// The fates.
const (
	NotSeen     Fate = ""            // nothing was read
	Landed      Fate = "landed"      // its values are there, in whatever form
	Alike       Fate = "alike"       // all shows what was there before, which is a form of its values: nobody can tell
	Overwritten Fate = "overwritten" // its values were there in the version that followed, and are not any more
	Absent      Fate = "absent"      // what it was to change shows what was there before
	Partly      Fate = "partly"      // some of what it was to change shows its values
	Altered     Fate = "altered"     // what it was to change shows neither: perhaps what the server made of it
	Recreated   Fate = "recreated"   // its values are there, in a patient that was deleted before it came
)

// When says who asks, and how long ago the PUT left.
type When string

// The times.
const (
	AtOnce   When = "at once"   // the writer, whose caller waits; it may send again
	Early    When = "early"     // the reconciler, within the settle window: the PUT may be under way
	Late     When = "late"      // the reconciler, after it: the PUT has landed or never will
	VeryLate When = "very late" // the reconciler, after ten windows: a history that still cannot be read does not count
)

// Case is what is known of a PUT: how it was answered, and what of a Sight
// matters. Every field has few values, so that a test can try all.
type Case struct {
	When     When
	Heard    Heard
	Earlier  bool // the same PUT was sent before (SendAgain), and the fate of that is open
	Read     Read
	Fate     Fate
	Versions bool // the server keeps versions: the PUT named one in If-Match
	Moved    bool // what is there is not what the PUT was based on: by its version, or by its bytes where there is none
	History  History
	Outdated bool // the caller named a version, and fields to change have changed since
	ByOthers bool // the version that followed, told by the history, differs from the one that the PUT makes, be it in a name
	Wait     bool // the server said when to come back (Retry-After)
	WasGone  bool // a look since the PUT heard that the patient is gone, see Ruling.Gone
}

// sure reports whether nothing can change the fate any more.
func (c Case) sure() bool {
	return c.History == Told || c.Fate == Landed || c.Fate == Overwritten || c.Fate == Recreated
}

// State is how an update stands; the words are the journal's.
type State string

// The states that a ruling can lead to.
const (
	Applied     State = "APPLIED"
	Rejected    State = "REJECTED"
	Conflicting State = "CONFLICT"
	NotApplied  State = "NOT_APPLIED"
	Unknown     State = "UNKNOWN" // the reconciler looks again
)

// Next is what the writer does before the update ends. It has three looks at an
// OK, and three PUTs, those that were not sent included; a version that has moved
// by the next PUT is judged first.
type Next string

// The steps.
const (
	End        Next = ""
	LookAgain  Next = "look again"  // read once more in a moment
	SendAgain  Next = "send again"  // the same PUT, unless the version has moved by then
	MergeAgain Next = "merge again" // this PUT never took effect: make another of what is there now
)

// Why says what the caller is told.
type Why string

// The reasons.
const (
	WhyApplied         Why = ""
	WhyNotSaved        Why = "not saved"         // these fields do not show their values
	WhyIgnored         Why = "ignored"           // the server said OK, and nothing took effect
	WhyRefused         Why = "refused"           // in the server's own words
	WhyGone            Why = "patient gone"      // the server does not have this patient any more
	WhyDeleted         Why = "deleted before"    // the PUT made the patient anew
	WhyForbidden       Why = "forbidden"         // for this patient or this request
	WhyDenied          Why = "denied"            // our credentials or our rate
	WhyBusy            Why = "busy"              // the server did not take it now, whatever it holds
	WhyNotSent         Why = "not sent"          // the server could not be reached
	WhyNeverTookEffect Why = "never took effect" // the PUT left, and did not land
	WhyConflict        Why = "conflict"          // somebody else changed the record
	WhyNotKnown        Why = "not known"         // the answer was lost
	WhyNotShown        Why = "said OK"           // the server said OK, and does not show the values yet
)

// Ruling is what follows from a Case.
type Ruling struct {
	Next         Next
	State        State // how the update ends where Next is End, or where its tries or the time are used up
	Why          Why
	Follow       bool // the cache follows what was seen; else it keeps its values. PENDING goes with either, but for Unknown
	ShowFollowed bool // the caller is told the version that followed, not what is there now
	Fence        bool // no other PUT that named the same version can land
	Gone         bool // remember that the server said that the patient is gone
	Alarm        bool // a PUT made a patient anew: somebody must look at it
}

// String says a ruling in a line.
func (r Ruling) String() string {
	text := string(r.State)
	if r.Why != WhyApplied {
		text += " (" + string(r.Why) + ")"
	}
	if r.Next != End {
		text = string(r.Next) + ", else " + text
	}
	for _, also := range []struct {
		does bool
		what string
	}{
		{r.Follow, "the cache follows"}, {r.ShowFollowed, "the caller is shown the version that followed"},
		{r.Fence, "no other PUT of that version can land"}, {r.Gone, "remember that it was gone"}, {r.Alarm, "ALARM"},
	} {
		if also.does {
			text += "; " + also.what
		}
	}
	return text
}
