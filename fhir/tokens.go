package fhir

import (
	"context"
	"strings"
	"sync"
	"time"
)

// Pauses after a failure, which double each time: a dead authorization server is
// not asked for every request, and an account is not locked by our trying.
const (
	firstPause              = time.Second
	longestPause            = 30 * time.Second // while it cannot be asked
	firstAuthRefusal        = 5 * time.Second
	longestAuthRefusal      = 5 * time.Minute // while it refuses us
	longestSuccessorRefusal = time.Minute     // while the FHIR server refuses what it issues
)

// tokens are credentials from an authorization server: one access token for all
// requests. One is asked for at a time, whoever waits for it or leaves.
type tokens struct {
	fetch   func(ctx context.Context, refused string) (accessToken, *Error) // another one than refused
	timeout time.Duration
	now     func() time.Time

	mu       sync.Mutex
	held     accessToken
	fetching *fetching // nil: none is asked for

	failure  *Error // of the last fetch; nil: it succeeded
	failures int
	askFrom  time.Time // no earlier after a failure

	successorsRefused    int // how many in a row the FHIR server refused that took the place of a refused one
	lastSuccessorRefused string
	renewFrom            time.Time // no earlier for a refusal by the FHIR server

	running sync.WaitGroup
}

type fetching struct {
	done  chan struct{}
	token accessToken // once done
	err   *Error
}

func (t *tokens) get(ctx context.Context, refused string) (string, *Error) {
	token, err := t.token(ctx, strings.TrimPrefix(refused, "Bearer "))
	if token == "" {
		return "", err
	}
	return "Bearer " + token, nil
}

// token returns one other than that which the FHIR server refused; "" if there is no
// other, or one has been refused in its place a moment ago.
func (t *tokens) token(ctx context.Context, refused string) (string, *Error) {
	t.mu.Lock()
	now := t.now()
	if refused != "" && refused == t.held.Value && t.fetching == nil && now.Before(t.renewFrom) {
		t.mu.Unlock()
		return "", nil
	}
	usable := t.held.Value != "" && t.held.Value != refused && !t.held.isOver(now)
	held, f := t.held.Value, t.fetching
	switch {
	case f != nil: // it may end the one that is held
	case usable && t.held.isFresh(now):
		t.mu.Unlock()
		return held, nil
	case now.Before(t.askFrom):
		failed := *t.failure
		failed.RetryAfter = max(t.askFrom.Sub(now), time.Second)
		t.mu.Unlock()
		if usable {
			return held, nil
		}
		return "", &failed
	default:
		f = t.start(refused)
	}
	t.mu.Unlock()
	select {
	case <-f.done:
	case <-ctx.Done():
		return "", tooLate(ctx.Err())
	}
	switch {
	case f.err != nil && usable:
		return held, nil
	case f.err != nil:
		return "", f.err
	case f.token.Value == refused:
		return "", nil
	}
	return f.token.Value, nil
}

func tooLate(err error) *Error {
	reason, timeout, _ := cause(err, false)
	e := noToken(NotSent, "the authorization server has not answered: %s", reason)
	e.Timeout, e.Err, e.RetryAfter = timeout, err, firstPause
	return e
}

// start asks for a token, for all who want one. The caller holds the lock.
func (t *tokens) start(refused string) *fetching {
	f := &fetching{done: make(chan struct{})}
	t.fetching = f
	t.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), t.timeout) // of no caller: others wait too
		defer cancel()
		token, err := t.fetch(ctx, refused)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fetching = nil
		if err == nil {
			t.held, t.failure, t.failures, t.askFrom = token, nil, 0, time.Time{}
		} else {
			first, longest := firstPause, longestPause
			if err.Kind == AuthFailed {
				first, longest = firstAuthRefusal, longestAuthRefusal
			}
			pause := max(doubled(first, longest, t.failures), min(err.RetryAfter, longestAuthRefusal))
			t.failures++
			clone := *err
			clone.RetryAfter = pause
			err = &clone
			t.failure, t.askFrom = err, t.now().Add(pause)
		}
		f.token, f.err = token, err
		close(f.done)
	})
	return f
}

func doubled(first, longest time.Duration, times int) time.Duration {
	return min(first<<min(times, 16), longest)
}

func (t *tokens) noteTaken(value string, taken bool) {
	token := strings.TrimPrefix(value, "Bearer ")
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case taken:
		t.successorsRefused = 0
	case t.held.Value == token && t.lastSuccessorRefused != token: // once for all requests that had it
		t.renewFrom = t.now().Add(doubled(firstPause, longestSuccessorRefusal, t.successorsRefused))
		t.successorsRefused++
		t.lastSuccessorRefused = token
	}
}

// scope is what the token in use allows; "": nobody said.
func (t *tokens) scope() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held.Scope
}

// close waits for the request under way: a refresh token that was used must not be
// lost with its successor.
func (t *tokens) close() { t.running.Wait() }
