-- +goose Up
-- inactive, deceased: 0 or 1. replaced_by: whom FHIR says the patient was merged into,
-- '' = it was not. fhir_contact: JSON, the emergency contact that FHIR has. filled:
-- which program's idea of a FHIR patient the row holds; 0 = it takes the same version
-- once more. listed: neither inactive nor replaced.
ALTER TABLE patients ADD COLUMN inactive INTEGER NOT NULL DEFAULT 0;
ALTER TABLE patients ADD COLUMN deceased INTEGER NOT NULL DEFAULT 0;
ALTER TABLE patients ADD COLUMN replaced_by TEXT NOT NULL DEFAULT '';
ALTER TABLE patients ADD COLUMN fhir_contact TEXT NOT NULL DEFAULT '';
ALTER TABLE patients ADD COLUMN filled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE patients ADD COLUMN listed INTEGER NOT NULL DEFAULT 1;
-- Lists pass by who is not listed within the index.
DROP INDEX patients_by_birth_date;
DROP INDEX patients_by_created;
DROP INDEX patients_by_updated;
CREATE INDEX patients_by_birth_date ON patients (birth_date, id, listed);
CREATE INDEX patients_by_created ON patients (created_at, id, listed);
CREATE INDEX patients_by_updated ON patients (updated_at, id, listed);
