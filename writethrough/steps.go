package writethrough

// The steps at which the crash test kills the process.
const (
	stepBeforeAccepted = "before-accepted"
	stepAfterAccepted  = "after-accepted"
	stepBeforeSent     = "before-sent"
	stepAfterSent      = "after-sent"
	stepPutLeft        = "put-left"
	stepAnswerCame     = "answer-came"
	stepBeforeCommit   = "before-commit"
	stepAfterCommit    = "after-commit"
	stepBeforeSettled  = "before-settled"
	stepAfterSettled   = "after-settled"
)
