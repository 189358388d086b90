package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"patientgraph/db"
	"patientgraph/fhir"
)

// etags reads one patient twice: what stands between may change the ETag of what it
// compresses.
func (e *examination) etags(ctx context.Context, client *fhir.Client) {
	const check = "FHIR ETags"
	if e.some == "" {
		e.add(check, skipped, "no patient to read", "")
		return
	}
	chosen, err := client.Profile(ctx)
	var tags fhir.ETags
	if err == nil {
		tags, err = client.ETags(ctx, e.some)
	}
	switch {
	case err != nil:
		e.add(check, warning, "a patient that the search shows could not be read: "+err.Error(), "")
	case tags.Moved:
		e.add(check, skipped, "the patient changed between two reads; try again", "")
	case tags.Plain == "" && (tags.Version == "" || chosen.Versioning == fhir.VersionsNever):
		e.add(check, limit, "a read shows no ETag: nothing can guard a PUT", "")
	case tags.Plain == "":
		e.add(check, ok, "a read shows no ETag: the version in the record is used instead", "")
	case tags.Compressed == "":
		e.add(check, ok, "what compresses on the way takes the ETag away: we ask for answers that are not compressed", "")
	case tags.Plain != tags.Compressed:
		e.add(check, ok, "what compresses on the way changes the ETag: we ask for answers that are not compressed", "")
	default:
		e.add(check, ok, "the same with and without compression", "")
	}
}

// sampleSize is how many ids of the cache are looked for.
const sampleSize = 5

// cachedIDs looks whether the cache is of this server. It names no patient.
func (e *examination) cachedIDs(ctx context.Context, client *fhir.Client, database *db.Inspection) {
	const check = "cached ids"
	if database == nil {
		e.add(check, skipped, "the database cannot be used", "")
		return
	}
	ids, err := database.SomeFHIRIDs(ctx, sampleSize)
	if err != nil || len(ids) == 0 {
		says := "the cache holds no patient of a FHIR server"
		if err != nil {
			says = "the cache cannot be read: " + err.Error()
		}
		e.add(check, skipped, says, "")
		return
	}
	there, gone := 0, 0
	for _, id := range ids {
		_, failure := client.Read(ctx, id)
		var fault *fhir.Error
		switch {
		case failure == nil:
			there++
		case errors.As(failure, &fault) && fault.Kind == fhir.Gone:
			gone++
		default:
			err = failure
		}
	}
	switch says := fmt.Sprintf("%d of %d patients of the cache are on the FHIR server", there, len(ids)); {
	case gone == len(ids):
		e.add(check, failed, says, "FHIR_BASE_URL or DATABASE_URL is of another system, or these patients were deleted: import again into an empty database")
	case err != nil:
		e.add(check, warning, says+"; "+err.Error(), "")
	case gone > 0:
		e.add(check, warning, says, "import again: the others were deleted there")
	default:
		e.add(check, ok, says, "")
	}
}

// scratchPatient is nobody: marked as a test (HL7 v3 ActReason HTEST) and inactive,
// with extensions to see what a PUT keeps.
const scratchPatient = `{"resourceType":"Patient","id":%q,
"meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"HTEST"}]},
"extension":[{"url":"urn:patientgraph:doctor","valueString":"kept"}],
"active":false,"name":[{"family":"Doctor","given":["PatientGraph"]}],"gender":"other",
"birthDate":"1900-01-01","_birthDate":{"extension":[{"url":"urn:patientgraph:doctor","valueString":"kept too"}]}}`

// writeTest creates a scratch patient, changes it as an update does, and deletes it.
func (e *examination) writeTest(ctx context.Context, c *Config, client *fhir.Client) {
	const check = "write test"
	switch {
	case !e.reads:
		e.add(check, skipped, "nothing was written: no patient can be read", "")
		return
	case !e.capabilities.Offers("delete"):
		e.add(check, skipped, "nothing was written: this server says that it deletes no patient, and a scratch patient would stay there", "")
		return
	}
	id := "patientgraph-doctor-" + uuid.NewString()[:18]
	_, err := client.Update(ctx, id, fmt.Appendf(nil, scratchPatient, id), "")
	var fault *fhir.Error
	if errors.As(err, &fault) && fault.Kind != fhir.Lost && fault.Kind != fhir.Unusable {
		s := warning
		if fault.Kind == fhir.AuthFailed || fault.Kind == fhir.Forbidden {
			s = failed
		}
		e.add(check, s, "a scratch patient could not be created by PUT: "+err.Error(), "")
		return
	}
	defer e.deleteScratch(ctx, client, id)
	if err != nil {
		e.add(check, warning, "it is not known whether a scratch patient was created: "+err.Error(), "")
		return
	}
	e.keepsExtensions(ctx, client, id)
	e.refusesBadPhone(ctx, c, client, id)
}

// deleteScratch deletes it, whoever has given up meanwhile.
func (e *examination) deleteScratch(ctx context.Context, client *fhir.Client, id string) {
	const check = "write test"
	ctx = context.WithoutCancel(ctx)
	err := client.Delete(ctx, id)
	var fault *fhir.Error
	if err == nil || errors.As(err, &fault) && fault.Kind == fhir.Lost {
		_, readErr := client.Read(ctx, id)
		if errors.As(readErr, &fault) && fault.Kind == fhir.Gone {
			e.add(check, ok, "the scratch patient was created and deleted again", "")
			return
		}
		err = errors.Join(err, readErr)
	}
	says := "the scratch patient Patient/" + id + " is still there"
	if err != nil {
		says = "the scratch patient Patient/" + id + " may still be there: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	e.add(check, failed, says, "delete it on the FHIR server")
}

// putEdited edits the scratch patient and PUTs it whole. A server that is sent a part
// alone (OpenEMR) deletes nothing, and so has no scratch patient.
func putEdited(ctx context.Context, client *fhir.Client, id string, edit fhir.ContactEdit) error {
	read, err := client.Read(ctx, id)
	if err != nil {
		return err
	}
	body, _, err := fhir.EditContact(read.JSON, edit, time.Now(), "")
	if err != nil {
		return err
	}
	_, err = client.Update(ctx, id, body, read.ETag)
	return err
}

func (e *examination) keepsExtensions(ctx context.Context, client *fhir.Client, id string) {
	const check = "write test, extensions"
	err := putEdited(ctx, client, id, fhir.ContactEdit{SetEmail: true, Email: "doctor@patientgraph.example"})
	var read fhir.Resource
	if err == nil {
		read, err = client.Read(ctx, id)
	}
	var sent, kept struct {
		Extension any
		BirthDate any `json:"_birthDate"`
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(fmt.Appendf(nil, scratchPatient, id), &sent), json.Unmarshal(read.JSON, &kept))
	}
	switch {
	case err != nil:
		e.add(check, warning, "the scratch patient could not be changed: "+err.Error(), "")
	case reflect.DeepEqual(sent, kept):
		e.add(check, ok, "a PUT keeps extensions", "")
	default:
		e.add(check, limit, "a PUT does not keep all extensions: the server drops them, whoever writes", "")
	}
}

func (e *examination) refusesBadPhone(ctx context.Context, c *Config, client *fhir.Client, id string) {
	const check = "write test, validation"
	err := putEdited(ctx, client, id, fhir.ContactEdit{SetPhone: true, Phone: "invalid-phone"})
	var fault *fhir.Error
	switch {
	case err == nil && c.PhoneRegion == "":
		e.add(check, limit, "the server takes a phone number that is none", "set PHONE_REGION to have numbers checked before the server is asked")
	case err == nil:
		e.add(check, limit, "the server takes a phone number that is none; PHONE_REGION checks them before", "")
	case errors.As(err, &fault) && (fault.Kind == fhir.Rejected || fault.Kind == fhir.Conflict):
		e.add(check, ok, "the server refuses a phone number that is none", "")
	default:
		e.add(check, warning, "the scratch patient could not be changed: "+err.Error(), "")
	}
}
