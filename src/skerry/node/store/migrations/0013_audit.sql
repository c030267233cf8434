-- What people did at this device, and what its hub had it do: entries at the end, and nothing else, as in the hub's.
CREATE TABLE audit (
  seq     INTEGER PRIMARY KEY,
  version INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  actor   TEXT NOT NULL,
  role    TEXT NOT NULL,
  action  TEXT NOT NULL,
  object  TEXT NOT NULL,
  origin  TEXT NOT NULL,
  outcome TEXT NOT NULL,
  status  INTEGER NOT NULL,
  "of"    INTEGER NOT NULL,
  count   INTEGER NOT NULL,
  detail  TEXT NOT NULL,
  prev    TEXT NOT NULL,
  hash    TEXT NOT NULL
);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- INSERT OR REPLACE deletes without asking the trigger for deletions.
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE seq >= NEW.seq)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- Heads of the hub's own log that it has told: this node is their witness.
CREATE TABLE hub_head (
  hub_id TEXT NOT NULL,
  epoch  INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  hash   TEXT NOT NULL,
  at     INTEGER NOT NULL,
  PRIMARY KEY (hub_id, epoch, seq, hash)
) WITHOUT ROWID;
