package fhir

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"
)

// Versioning says whether a server's versions can guard a PUT by If-Match.
type Versioning int

const (
	// VersionsAsShown: where a read names a version, there are versions.
	VersionsAsShown Versioning = iota
	// VersionsAlways: a read that names none was changed on its way; a PUT after it
	// would be unguarded.
	VersionsAlways
	// VersionsNever: what it shows as a version never changes, or If-Match is ignored.
	VersionsNever
)

// Profile is how a kind of FHIR server takes a change of a Patient. What all kinds
// have in common, such as what their errors mean (sort.go), is in no profile.
type Profile struct {
	Name       string // as FHIR_SERVER names it, where it can be set
	Versioning Versioning

	// ReadsBack: the answer to a PUT is the record as it was read again once it was
	// stored, so values in it are saved. It may hold what somebody else has written
	// since.
	ReadsBack bool

	// SettleTimeouts is how many times the timeout a PUT may take until it takes effect,
	// from when it was about to leave; 0: twice.
	SettleTimeouts int

	Limits []string // what it cannot do beside, in sentences for an operator

	partial       bool // a PUT holds only what changes: another kind of server would lose the rest
	pagesByOffset bool // a page of a search has no next link; _offset leads on
	countHidesAll bool // a search with _count may show nobody, and without it shows everybody

	methods []method // by which changes may be found, the best first; nil: all that FHIR has

	edit  func(body []byte, e ContactEdit, now time.Time, region string) (Edited, error)
	strip func(body []byte) []byte // takes out of a Patient what is no content; nil: nothing
}

// Edited is a Patient with a change made.
type Edited struct {
	Record []byte // the Patient as it is to be; the very body that was edited: nothing changes
	Body   []byte // of the PUT that makes it so: the Record, or as much of it as the server is to be sent
	Doubts Doubts // what was left although it may describe an old value
}

// Edit makes a contact edit of the body of a read. An error of kind CannotApply says
// what the server is known to be unable to store.
func (p *Profile) Edit(body []byte, e ContactEdit, now time.Time, region string) (Edited, error) {
	return p.edit(body, e, now, region)
}

// editWhole is for servers that replace the record by what they are sent.
func editWhole(body []byte, e ContactEdit, now time.Time, region string) (Edited, error) {
	record, doubts, err := EditContact(body, e, now, region)
	return Edited{Record: record, Body: record, Doubts: doubts}, err
}

// show returns a resource as the profile lets it be seen.
func (p *Profile) show(r Resource) Resource {
	r.Profile = p
	if p.Versioning == VersionsNever {
		r.ETag = ""
	}
	if p.strip != nil && r.JSON != nil {
		r.JSON = p.strip(r.JSON)
	}
	return r
}

// profiles are those that FHIR_SERVER names.
var profiles = []*Profile{r4, hapi, openEMR}

// Servers are the values of Options.Server: auto, then the names of profiles.
func Servers() []string {
	names := []string{"auto"}
	for _, p := range profiles {
		names = append(names, p.Name)
	}
	return names
}

// Chosen is a profile, and why it was.
type Chosen struct {
	*Profile
	Why   string
	named bool // the server's own name bears it out
}

// chooser finds the profile of a server, once for all clients of it.
type chooser struct {
	set    *Profile // as FHIR_SERVER says; nil: auto
	chosen atomic.Pointer[Chosen]
	asking chan struct{} // holds one: who asks the server
}

// newChooser takes the profile of that name; with "auto" the server is asked when it
// is first needed.
func newChooser(server string) (*chooser, error) {
	c := &chooser{asking: make(chan struct{}, 1)}
	switch server {
	case "auto":
		return c, nil
	case "":
		server = r4.Name
	}
	for _, p := range profiles {
		if p.Name == server {
			if c.set = p; !p.partial {
				c.chosen.Store(c.asSet())
			}
			return c, nil
		}
	}
	return nil, errors.New("FHIR_SERVER: no such kind of server is known")
}

func (c *chooser) asSet() *Chosen {
	return &Chosen{Profile: c.set, Why: "FHIR_SERVER=" + c.set.Name}
}

// current is the profile, as far as it is known.
func (c *chooser) current() *Profile {
	if chosen := c.chosen.Load(); chosen != nil {
		return chosen.Profile
	}
	return cmp.Or(c.set, r4)
}

// learn chooses by what the server says of itself, unless it was said to us. But a
// server that names itself otherwise is sent no partial record, for it would lose the
// rest, and an OpenEMR no whole one.
func (c *chooser) learn(caps Capabilities) (Chosen, error) {
	if chosen := c.chosen.Load(); chosen != nil && c.set == nil {
		return *chosen, nil
	}
	chosen := choose(caps)
	if c.set != nil {
		if caps.SoftwareName != "" && chosen.partial != c.set.partial {
			c.chosen.Store(nil) // it is asked again, until one of the two is put right
			harm := "fails over a whole record, or changes more than was asked"
			if c.set.partial {
				harm = "would lose what such a PUT leaves out"
			}
			reason := "FHIR_SERVER=" + c.set.Name + ", but the FHIR server names itself " + caps.SoftwareName + ", which " + harm + "; set FHIR_SERVER=auto"
			return Chosen{}, &Error{Kind: NotSent, Op: OpCapabilities, Reason: reason, Cause: OtherServer, NotAsked: true}
		}
		named := caps.SoftwareName != ""
		chosen = *c.asSet()
		chosen.named = named
	}
	c.chosen.Store(&chosen)
	return chosen, nil
}

// check refuses a Patient that is not of the kind of server that was chosen: a partial
// PUT would lose the rest of a record of another kind, and OpenEMR, which a bad or
// hidden /metadata may have hidden too, fails over a whole one or changes more.
func (c *Client) check(chosen Chosen, a answer) error {
	versioned := a.header.Get("ETag") != "" || str(member(a.doc, "meta"), "versionId") != "1"
	openEMRs := !versioned && (openEMRPath.MatchString(c.base.Path) || hasOpenEMRNumber(a.doc))
	reason := ""
	switch {
	case chosen.partial && (versioned || !chosen.named && !openEMRs):
		reason = "this patient does not look like one of OpenEMR, and another server would lose what is not sent to it; set FHIR_SERVER to r4 or hapi"
	case !chosen.partial && openEMRs:
		reason = "this patient looks like one of OpenEMR, which fails over a whole record or changes more than was asked; set FHIR_SERVER=openemr"
	default:
		return nil
	}
	if c.chooser.set == nil {
		c.chooser.chosen.Store(nil) // what it says of itself may be better by now
	}
	return &Error{Kind: NotSent, Op: a.op, NotAsked: true, Reason: "FHIR profile " + chosen.Name + " (" + chosen.Why + "), but " + reason}
}

// Profile returns how this server is written to. If that was not said, and is not
// known yet, the server is asked what it is; an error means that it could not be, or
// that it is not what FHIR_SERVER says.
func (c *Client) Profile(ctx context.Context) (Chosen, error) {
	if chosen := c.chooser.chosen.Load(); chosen != nil {
		return *chosen, nil
	}
	select {
	case c.chooser.asking <- struct{}{}:
		defer func() { <-c.chooser.asking }()
	case <-ctx.Done():
		return Chosen{}, &Error{Kind: NotSent, Op: OpCapabilities, Reason: "Connection timeout", Timeout: true, NotAsked: true, Err: ctx.Err()}
	}
	if chosen := c.chooser.chosen.Load(); chosen != nil {
		return *chosen, nil
	}
	caps, err := c.introduction(ctx)
	var e *Error
	switch {
	case err == nil:
		return c.chooser.learn(caps)
	case !errors.As(err, &e), e.Kind == NotSent, e.Kind == Lost, e.Kind == AuthFailed, e.Kind == RateLimited, e.Kind == Busy:
		return Chosen{}, err
	}
	// It answers, and says nothing of itself.
	chosen := &Chosen{Profile: r4, Why: "the server shows no CapabilityStatement"}
	if c.chooser.set != nil {
		chosen = c.chooser.asSet()
	}
	if e.Status >= 400 { // a page with 200 in its place may be gone in a moment
		c.chooser.chosen.Store(chosen)
	}
	return *chosen, nil
}

// introduction is what the server says of itself, if it can without a token: one that
// is not needed yet should not be asked for. The connection is not kept.
func (c *Client) introduction(ctx context.Context) (Capabilities, error) {
	once := c.WithConns(1)
	defer once.transport.CloseIdleConnections()
	bound, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	caps, err := readCapabilities(once.send(bound, once.metadata(), ""))
	var e *Error
	if errors.As(err, &e) && (e.Kind == AuthFailed || e.Kind == Forbidden) {
		return once.Capabilities(ctx)
	}
	return caps, err
}

// choose finds a profile by what a server says of itself: its software first, for
// that says most.
func choose(caps Capabilities) Chosen {
	software := strings.ToLower(caps.SoftwareName)
	named := "the CapabilityStatement names the software " + strings.TrimSpace(caps.SoftwareName+" "+caps.SoftwareVersion)
	switch {
	case strings.Contains(software, "openemr"):
		return Chosen{Profile: openEMR, Why: named, named: true}
	case strings.Contains(software, "hapi"):
		return Chosen{Profile: hapi, Why: named, named: true}
	case strings.Contains(software, "medplum"):
		return Chosen{Profile: medplum, Why: named, named: true}
	case caps.Versioning == "no-version":
		return Chosen{Profile: r4NoVersions, Why: "the CapabilityStatement says of Patient: versioning no-version"}
	case caps.Versioning == "versioned-update":
		return Chosen{Profile: r4Strict, Why: "the CapabilityStatement says of Patient: versioning versioned-update"}
	}
	return Chosen{Profile: r4, Why: "the CapabilityStatement names no software that has a profile of its own"}
}
