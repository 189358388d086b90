package fhir

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"time"
)

// TokenStore keeps the tokens that all replicas share. It is told nothing of what
// it keeps. A change of it ends by itself, as all of the database's do: no context ends it.
type TokenStore interface {
	// LoadFHIRToken returns what was saved last, and its version; nil and 0:
	// nothing yet.
	LoadFHIRToken(ctx context.Context, id string) (sealed []byte, version int64, err error)
	// LeaseFHIRToken reports whether the owner, and nobody else, may ask for tokens
	// for so long.
	LeaseFHIRToken(id, owner string, lease time.Duration) (bool, error)
	// SaveFHIRToken keeps what follows a version, durably, and ends the lease. It
	// reports false if another version is there.
	SaveFHIRToken(id string, sealed []byte, version int64) (bool, error)
	// ReleaseFHIRToken ends the lease.
	ReleaseFHIRToken(id, owner string) error
}

// shared asks for tokens with a refresh token that is used up each time, for all
// replicas: where a refresh ends the access token before it (OpenEMR), they must
// have the same. The new tokens are kept before they are used. What is kept is
// encrypted (AES-256-GCM) with a key from FHIR_REFRESH_TOKEN, the first of the
// chain, which is then of no other use; another value there begins another chain.
type shared struct {
	endpoint  *endpoint
	store     TokenStore
	first     string
	id, owner string
	seal      cipher.AEAD
	lease     time.Duration
	poll      time.Duration

	unsaved *kept // got, and not kept yet
}

// kept is a version of the tokens.
type kept struct {
	token   accessToken
	version int64 // of what it follows
}

// leaseGrace is what a lease lasts longer than a request may.
const leaseGrace = 10 * time.Second

func newShared(e *endpoint, store TokenStore) (*shared, error) {
	s := &shared{endpoint: e, store: store, first: e.auth.RefreshToken, owner: rand.Text(), lease: e.timeout + leaseGrace, poll: 50 * time.Millisecond}
	id, err := hkdf.Key(sha256.New, []byte(s.first), nil, "patientgraph FHIR token: id", 16)
	if err != nil {
		return nil, err
	}
	s.id = hex.EncodeToString(id)
	key, err := hkdf.Key(sha256.New, []byte(s.first), nil, "patientgraph FHIR token: key", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s.seal, err = cipher.NewGCMWithRandomNonce(block)
	return s, err
}

// fetch returns the tokens that another replica has got meanwhile, or asks for new
// ones while the others wait.
func (s *shared) fetch(ctx context.Context, refused string) (accessToken, *Error) {
	if s.store == nil {
		return accessToken{}, noToken(NotSent, "no database keeps the tokens of FHIR_AUTH=refresh_token")
	}
	if s.unsaved != nil {
		if t, err := s.keep(ctx); err != nil || t.Value != refused {
			return t, err
		}
	}
	for {
		now, err := s.load(ctx)
		if err != nil {
			return accessToken{}, err
		}
		if s.isUseful(now.token, refused) {
			return now.token, nil
		}
		leased, failed := s.store.LeaseFHIRToken(s.id, s.owner, s.lease)
		if failed != nil {
			return accessToken{}, databaseFailed(failed)
		}
		if leased {
			t, again, err := s.refresh(ctx, refused)
			if !again {
				return t, err
			}
		}
		select {
		case <-ctx.Done():
			return accessToken{}, noToken(NotSent, "another replica is asking the authorization server, and has not ended")
		case <-time.After(s.poll):
		}
	}
}

func (s *shared) isUseful(t accessToken, refused string) bool {
	return t.Value != refused && t.isFresh(s.endpoint.now())
}

// refresh asks for tokens under the lease. again: somebody else was faster.
func (s *shared) refresh(ctx context.Context, refused string) (t accessToken, again bool, err *Error) {
	saved := false
	defer func() {
		if !saved && s.unsaved == nil {
			_ = s.store.ReleaseFHIRToken(s.id, s.owner) // else it runs out
		}
	}()
	now, err := s.load(ctx) // once more: the lease may have passed from another to us
	if err != nil || s.isUseful(now.token, refused) {
		return now.token, false, err
	}
	t, err = s.endpoint.grant(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {now.token.Refresh}})
	if err != nil {
		if err.Kind == AuthFailed { // a replica that stood still may have used it up before
			if then, failed := s.load(ctx); failed == nil && then.version != now.version {
				return t, true, nil
			}
		}
		return t, false, err
	}
	if t.Refresh == "" {
		t.Refresh = now.token.Refresh
	}
	s.unsaved = &kept{t, now.version}
	t, err = s.keep(ctx)
	saved = err == nil
	return t, false, err
}

// keep saves what was got, before anybody uses it. While the database fails it is
// tried again: the refresh token before it is used up.
func (s *shared) keep(ctx context.Context) (accessToken, *Error) {
	u := s.unsaved
	text, err := json.Marshal(u.token)
	if err != nil {
		return accessToken{}, databaseFailed(err)
	}
	sealed := s.seal.Seal(nil, nil, text, []byte(s.id))
	for {
		saved, err := s.store.SaveFHIRToken(s.id, sealed, u.version)
		switch {
		case err == nil && saved:
			s.unsaved = nil
			return u.token, nil
		case err == nil: // another replica has, or ours is in and we were not told
			s.unsaved = nil
			now, failed := s.load(ctx)
			return now.token, failed
		}
		select {
		case <-ctx.Done():
			return accessToken{}, databaseFailed(err)
		case <-time.After(s.poll):
		}
	}
}

func (s *shared) load(ctx context.Context) (kept, *Error) {
	sealed, version, err := s.store.LoadFHIRToken(ctx, s.id)
	if err != nil {
		return kept{}, databaseFailed(err)
	}
	now := kept{accessToken{Refresh: s.first}, version}
	if len(sealed) == 0 {
		return now, nil
	}
	text, err := s.seal.Open(nil, nil, sealed, []byte(s.id))
	if err == nil {
		err = json.Unmarshal(text, &now.token)
	}
	if err != nil {
		return now, noToken(NotSent, "the tokens in the database cannot be decrypted; set a new FHIR_REFRESH_TOKEN")
	}
	return now, nil
}

// databaseFailed keeps what a store says that is an *Error itself.
func databaseFailed(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	e = noToken(NotSent, "the database that keeps the tokens failed")
	e.Err = err
	return e
}
