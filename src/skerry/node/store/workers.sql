-- name: read
SELECT * FROM worker WHERE workload = ?;

-- name: put
INSERT INTO worker (workload, reloads, stopped_at, stopped_by, scripts)
VALUES (:workload, :reloads, :stopped_at, :stopped_by, :scripts)
ON CONFLICT (workload) DO UPDATE SET
  reloads = excluded.reloads, stopped_at = excluded.stopped_at, stopped_by = excluded.stopped_by,
  scripts = excluded.scripts;

-- name: drop
DELETE FROM worker WHERE workload = ?;

-- name: past
SELECT * FROM worker_restart WHERE workload = ? ORDER BY id DESC;

-- name: add_restart
INSERT INTO worker_restart (id, workload, at, boot_id, monotonic, cause, detail)
VALUES (:id, :workload, :at, :boot_id, :monotonic, :cause, :detail);

-- name: next_restart
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'worker_restart'), 0) + 1;

-- name: drop_old_restarts
DELETE FROM worker_restart WHERE id IN (
  SELECT id FROM worker_restart WHERE workload = ? ORDER BY id DESC LIMIT -1 OFFSET ?
);

-- name: drop_restarts
DELETE FROM worker_restart WHERE workload = ?;
