-- +goose Up
-- The journal of contact updates. Times are microseconds since 1970 UTC by the
-- database's clock, 0 = not yet; absent text is ''.
CREATE TABLE contact_updates (
  id              TEXT COLLATE "C" PRIMARY KEY, -- operationId
  patient_id      TEXT COLLATE "C" NOT NULL,
  fhir_id         TEXT COLLATE "C" NOT NULL,    -- '' = changed in the cache alone
  state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('ACCEPTED', 'SENT', 'UNKNOWN', 'APPLIED', 'REJECTED', 'CONFLICT', 'NOT_APPLIED')),
  owner           TEXT COLLATE "C" NOT NULL,    -- the process that works on it
  lease_until     BIGINT NOT NULL, -- from then on any process may take it over
  actor           TEXT COLLATE "C" NOT NULL,
  idempotency_key TEXT COLLATE "C" NOT NULL,
  digest          TEXT COLLATE "C" NOT NULL,    -- of what was asked
  asked           TEXT COLLATE "C" NOT NULL,    -- JSON
  base_etag       TEXT COLLATE "C" NOT NULL,    -- what the last PUT named in If-Match
  base            TEXT COLLATE "C" NOT NULL,    -- JSON: the contact that the PUT was based on
  intended        TEXT COLLATE "C" NOT NULL,    -- JSON: the contact in the PUT
  gone            BIGINT NOT NULL, -- 1: the FHIR server said once that the patient is gone
  answer          TEXT COLLATE "C" NOT NULL,    -- JSON: what the caller was told
  patient         TEXT COLLATE "C" NOT NULL,    -- JSON: the row that the answer showed
  requested_at    BIGINT NOT NULL,
  sent_at         BIGINT NOT NULL,
  settled_at      BIGINT NOT NULL
);
-- One writer per patient, across all replicas.
CREATE UNIQUE INDEX contact_updates_one_writer ON contact_updates (patient_id) WHERE state IN ('ACCEPTED', 'SENT');
CREATE UNIQUE INDEX contact_updates_by_key ON contact_updates (actor, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX contact_updates_by_lease ON contact_updates (lease_until) WHERE state IN ('ACCEPTED', 'SENT', 'UNKNOWN');
CREATE INDEX contact_updates_unsettled ON contact_updates (patient_id) WHERE state IN ('SENT', 'UNKNOWN');
CREATE INDEX contact_updates_by_settled ON contact_updates (settled_at) WHERE settled_at > 0;
