-- +goose Up
-- Every filter can be judged by this index alone: a count and the search for
-- the few that match read no whole rows.
CREATE INDEX patients_by_filters ON patients (sync_state, gender, birth_date, updated_at, phone_key, name_key, id);
-- Phones without digits ("none", "ask the ward"), which have no key.
CREATE INDEX patients_by_words ON patients (phone) WHERE phone_key = '' AND phone <> '';
