-- +goose Up
-- Beside the shown name and phone the others are searched. search_key: every name
-- in the forms that a word of a search may be a part of; NULL: the keys of the row
-- are to be made anew, which the program does after the migrations, a part of the
-- rows at a time. phone_keys: what the row has in patient_phones.
ALTER TABLE patients ADD COLUMN other_names TEXT NOT NULL DEFAULT ''; -- JSON
ALTER TABLE patients ADD COLUMN other_phones TEXT NOT NULL DEFAULT ''; -- JSON
ALTER TABLE patients ADD COLUMN search_key TEXT;
DROP INDEX patients_by_name;
DROP INDEX patients_by_filters;
DROP INDEX patients_by_phone;
DROP INDEX patients_by_words;
ALTER TABLE patients RENAME COLUMN phone_key TO phone_keys;
-- With search_key, for the walk along the names to those that match.
CREATE INDEX patients_by_name ON patients (name_key, id, search_key, listed);
CREATE INDEX patients_by_filters ON patients (sync_state, gender, birth_date, updated_at, search_key, id, listed);
CREATE INDEX patients_without_keys ON patients (id) WHERE search_key IS NULL;

CREATE TABLE patient_phones (
  phone_key  TEXT NOT NULL,
  patient_id TEXT NOT NULL,
  PRIMARY KEY (phone_key, patient_id)
) STRICT, WITHOUT ROWID;
DELETE FROM patient_name_grams;
