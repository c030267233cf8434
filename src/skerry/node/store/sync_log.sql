-- name: add
INSERT INTO sync_log (id, operation, entity_type, entity_id, status, timestamp, details) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: drop_old
DELETE FROM sync_log WHERE rowid <= (SELECT max(rowid) FROM sync_log) - ?;
