-- The files of Cyberwave's twins (docs/adr/0035-twins-are-shared-rows-with-an-owner-for-each-field.md). `revision`, `rev` and
-- `row` are the version of the shared row that the file shows or is going to show, `source` a hash of all that it shows.
-- `written` is what was written last, or what the driver had made of it when its edit was taken; `next` what is being
-- written, NULL when that is done.
CREATE TABLE twin_file (
  twin     TEXT PRIMARY KEY,
  revision INTEGER NOT NULL,
  rev      INTEGER NOT NULL,
  source   TEXT NOT NULL,
  row      BLOB NOT NULL,
  written  BLOB NOT NULL,
  next     BLOB
) WITHOUT ROWID;
