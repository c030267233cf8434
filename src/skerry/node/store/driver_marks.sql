-- name: all
SELECT twin, made_of, metadata, restarts, total, ends, since, trial FROM driver_mark ORDER BY twin;

-- name: put
INSERT INTO driver_mark (twin, made_of, metadata, restarts, total, ends, since, trial)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (twin) DO UPDATE SET
  made_of = excluded.made_of, metadata = excluded.metadata, restarts = excluded.restarts, total = excluded.total,
  ends = excluded.ends, since = excluded.since, trial = excluded.trial;

-- name: drop
DELETE FROM driver_mark WHERE twin = ?;

-- name: restart
SELECT request, alert, phase, message, asked_at FROM edge_restart WHERE request = ?;

-- name: unfinished
SELECT request, alert, phase, message, asked_at FROM edge_restart WHERE phase <> 'done' ORDER BY asked_at LIMIT 1;

-- name: put_restart
INSERT INTO edge_restart (request, alert, phase, message, asked_at)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (request) DO UPDATE SET alert = excluded.alert, phase = excluded.phase, message = excluded.message;

-- name: drop_old_restarts
DELETE FROM edge_restart
WHERE phase = 'done' AND request NOT IN (SELECT request FROM edge_restart ORDER BY asked_at DESC LIMIT ?);
