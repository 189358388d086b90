-- +goose Up
-- Whom a record was merged into, both by their FHIR ids; the merged one may be gone.
CREATE TABLE patient_merges (
  merged      TEXT PRIMARY KEY,
  survivor    TEXT NOT NULL, -- perhaps merged itself since
  by_survivor INTEGER NOT NULL, -- 1: the survivor alone says so (link replaces); 0: the merged one does
  settled     INTEGER NOT NULL  -- 1: what is recorded here alone has moved to the survivor, or stays; 2: the merges lead round and round
) STRICT;
CREATE INDEX patient_merges_by_survivor ON patient_merges (survivor);
-- A link in another form is taken with its patient.
INSERT INTO patient_merges (merged, survivor, by_survivor, settled)
  SELECT fhir_id, replaced_by, 0, 0 FROM patients
  WHERE fhir_id IS NOT NULL AND replaced_by NOT IN ('', '?') AND replaced_by NOT LIKE '%/%' AND replaced_by <> fhir_id;
-- A line of kind LINKED is no update: it keeps the contact that a patient had here
-- before it was found on the FHIR server, and is the only copy.
ALTER TABLE contact_updates ADD COLUMN kind TEXT NOT NULL DEFAULT 'UPDATE';
DROP INDEX contact_updates_by_settled;
CREATE INDEX contact_updates_by_settled ON contact_updates (settled_at) WHERE settled_at > 0 AND kind = 'UPDATE';
