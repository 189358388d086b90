-- +goose Up
-- The tokens that all replicas log in to the FHIR server with, where a refresh
-- ends the ones before it. sealed is encrypted with a key that the database does
-- not have; the id is derived from it.
CREATE TABLE fhir_tokens (
  id          TEXT PRIMARY KEY,
  version     INTEGER NOT NULL, -- 0: none saved yet
  sealed      BLOB NOT NULL,
  owner       TEXT NOT NULL,   -- the process that is asking for the next ones
  lease_until INTEGER NOT NULL  -- microseconds since 1970; 0: nobody is
);
