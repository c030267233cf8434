-- One row for each worker group (store/workers.py): how often a restart was asked for on this device, who stopped it,
-- and (a body) the scripts that its worker was last started with or will be started with.
CREATE TABLE worker (
  workload   TEXT PRIMARY KEY,
  reloads    INTEGER NOT NULL,
  stopped_at INTEGER,
  stopped_by TEXT NOT NULL,
  scripts    BLOB NOT NULL
) WITHOUT ROWID;

-- Why workers were restarted, the newest 200 of each group. `at` is wall time; `monotonic` is ns of `boot_id`.
CREATE TABLE worker_restart (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  workload  TEXT NOT NULL,
  at        INTEGER NOT NULL,
  boot_id   TEXT NOT NULL,
  monotonic INTEGER NOT NULL,
  cause     TEXT NOT NULL,
  detail    BLOB NOT NULL
);
CREATE INDEX worker_restart_of ON worker_restart (workload, id);
