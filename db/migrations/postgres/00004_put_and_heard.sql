-- +goose Up
-- if_match: the version that the last PUT named. put: JSON, the PUT as it was
-- sent. heard: how the FHIR server answered it, as far as a journal's line that
-- stays open knows.
ALTER TABLE contact_updates RENAME COLUMN base_etag TO if_match;
ALTER TABLE contact_updates ADD COLUMN put TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE contact_updates ADD COLUMN heard TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE contact_updates SET put = '{"edit":' || asked || ',"base":' || base || ',"intended":' || intended || '}'
  WHERE state IN ('SENT', 'UNKNOWN');
-- +goose StatementBegin
DO $$
DECLARE line record;
BEGIN
  FOR line IN SELECT id, asked, base, intended FROM contact_updates WHERE state IN ('SENT', 'UNKNOWN') LOOP
    BEGIN
      UPDATE contact_updates SET put = json_build_object('edit', line.asked::json, 'base', line.base::json,
          'intended', line.intended::json, 'entries', coalesce((line.intended::json ->> 'entries')::int, 0),
          'before', coalesce((line.intended::json ->> 'entries')::int, 0), -- not known: as if it had not changed
          'at', line.base::json -> 'at')::text
        WHERE id = line.id;
    EXCEPTION WHEN data_exception THEN NULL; -- what cannot be read waits to be mended, as before
    END;
  END LOOP;
END $$;
-- +goose StatementEnd
UPDATE contact_updates SET heard = CASE WHEN answer LIKE '%"saidOK":true%' THEN 'OK' ELSE 'CREATED' END
  WHERE state IN ('SENT', 'UNKNOWN') AND (answer LIKE '%"saidOK":true%' OR answer LIKE '{"kind":"FHIR_PATIENT_GONE"%');
UPDATE contact_updates SET answer = '{"code":' || substr(answer, 9) WHERE answer LIKE '{"kind":%';
ALTER TABLE contact_updates DROP COLUMN asked, DROP COLUMN base, DROP COLUMN intended;
