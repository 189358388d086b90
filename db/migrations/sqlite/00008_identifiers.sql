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
) STRICT;
CREATE INDEX patient_identifiers_by_patient ON patient_identifiers (patient_id);
CREATE INDEX patient_identifiers_by_key ON patient_identifiers (value_key, kind);
CREATE INDEX patient_identifiers_aliases ON patient_identifiers (value) WHERE kind IN ('FORMER', 'ALIAS');
CREATE INDEX patient_identifiers_claimed ON patient_identifiers (patient_id) WHERE kind = 'CLAIMED';
-- The next import writes what else the records are found by.
INSERT INTO patient_identifiers (patient_id, kind, value, system_key, value_key)
  SELECT id, 'NUMBER', id, CASE WHEN id LIKE 'P-____-%' THEN '' ELSE '?' END, lower(id) FROM patients;
-- Who has a subject is the same actor whatever patients the token names. Of two
-- updates under one key the other keeps its name, which nobody asks for any more.
UPDATE OR IGNORE contact_updates SET actor = '[' || (actor -> '$[0]') || ',"",' || (actor -> '$[2]') || ']'
  WHERE json_valid(actor) AND json_array_length(actor) = 3 AND actor ->> '$[1]' <> '' AND actor ->> '$[2]' <> '';
