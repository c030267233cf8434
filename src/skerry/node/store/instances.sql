-- name: load
SELECT w.*, i.id AS instance, i.slot AS instance_slot, i.epoch, i.generation, i.boot_id AS instance_boot_id, i.pid,
       i.start_time, i.started_at, i.started, i.kill_at, i.kills, i.isolation, i.lock_since, i.lock_until,
       i.lock_until_at, i.lock_reason, i.cause, i.restarts
FROM workload w LEFT JOIN instance i ON i.workload = w.name AND i.ended_at IS NULL ORDER BY w.name;

-- name: read
SELECT w.*, i.id AS instance, i.slot AS instance_slot, i.epoch, i.generation, i.boot_id AS instance_boot_id, i.pid,
       i.start_time, i.started_at, i.started, i.kill_at, i.kills, i.isolation, i.lock_since, i.lock_until,
       i.lock_until_at, i.lock_reason, i.cause, i.restarts
FROM workload w LEFT JOIN instance i ON i.workload = w.name AND i.ended_at IS NULL WHERE w.name = ?;

-- name: put_workload
INSERT INTO workload (name, assignment, boot_id, phase, since, message, starts, short_lives, failures, half_open, due,
                      ready, probe, exit_code, exit_signal, exit_at, exit_reason, slot, beside)
VALUES (:name, :assignment, :boot_id, :phase, :since, :message, :starts, :short_lives, :failures, :half_open, :due,
        :ready, :probe, :exit_code, :exit_signal, :exit_at, :exit_reason, :slot, :beside)
ON CONFLICT (name) DO UPDATE SET
  assignment = excluded.assignment, boot_id = excluded.boot_id, phase = excluded.phase, since = excluded.since,
  message = excluded.message, starts = excluded.starts, short_lives = excluded.short_lives,
  failures = excluded.failures, half_open = excluded.half_open, due = excluded.due, ready = excluded.ready,
  probe = excluded.probe, exit_code = excluded.exit_code, exit_signal = excluded.exit_signal, exit_at = excluded.exit_at,
  exit_reason = excluded.exit_reason, slot = excluded.slot, beside = excluded.beside;

-- name: put_instance
INSERT INTO instance (id, workload, epoch, generation, boot_id, pid, start_time, started_at, started, kill_at, kills,
                      isolation, lock_since, lock_until, lock_until_at, lock_reason, cause, slot, restarts)
VALUES (:id, :workload, :epoch, :generation, :boot_id, :pid, :start_time, :started_at, :started, :kill_at, :kills,
        :isolation, :lock_since, :lock_until, :lock_until_at, :lock_reason, :cause, :slot, :restarts)
ON CONFLICT (id) DO UPDATE SET
  pid = excluded.pid, start_time = excluded.start_time, kill_at = excluded.kill_at, kills = excluded.kills,
  isolation = excluded.isolation, lock_since = excluded.lock_since, lock_until = excluded.lock_until,
  lock_until_at = excluded.lock_until_at, lock_reason = excluded.lock_reason,
  cause = excluded.cause, restarts = excluded.restarts;

-- name: end_instance
UPDATE instance SET ended_at = ?, exit_code = ?, exit_signal = ?, exit_reason = ? WHERE id = ?;

-- name: drop_old_instances
DELETE FROM instance WHERE id IN (
  SELECT id FROM instance WHERE workload = ? AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT -1 OFFSET ?
);

-- name: drop_instances
DELETE FROM instance WHERE workload = ?;

-- name: drop_workload
DELETE FROM workload WHERE name = ?;
