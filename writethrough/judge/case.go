package judge

// Heard says how the FHIR server answered a PUT. The journal keeps it.
type Heard string

// The answers.
const (
	Nothing   Heard = ""          // none that can be trusted: reset, timeout, 5xx, no FHIR
	NotSent   Heard = "NOT_SENT"  // no byte has left
	Shown     Heard = "SHOWN"     // OK, and it shows the version that the PUT made
	OK        Heard = "OK"        // OK, but the answer shows no new version
	Unchanged Heard = "UNCHANGED" // OK, but the answer itself shows the version of before, or lacks the values
	Created   Heard = "CREATED"   // 201: the patient was gone, and the PUT made it anew
	Conflict  Heard = "CONFLICT"  // 409, 412
	Refused   Heard = "REFUSED"   // the values were refused
	Gone      Heard = "GONE"      // it does not have this patient any more
	Denied    Heard = "DENIED"    // our credentials were refused, or our rate
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
	Landed      Fate = "landed"      // its values are there
	Alike       Fate = "alike"       // its values are there, and were before it; the version has not moved
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

// Case is what is known of a PUT. Every field has few values, so that a test can
// try all.
type Case struct {
	When     When
	Heard    Heard
	Earlier  bool // it was sent before, in the same words, and the fate of that is open
	Read     Read
	Fate     Fate
	Versions bool // the server keeps versions: the PUT named one in If-Match
	Moved    bool // what is there is not what the PUT was based on: by its version, or by its bytes where there is none
	History  History
	Expected bool // the caller named the version that it saw
	ByOthers bool // the version that followed is not the one that the PUT makes
	Wait     bool // the server said when to come back
	WasGone  bool // the server said once since the PUT that the patient is gone
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

// Next is what the writer may do before the update ends.
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
	WhyDenied          Why = "denied"            // our credentials or our rate
	WhyNotSent         Why = "not sent"          // the server could not be reached
	WhyNeverTookEffect Why = "never took effect" // the PUT left, and did not land
	WhyConflict        Why = "conflict"          // somebody else changed the record
	WhyNotKnown        Why = "not known"         // the answer was lost
	WhyNotShown        Why = "said OK"           // the server said OK, and does not show the values yet
)

// Ruling is what follows from a Case.
type Ruling struct {
	Next     Next
	State    State // how the update ends if Next is End, or cannot be done any more
	Why      Why
	Follow   bool // the cache follows what was seen
	TellNext bool // the caller is told the version that followed, not what is there now
	Fence    bool // no other PUT that named the same version can land
	Gone     bool // remember that the server said that the patient is gone
	Alarm    bool // a PUT made a patient anew: somebody must look at it
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
		{r.Follow, "the cache follows"}, {r.TellNext, "the caller is shown the version that followed"},
		{r.Fence, "no other PUT of that version can land"}, {r.Gone, "remember that it was gone"}, {r.Alarm, "ALARM"},
	} {
		if also.does {
			text += "; " + also.what
		}
	}
	return text
}
