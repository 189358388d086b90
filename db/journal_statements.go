package db

const updateColumns = `id, kind, patient_id, fhir_id, state, actor, idempotency_key, digest, if_match, put, heard,
	gone, answer, patient, requested_at, settled_at, NOW() - sent_at, ` + leaseOver

// leaseOver is true where whoever works on an update may be dead. No lease is
// longer than ten minutes (see longestLease): one that is comes from a clock
// that has been set back since.
const leaseOver = "(lease_until < NOW() OR lease_until > NOW() + 600000000)"

// The statements of the journal. Each names the condition of the index that it
// is to use: SQLite infers none.
var (
	beginUpdate = prepared(`INSERT INTO contact_updates (id, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key,
			digest, if_match, put, heard, gone, answer, patient, requested_at, sent_at, settled_at)
		SELECT ?, id, fhir_id, 'ACCEPTED', ?, NOW() + ?, ?, ?, ?, '', '', '', 0, '', '', NOW(), 0, 0
		FROM patients WHERE id = ? AND fhir_id IS NOT NULL AND NOT EXISTS ( -- what is being settled goes first
			SELECT 1 FROM contact_updates AS other WHERE other.patient_id = patients.id
			AND other.state IN ('SENT', 'UNKNOWN') AND other.owner <> '' AND NOT ` + leaseOver + `)
		FOR KEY SHARE -- the number stays: whoever moves it waits, and then sees this line
		ON CONFLICT DO NOTHING`)
	addLocalUpdate = prepared(`INSERT INTO contact_updates (id, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key,
			digest, if_match, put, heard, gone, answer, patient, requested_at, sent_at, settled_at)
		VALUES (?, ?, '', 'APPLIED', '', 0, ?, ?, ?, '', '', '', 0, '', ?, NOW(), 0, NOW())
		ON CONFLICT DO NOTHING`)
	addLinked = prepared(`INSERT INTO contact_updates (id, kind, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key,
			digest, if_match, put, heard, gone, answer, patient, requested_at, sent_at, settled_at)
		VALUES (?, 'LINKED', ?, ?, 'APPLIED', '', 0, '', '', '', '', '', '', 0, '', ?, NOW(), 0, NOW())`)
	sendUpdate = prepared(`UPDATE contact_updates SET state = 'SENT', if_match = ?, put = ?, sent_at = NOW()
		WHERE id = ? AND owner = ? AND state IN ('ACCEPTED', 'SENT') AND lease_until > NOW()`)
	// The mark is written even where it stands already: that locks the row.
	markPending = prepared(`UPDATE patients SET sync_state = 'PENDING' WHERE id = ?`)
	// A new version: whoever writes the patient now began alone, and is not any more.
	// By the line: the patient's number may have moved since it was settled.
	markReopened = prepared(`UPDATE patients SET sync_state = 'PENDING', version = version + 1, versions_as_of = versions_as_of + 1, change_seq = 0
		WHERE id = (SELECT patient_id FROM contact_updates WHERE id = ?)`)
	closeUpdate = prepared(`UPDATE contact_updates SET state = ?, answer = ?, patient = ?, gone = ?, owner = '', settled_at = NOW(),
			idempotency_key = CASE WHEN ? THEN '' ELSE idempotency_key END
		WHERE id = ? AND owner = ? AND state IN ('ACCEPTED', 'SENT', 'UNKNOWN')`)
	leaveUpdate = prepared(`UPDATE contact_updates SET state = 'UNKNOWN', answer = ?, heard = ?, gone = ?, owner = '', lease_until = NOW() + ?
		WHERE id = ? AND owner = ? AND state IN ('SENT', 'UNKNOWN')`)
	fenceUpdates = prepared(`UPDATE contact_updates SET state = 'NOT_APPLIED', answer = ?, owner = '', settled_at = NOW(), idempotency_key = ''
		WHERE patient_id = ? AND state IN ('SENT', 'UNKNOWN') AND state = 'UNKNOWN' AND if_match = ? AND id <> ?`)
	otherUnsettled = prepared(`SELECT 1 FROM contact_updates WHERE patient_id = ? AND state IN ('SENT', 'UNKNOWN') AND id <> ? LIMIT 1`)
	tellUpdate     = prepared(`UPDATE contact_updates SET patient = ? WHERE id = ?`)
	setSyncState   = prepared(`UPDATE patients SET sync_state = ? WHERE id = ?`)
	renewUpdate    = prepared(`UPDATE contact_updates SET lease_until = NOW() + ? WHERE id = ? AND owner = ? AND state IN ('ACCEPTED', 'SENT', 'UNKNOWN')`)
	holdUpdate     = prepared(`UPDATE contact_updates SET state = 'SENT' WHERE id = ? AND owner = ? AND state IN ('SENT', 'UNKNOWN') AND NOT EXISTS (
		SELECT 1 FROM contact_updates AS other WHERE other.patient_id = contact_updates.patient_id
		AND other.state IN ('ACCEPTED', 'SENT') AND other.id <> contact_updates.id)`)
	reopenUpdate = prepared(`UPDATE contact_updates SET state = 'UNKNOWN', settled_at = 0, lease_until = NOW()
		WHERE id = ? AND state = 'NOT_APPLIED'`)
	claimUpdates = prepared(`UPDATE contact_updates SET owner = ?, lease_until = NOW() + ? WHERE id IN (
		SELECT id FROM contact_updates WHERE state IN ('ACCEPTED', 'SENT', 'UNKNOWN') AND ` + leaseOver + `
		AND CAST(? AS TEXT) IN ('', patient_id)
		ORDER BY lease_until LIMIT ? FOR UPDATE SKIP LOCKED) RETURNING ` + updateColumns)
	unknownUpdates = prepared(`SELECT ` + updateColumns + ` FROM contact_updates WHERE patient_id = ? AND state IN ('SENT', 'UNKNOWN') AND state = 'UNKNOWN'`)
	cleanUpdates   = prepared(`DELETE FROM contact_updates WHERE id IN (
		SELECT id FROM contact_updates WHERE settled_at > 0 AND kind = 'UPDATE' AND settled_at < NOW() - ? ORDER BY settled_at LIMIT ?)`)
	dropUpdate = prepared(`DELETE FROM contact_updates WHERE id = ? AND owner = ? AND state = 'ACCEPTED'`)
	ownUpdate  = prepared(`SELECT 1 FROM contact_updates WHERE id = ? AND owner = ?`)
)

// The readings of single lines.
const lineWhere = "SELECT " + updateColumns + " FROM contact_updates WHERE "

var (
	byID   = preparedToRead(lineWhere + "id = ?")
	byKey  = preparedToRead(lineWhere + "actor = ? AND idempotency_key = ? AND idempotency_key <> '' AND (settled_at = 0 OR settled_at > NOW() - ?)")
	openOf = preparedToRead(lineWhere + "patient_id = ? AND state IN ('ACCEPTED', 'SENT')")
)
