-- +goose Up
-- Times are microseconds since 1970 UTC; absent text is ''.
CREATE TABLE patients (
  id                TEXT PRIMARY KEY,
  fhir_id           TEXT UNIQUE,
  family_name       TEXT NOT NULL,
  given_name        TEXT NOT NULL,
  full_name         TEXT NOT NULL,
  name_key          TEXT NOT NULL,
  birth_date        TEXT NOT NULL,
  gender            TEXT NOT NULL,
  phone             TEXT NOT NULL,
  phone_key         TEXT NOT NULL,
  email             TEXT NOT NULL,
  address           TEXT NOT NULL,
  emergency_contact TEXT NOT NULL,
  allergies         TEXT NOT NULL,
  blood_type        TEXT NOT NULL,
  sync_state        TEXT NOT NULL CHECK (sync_state IN ('SYNCED', 'PENDING', 'LOCAL_ONLY')),
  last_synced_at    INTEGER NOT NULL,
  fhir_version_id   TEXT NOT NULL,
  fhir_updated_at   INTEGER NOT NULL,
  version           INTEGER NOT NULL,
  created_at        INTEGER NOT NULL,
  updated_at        INTEGER NOT NULL,
  CHECK ((fhir_id IS NULL) = (sync_state = 'LOCAL_ONLY'))
) STRICT;
CREATE INDEX patients_by_name ON patients (name_key, id);
CREATE INDEX patients_by_birth_date ON patients (birth_date, id);
CREATE INDEX patients_by_created ON patients (created_at, id);
CREATE INDEX patients_by_updated ON patients (updated_at, id);
CREATE INDEX patients_by_phone ON patients (phone_key, id);

-- For every position of name_key the three characters from there.
CREATE TABLE patient_name_grams (
  gram       TEXT NOT NULL,
  patient_id TEXT NOT NULL,
  PRIMARY KEY (gram, patient_id)
) STRICT, WITHOUT ROWID;

-- The last number given out in a year, for P-<year>-<sequence>.
CREATE TABLE patient_sequences (
  year INTEGER PRIMARY KEY,
  last INTEGER NOT NULL
) STRICT;
