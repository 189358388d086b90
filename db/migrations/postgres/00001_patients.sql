-- +goose Up
-- Times are microseconds since 1970 UTC; absent text is ''.
CREATE TABLE patients (
  id                TEXT COLLATE "C" PRIMARY KEY,
  fhir_id           TEXT COLLATE "C" UNIQUE,
  family_name       TEXT COLLATE "C" NOT NULL,
  given_name        TEXT COLLATE "C" NOT NULL,
  full_name         TEXT COLLATE "C" NOT NULL,
  name_key          TEXT COLLATE "C" NOT NULL,
  birth_date        TEXT COLLATE "C" NOT NULL,
  gender            TEXT COLLATE "C" NOT NULL,
  phone             TEXT COLLATE "C" NOT NULL,
  phone_key         TEXT COLLATE "C" NOT NULL,
  email             TEXT COLLATE "C" NOT NULL,
  address           TEXT COLLATE "C" NOT NULL,
  emergency_contact TEXT COLLATE "C" NOT NULL,
  allergies         TEXT COLLATE "C" NOT NULL,
  blood_type        TEXT COLLATE "C" NOT NULL,
  sync_state        TEXT COLLATE "C" NOT NULL CHECK (sync_state IN ('SYNCED', 'PENDING', 'LOCAL_ONLY')),
  last_synced_at    BIGINT NOT NULL,
  fhir_version_id   TEXT COLLATE "C" NOT NULL,
  fhir_updated_at   BIGINT NOT NULL,
  version           BIGINT NOT NULL,
  created_at        BIGINT NOT NULL,
  updated_at        BIGINT NOT NULL,
  CHECK ((fhir_id IS NULL) = (sync_state = 'LOCAL_ONLY'))
);
CREATE INDEX patients_by_name ON patients (name_key, id);
CREATE INDEX patients_by_birth_date ON patients (birth_date, id);
CREATE INDEX patients_by_created ON patients (created_at, id);
CREATE INDEX patients_by_updated ON patients (updated_at, id);
CREATE INDEX patients_by_phone ON patients (phone_key, id);

-- For every position of name_key the three characters from there.
CREATE TABLE patient_name_grams (
  gram       TEXT COLLATE "C" NOT NULL,
  patient_id TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (gram, patient_id)
);

-- The last number given out in a year, for P-<year>-<sequence>.
CREATE TABLE patient_sequences (
  year INTEGER PRIMARY KEY,
  last BIGINT NOT NULL
);
