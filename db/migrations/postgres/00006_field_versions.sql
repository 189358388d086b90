-- +goose Up
-- Of each field that callers change the row's version at which its value last
-- changed; they are right while versions_as_of is the row's version. In a row that an
-- older program wrote it is not, and they count as changed with that version: who
-- has read it may go on, who has read an earlier one hears of a conflict, as before.
ALTER TABLE patients ADD COLUMN versions_as_of BIGINT NOT NULL DEFAULT 0;
ALTER TABLE patients ADD COLUMN phone_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE patients ADD COLUMN email_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE patients ADD COLUMN address_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE patients ADD COLUMN emergency_contact_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE patients ADD COLUMN allergies_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE patients ADD COLUMN blood_type_version BIGINT NOT NULL DEFAULT 0;
