-- +goose Up
-- if_match: the version that the last PUT named. put: JSON, the PUT as it was
-- sent. heard: how the FHIR server answered it, as far as a journal's line that
-- stays open knows.
ALTER TABLE contact_updates RENAME COLUMN base_etag TO if_match;
ALTER TABLE contact_updates ADD COLUMN put TEXT NOT NULL DEFAULT '';
ALTER TABLE contact_updates ADD COLUMN heard TEXT NOT NULL DEFAULT '';
-- What cannot be read waits to be mended, as before.
UPDATE contact_updates SET put = '{"edit":' || asked || ',"base":' || base || ',"intended":' || intended || '}'
  WHERE state IN ('SENT', 'UNKNOWN');
UPDATE contact_updates SET put = json_object('edit', json(asked), 'base', json(base), 'intended', json(intended),
    'entries', coalesce(json_extract(intended, '$.entries'), 0),
    'before', coalesce(json_extract(intended, '$.entries'), 0), 'at', json_extract(base, '$.at'))
  WHERE state IN ('SENT', 'UNKNOWN') AND json_valid(asked) AND json_valid(base) AND json_valid(intended);
UPDATE contact_updates SET heard = CASE WHEN answer LIKE '%"saidOK":true%' THEN 'OK' ELSE 'CREATED' END
  WHERE state IN ('SENT', 'UNKNOWN') AND (answer LIKE '%"saidOK":true%' OR answer LIKE '{"kind":"FHIR_PATIENT_GONE"%');
UPDATE contact_updates SET answer = '{"code":' || substr(answer, 9) WHERE answer LIKE '{"kind":%';
ALTER TABLE contact_updates DROP COLUMN asked;
ALTER TABLE contact_updates DROP COLUMN base;
ALTER TABLE contact_updates DROP COLUMN intended;
