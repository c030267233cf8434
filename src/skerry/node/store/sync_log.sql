-- name: add
INSERT INTO sync_log (id, operation, entity_type, entity_id, status, timestamp, details) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: newest
SELECT operation, entity_type, entity_id, status, timestamp, details FROM sync_log ORDER BY rowid DESC LIMIT ?;

-- name: drop_old
DELETE FROM sync_log WHERE rowid <= (SELECT max(rowid) FROM sync_log) - ?;
