-- The node's store. Records live in segments beside it (store/segments.py), not here.
-- Columns are «key» (ids, times, states: always plain) or «body» (goes through the cipher; null cipher for now).

-- Single facts: incarnation, cursor, last_success, offline_since. Who the node is lies in identity.json.
CREATE TABLE fact (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

-- Synced state rows, of every entity in core/entities.py. `rev` 0: the hub has not seen it.
CREATE TABLE state (
  entity  TEXT NOT NULL,
  id      TEXT NOT NULL,
  rev     INTEGER NOT NULL,
  hlc     INTEGER NOT NULL,
  origin  TEXT NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0,
  body    BLOB NOT NULL,
  PRIMARY KEY (entity, id)
) WITHOUT ROWID;

-- References to rows that changed here and are not yet frozen into a unit; later edits coalesce.
CREATE TABLE outbox (
  seq    INTEGER PRIMARY KEY AUTOINCREMENT,
  entity TEXT NOT NULL,
  id     TEXT NOT NULL,
  UNIQUE (entity, id)
);

-- Frozen state frames: `n` is given once and the bytes never change, so a repeat is the same unit.
CREATE TABLE frozen (
  n     INTEGER PRIMARY KEY,
  chain TEXT NOT NULL,
  body  BLOB NOT NULL
);

-- How far the hub has acknowledged each lane. May lag: the hub answers a repeat with its own point.
CREATE TABLE lane (
  lane         TEXT PRIMARY KEY,
  acknowledged INTEGER NOT NULL,
  chain        TEXT NOT NULL
) WITHOUT ROWID;

-- One row for each workload that this node has or is still ending (store/instances.py). `assignment` (a body) is what
-- its last instance was started from. `since` and `exit_at` are wall time; `failures` and `due` are monotonic ns of `boot_id`.
CREATE TABLE workload (
  name        TEXT PRIMARY KEY,
  assignment  BLOB NOT NULL,
  boot_id     TEXT NOT NULL,
  phase       TEXT NOT NULL,
  since       INTEGER NOT NULL,
  message     TEXT NOT NULL,
  starts      INTEGER NOT NULL,
  short_lives INTEGER NOT NULL,
  failures    TEXT NOT NULL,
  half_open   INTEGER NOT NULL,
  due         INTEGER,
  ready       INTEGER NOT NULL,
  probe       TEXT NOT NULL,
  exit_code   INTEGER,
  exit_signal INTEGER,
  exit_at     INTEGER
) WITHOUT ROWID;

-- One row for each process. Written before the process is made; `pid` follows. At most one live row a workload.
-- `started_at` and `ended_at` are wall time; `started` and `kill_at` are monotonic ns of `boot_id`.
CREATE TABLE instance (
  id          TEXT PRIMARY KEY,
  workload    TEXT NOT NULL,
  epoch       INTEGER NOT NULL,
  generation  INTEGER NOT NULL,
  boot_id     TEXT NOT NULL,
  pid         INTEGER,
  start_time  INTEGER,
  started_at  INTEGER NOT NULL,
  started     INTEGER NOT NULL,
  kill_at     INTEGER,
  kills       INTEGER NOT NULL,
  ended_at    INTEGER,
  exit_code   INTEGER,
  exit_signal INTEGER
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_live_instance ON instance (workload) WHERE ended_at IS NULL;
CREATE INDEX instance_ended ON instance (workload, ended_at);
