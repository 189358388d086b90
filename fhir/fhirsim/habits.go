package fhirsim

import (
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// Styles of Habits.ErrorStyle.
const (
	InDiagnostics = "diagnostics" // OperationOutcome.issue.diagnostics with HAPI's codes
	InDetails     = "details"     // OperationOutcome.issue.details.text
)

// Habits is how a kind of server differs from others, as observed on real
// ones. It is comparable; the zero value stands for HAPI() in Options.
type Habits struct {
	Name         string // software.name of the CapabilityStatement
	Software     string // software.version of the CapabilityStatement
	ErrorStyle   string // InDiagnostics or InDetails; "" is InDiagnostics
	OpenEMR      bool   // of the version Software: nothing below counts
	Versions     bool   // ETag, meta.versionId and _history
	UUIDVersions bool   // version ids are UUIDs, without an order; else 1, 2, 3…
	NoETag       bool   // meta.versionId alone tells the version; If-Match works all the same
	Deletes      bool   // DELETE is offered
	Merges       bool   // Patient/$merge is offered

	StaleIfMatch   int // status of a PUT whose If-Match is not current; 0: ignored, overwrites
	OddIfMatch     int // status for an If-Match that is no number; 0: it is merely not current
	UnknownIfMatch int // status of a PUT with If-Match to an id that does not live; 0: as without
	CreateStatus   int // status of a PUT to an id that does not live; from 400 on nothing is created
	NumericCreate  int // refusal for an id of digits only that never lived; 0: CreateStatus
	GoneStatus     int // status of a GET of a deleted patient: 410 or 404

	DropsUnknown           bool // elements that FHIR does not define vanish with a 200
	IdenticalPutNewVersion bool // a PUT of what is there makes a new version all the same
	MalformedStatus        int  // status of a PUT whose body is no JSON; 0: 400

	ValidatePhone     bool // telecom values of system phone must look like one
	PhoneRejectStatus int  // 422: requests are validated, before the version is; 412: the repository is, after it

	NextLinks    bool          // a Bundle links to its next page; else there is only _count with _offset
	MaxCount     int           // most entries on a page, whatever _count says
	UnknownParam int           // status of a search by an unknown parameter: 400, or 200 and an empty Bundle
	SearchCache  time.Duration // the same search is answered from the last one, unless Cache-Control says no-cache

	SubscriptionStatus int  // refusal of whatever is about a Subscription: 403, 404 or 422; 0: they are taken
	SubscriptionsOff   bool // they are kept, and never become active: HAPI with rest-hooks switched off
}

// HAPI is HAPI FHIR JPA 8.8 with request validation of phone numbers. Unlike
// the real one it keeps unknown elements, so that tests can see what a client
// preserves: set DropsUnknown for the real habit.
func HAPI() Habits {
	return Habits{
		Name: "HAPI FHIR Server", Software: "8.8.0", ErrorStyle: InDiagnostics, Versions: true, Deletes: true, Merges: true,
		StaleIfMatch: http.StatusConflict, OddIfMatch: http.StatusInternalServerError,
		CreateStatus: http.StatusCreated, NumericCreate: http.StatusBadRequest, GoneStatus: http.StatusGone,
		MalformedStatus: http.StatusInternalServerError,
		ValidatePhone:   true, PhoneRejectStatus: http.StatusUnprocessableEntity,
		NextLinks: true, MaxCount: 50, UnknownParam: http.StatusBadRequest, SearchCache: time.Minute,
	}
}

// Medplum is Medplum's FHIR router 5.2.
func Medplum() Habits {
	return Habits{
		Name: "medplum", Software: "5.2", ErrorStyle: InDetails, Versions: true, UUIDVersions: true, Deletes: true,
		StaleIfMatch: http.StatusPreconditionFailed, UnknownIfMatch: http.StatusNotFound,
		CreateStatus: http.StatusOK, GoneStatus: http.StatusNotFound, IdenticalPutNewVersion: true,
		MaxCount: 1000, UnknownParam: http.StatusOK,
	}
}

// PlainR4 is a server that keeps no versions: no ETag, and If-Match is
// ignored. It validates nothing.
func PlainR4() Habits {
	return Habits{
		Name: "Plain R4", Software: "1", ErrorStyle: InDetails, CreateStatus: http.StatusCreated, GoneStatus: http.StatusNotFound,
		IdenticalPutNewVersion: true, NextLinks: true, MaxCount: 100, UnknownParam: http.StatusOK,
		SubscriptionStatus: http.StatusNotFound,
	}
}

// versionSpace makes version ids that are the same in every run.
var versionSpace = uuid.MustParse("6f1c64a2-2a47-4c4e-9d0c-1d3e0a1b5f00")

func (h Habits) versionID(id string, number int) string {
	if h.UUIDVersions {
		return uuid.NewSHA1(versionSpace, []byte(id+"/"+strconv.Itoa(number))).String()
	}
	return strconv.Itoa(number)
}
