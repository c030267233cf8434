-- One row for each content that workloads have uploaded (store/files.py); its bytes are in files/ by the same name.
-- `n`: a record of lane «event» up to this number names it; 0: none does yet. `at` is when it was last given, `sent_at`
-- when the hub had all of it (wall ns; NULL: it has not). `problem` says why it will not be sent.
CREATE TABLE file (
  sha256  TEXT PRIMARY KEY,
  size    INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  n       INTEGER NOT NULL,
  sent_at INTEGER,
  problem TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX file_to_send ON file (at) WHERE sent_at IS NULL;
CREATE INDEX file_sent ON file (sent_at) WHERE sent_at IS NOT NULL;
