package judge

// Decide says what became of a PUT and what comes next.
func Decide(c Case) Ruling {
	switch {
	case c.When != AtOnce:
		return later(c)
	case c.Heard == NotSent && c.Earlier:
		return Ruling{Next: SendAgain, State: Unknown, Why: WhyNotKnown}
	case c.Heard == NotSent:
		return Ruling{Next: MergeAgain, State: NotApplied, Why: WhyNotSent}
	case c.Heard == Shown && c.Read != Seen:
		return unknown(c, WhyNotShown)
	case c.Heard == Shown && c.Fate == Landed:
		return Ruling{State: Applied, Follow: true, Fence: true} // of other PUTs the reconciler finds the fate
	case c.Heard == Shown:
		return rejected(WhyNotSaved)
	case c.Heard == Created && c.Read == Seen:
		return Ruling{State: Rejected, Why: WhyDeleted, Follow: true, Alarm: true}
	case c.Heard == Created:
		return Ruling{State: Unknown, Why: WhyDeleted, Gone: true, Alarm: true}
	case c.Heard == OK || c.Heard == Unchanged:
		return saidOK(c)
	case c.Heard == Nothing || c.Earlier: // the answer was about the second sending, the first is open
		return lost(c)
	}
	return refused(c)
}

// saidOK: the PUT may have taken effect as something else. So it is never sent
// again, and an OK of which nothing is seen is told as such.
func saidOK(c Case) Ruling {
	notYet := Ruling{Next: LookAgain, State: Unknown, Why: WhyNotShown}
	moved := c.Versions && c.Moved
	switch {
	case c.Read != Seen:
		return unknown(c, WhyNotShown)
	case c.Fate == Alike && c.Earlier && !moved: // an earlier one may still land
		return notYet
	case c.Fate == Alike && c.Heard == OK && !moved: // it may be a read that lags behind
		return Ruling{Next: LookAgain, State: Applied, Follow: true}
	case c.Fate == Alike, !moved && c.Fate == Landed:
		return applied()
	case !moved && c.Heard == Unchanged && !c.Earlier: // an earlier one may still land
		return rejected(WhyNotSaved)
	case !moved, !c.sure(): // the answer may have been an echo, or the read may lag behind
		return notYet
	case c.Fate == Absent:
		return rejected(WhyIgnored)
	}
	return byFate(c)
}

// lost: nobody knows what became of the PUT, but by what is seen.
func lost(c Case) Ruling {
	switch {
	case c.Read != Seen:
		return unknown(c, WhyNotKnown)
	case c.sure() && c.Fate == Absent: // another version followed: it cannot land any more
		return mergeAgain(c)
	case c.sure() && c.Fate != Alike:
		return byFate(c)
	case c.Fate == Alike && c.Versions && c.Moved: // it cannot land any more, and the values are there
		return applied()
	case c.Versions && !c.Moved && (c.Heard == Nothing || c.Heard == Busy) && !c.Wait: // If-Match keeps it from landing twice
		return Ruling{Next: SendAgain, State: Unknown, Why: WhyNotKnown}
	}
	return unknown(c, WhyNotKnown)
}

// refused: the refusal holds, unless it is seen that the PUT took effect all the
// same: what stands between may have sent it twice, or put its own answer in the
// place of the server's. A conflict is one only if the patient changed: HAPI's
// repository validation answers 412 to a bad value. A server that is busy is tried
// again, with what is there then.
func refused(c Case) Ruling {
	conflict := c.Heard == Conflict || c.Heard == Busy
	noHistory := c.History == Unanswered || c.History == Failing && !conflict // a conflict needs none: what is there is merged again
	switch {
	case c.Read == SeenGone:
		return Ruling{State: Rejected, Why: WhyGone}
	case c.Read == SeenDenied && c.Heard == Denied:
		return Ruling{State: NotApplied, Why: WhyDenied}
	case c.Read == SeenDenied && c.Heard == Forbidden:
		return Ruling{State: Rejected, Why: WhyForbidden}
	case c.Read != Seen, noHistory && !c.sure():
		return unknown(c, WhyNotKnown)
	case c.Fate == Recreated:
		return byFate(c)
	case (c.Fate == Landed || c.Fate == Overwritten) && !(conflict && c.Outdated && c.ByOthers):
		return byFate(c)
	case c.Fate == Partly && !conflict:
		return byFate(c)
	case c.Fate == Altered && c.Heard == Denied && c.Moved: // it may be what the server made of ours
		return byFate(c)
	case conflict && c.Moved:
		return mergeAgain(c)
	case c.Heard == Busy && c.Fate != Absent && c.Fate != Alike:
		return unknown(c, WhyNotKnown)
	case c.Heard == Busy && c.Wait:
		return Ruling{State: NotApplied, Why: WhyBusy}
	case c.Heard == Busy:
		return Ruling{Next: MergeAgain, State: NotApplied, Why: WhyBusy}
	}
	r := Ruling{State: Rejected, Why: WhyRefused, Follow: c.Moved}
	switch c.Heard {
	case Gone:
		r.Why = WhyGone
	case Forbidden:
		r.Why = WhyForbidden
	case Denied:
		r.State, r.Why = NotApplied, WhyDenied
	}
	return r
}

// later: nobody waits, and nothing is sent again.
func later(c Case) Ruling {
	saidOK := c.Heard == OK || c.Heard == Unchanged
	there := c.Fate == Landed || c.Fate == Overwritten
	// Where nothing was heard the values that are there are no failure, once the PUT
	// cannot land any more; but a version that stays shows that nothing was written.
	moved, over := c.Versions && c.Moved, c.When != Early
	alike := c.Fate == Alike && (moved || over) && (saidOK || c.Heard == Nothing && (moved || !c.Versions))
	noHistory := c.History == Failing || c.History == Unanswered
	switch {
	case c.Heard == Created && (c.Read == Seen || c.Read == SeenGone):
		return Ruling{State: Rejected, Why: WhyDeleted, Follow: c.Read == Seen}
	case c.Read == SeenGone && c.When != Early:
		return Ruling{State: Rejected, Why: WhyGone}
	case c.Read != Seen:
		return unknown(c, WhyNotKnown)
	case there && c.WasGone && c.History == Told: // it was not: ours followed directly
		return byFate(c)
	case there && c.WasGone && noHistory && c.When != VeryLate:
		return unknown(c, WhyNotKnown)
	case (there || alike) && c.WasGone: // it shows our values again
		return Ruling{State: Rejected, Why: WhyDeleted, Follow: true, Alarm: true}
	case alike:
		return applied()
	case !c.sure() && (c.When == Early || noHistory && c.When == Late):
		return unknown(c, WhyNotKnown)
	case c.Fate == Absent && saidOK:
		return rejected(WhyIgnored)
	case c.Fate == Absent || c.Fate == Alike:
		return Ruling{State: NotApplied, Why: WhyNeverTookEffect, Follow: true}
	}
	return byFate(c)
}

// byFate ends an update whose values were seen, or others in their place.
func byFate(c Case) Ruling {
	switch c.Fate {
	case Landed:
		return applied()
	case Overwritten:
		return Ruling{State: Applied, Follow: true, ShowFollowed: true}
	case Recreated:
		return Ruling{State: Rejected, Why: WhyDeleted, Follow: true, Gone: true, Alarm: true}
	case Partly, Altered:
		return rejected(WhyNotSaved)
	}
	return unknown(c, WhyNotKnown)
}

// mergeAgain: the PUT did not land and never will, and others have written.
func mergeAgain(c Case) Ruling {
	r := Ruling{Next: MergeAgain, State: Conflicting, Why: WhyConflict, Follow: true}
	if c.Outdated {
		r.Next = End
	}
	return r
}

func applied() Ruling { return Ruling{State: Applied, Follow: true} }

func rejected(why Why) Ruling { return Ruling{State: Rejected, Why: why, Follow: true} }

func unknown(c Case, why Why) Ruling {
	return Ruling{State: Unknown, Why: why, Gone: c.Read == SeenGone}
}
