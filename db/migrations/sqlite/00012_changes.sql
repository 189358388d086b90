-- +goose Up
-- change_seq: the place of the row's last change among all changes; 0 = it has none
-- yet, and NumberChanges gives it one.
ALTER TABLE patients ADD COLUMN change_seq INTEGER NOT NULL DEFAULT 0;
CREATE INDEX patients_by_change ON patients (change_seq, id, listed) WHERE change_seq > 0;
CREATE INDEX patients_to_number ON patients (updated_at, id) WHERE change_seq = 0;

-- The last number given out. It begins with the time, in microseconds: a cache that is
-- made anew begins above the numbers of the one before, so that who followed that one
-- is shown every row again.
CREATE TABLE change_counter (
  id   INTEGER PRIMARY KEY CHECK (id = 1),
  last INTEGER NOT NULL
) STRICT;
INSERT INTO change_counter (id, last) VALUES (1, CAST(unixepoch('subsec') * 1000000 AS INTEGER));
