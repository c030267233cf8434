-- The drivers of Cyberwave's twins (docs/adr/0040): what is known of those that end by themselves, times in wall ns, `ends`
-- a JSON array of them. `since` NULL: it does not flap.
CREATE TABLE driver_mark (
  twin     TEXT PRIMARY KEY,
  made_of  TEXT NOT NULL,
  metadata TEXT NOT NULL,
  restarts INTEGER NOT NULL,
  total    INTEGER NOT NULL,
  ends     TEXT NOT NULL,
  since    INTEGER,
  trial    INTEGER NOT NULL
) WITHOUT ROWID;

-- The restart of everything that Cyberwave runs here: at most one, and the last ones that are done, so that none is done twice.
CREATE TABLE edge_restart (
  request    TEXT PRIMARY KEY,
  alert      TEXT NOT NULL,
  phase      TEXT NOT NULL,
  message    TEXT NOT NULL,
  asked_at   INTEGER NOT NULL
) WITHOUT ROWID;
