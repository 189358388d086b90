-- +goose Up
-- An import asks which of its patients were written here. Only settled lines:
-- who holds a patient finds the open one by the smaller indexes.
CREATE INDEX contact_updates_written ON contact_updates (patient_id) WHERE settled_at > 0;
