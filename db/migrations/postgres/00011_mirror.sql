-- +goose Up
-- gone_at: when the FHIR server was found to have the patient no more, 0 = it has. The
-- row is shown to nobody. listed: 1, or 0 where inactive or replaced, or -1 where gone.
-- unseen_since: since when the FHIR server is known to show something else that could
-- not be taken yet, 0 = nothing.
ALTER TABLE patients
  ADD COLUMN gone_at BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN unseen_since BIGINT NOT NULL DEFAULT 0;
CREATE INDEX patients_unseen ON patients (unseen_since) WHERE unseen_since > 0;

-- How far the cache has followed the FHIR server; one row.
CREATE TABLE mirror (
  id          SMALLINT PRIMARY KEY CHECK (id = 1),
  looked_at   BIGINT NOT NULL, -- when the last completed look at its changes began, 0 = never
  progress    TEXT NOT NULL,    -- JSON, of package mirror
  woken       BIGINT NOT NULL, -- raised by who knows of a change
  owner       TEXT NOT NULL,    -- the process that follows
  lease_until BIGINT NOT NULL
);
INSERT INTO mirror VALUES (1, 0, '', 0, '', 0);
