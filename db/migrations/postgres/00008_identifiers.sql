-- +goose Up
-- What a record is found by.
CREATE TABLE patient_identifiers (
  patient_id TEXT NOT NULL,
  kind       TEXT NOT NULL CHECK (kind IN (
    'NUMBER',   -- patients.id
    'FORMER',   -- was patients.id of this record: an alias
    'ALIAS',    -- another one of the number's system: an alias
    'CLAIMED',  -- should be patients.id, but another record has it
    'OTHER')),  -- of another system
  value      TEXT NOT NULL, -- as it stands; of OTHER ''
  system_key TEXT NOT NULL, -- folded for searching, as value_key; of NUMBER it says who claims it, see numberKey
  value_key  TEXT NOT NULL  -- of CLAIMED '': nobody is found by it
);
CREATE INDEX patient_identifiers_by_patient ON patient_identifiers (patient_id);
CREATE INDEX patient_identifiers_by_key ON patient_identifiers (value_key, kind);
CREATE INDEX patient_identifiers_aliases ON patient_identifiers (value) WHERE kind IN ('FORMER', 'ALIAS');
CREATE INDEX patient_identifiers_claimed ON patient_identifiers (patient_id) WHERE kind = 'CLAIMED';
-- The next import writes what else the records are found by.
INSERT INTO patient_identifiers (patient_id, kind, value, system_key, value_key)
  SELECT id, 'NUMBER', id, CASE WHEN id LIKE 'P-____-%' THEN '' ELSE '?' END, lower(id) FROM patients;
-- Who has a subject is the same actor whatever patients the token names. Of two
-- updates under one key the other keeps its name, which nobody asks for any more.
WITH named AS (
  SELECT id, idempotency_key, CASE WHEN actor LIKE '["%' THEN actor::json END AS name FROM contact_updates
), renamed AS (
  SELECT id, idempotency_key, '[' || (name -> 0)::text || ',"",' || (name -> 2)::text || ']' AS actor FROM named
  WHERE json_array_length(name) = 3 AND name ->> 1 <> '' AND name ->> 2 <> ''
), numbered AS (
  SELECT *, row_number() OVER (PARTITION BY actor, idempotency_key ORDER BY id) AS n FROM renamed AS r
  WHERE NOT EXISTS (SELECT 1 FROM contact_updates AS u WHERE u.actor = r.actor AND u.idempotency_key = r.idempotency_key AND u.idempotency_key <> '')
)
UPDATE contact_updates SET actor = numbered.actor FROM numbered
  WHERE contact_updates.id = numbered.id AND (numbered.n = 1 OR numbered.idempotency_key = '');
