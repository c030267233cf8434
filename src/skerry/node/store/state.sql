-- name: fact
SELECT value FROM fact WHERE name = ?;

-- name: set_fact
INSERT INTO fact (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: highest_hlc
SELECT coalesce(max(hlc), 0) FROM state;

-- name: rows
SELECT entity, id, rev, hlc, origin, deleted, body FROM state
WHERE entity IN (SELECT value FROM json_each(?)) AND deleted = 0 ORDER BY id;

-- name: row
SELECT entity, id, rev, hlc, origin, deleted, body FROM state WHERE entity = ? AND id = ?;

-- name: revisions
SELECT entity, id, rev FROM state WHERE deleted = 0;

-- name: put_row
INSERT INTO state (entity, id, rev, hlc, origin, deleted, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (entity, id) DO UPDATE SET
  rev = excluded.rev, hlc = excluded.hlc, origin = excluded.origin, deleted = excluded.deleted, body = excluded.body;

-- name: set_revision
UPDATE state SET rev = ? WHERE entity = ? AND id = ?;

-- name: insist
UPDATE state SET rev = ?, hlc = ? WHERE entity = ? AND id = ?;

-- name: drop_row
DELETE FROM state WHERE entity = ? AND id = ?;

-- name: queue
INSERT INTO outbox (entity, id) VALUES (?, ?) ON CONFLICT (entity, id) DO NOTHING;

-- name: queue_entity
INSERT INTO outbox (entity, id) SELECT entity, id FROM state WHERE entity = ? ON CONFLICT (entity, id) DO NOTHING;

-- name: is_queued
SELECT 1 FROM outbox WHERE entity = ? AND id = ?;

-- name: queued_rows
SELECT s.entity, s.id, s.rev, s.hlc, s.origin, s.deleted, s.body
FROM outbox o JOIN state s ON s.entity = o.entity AND s.id = o.id ORDER BY o.seq LIMIT ?;

-- name: unqueue
DELETE FROM outbox WHERE entity = ? AND id = ?;

-- name: count_unsent
SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM frozen WHERE n > ?);

-- name: newest_frozen
SELECT n, chain FROM frozen ORDER BY n DESC LIMIT 1;

-- name: put_frozen
INSERT INTO frozen (n, chain, body) VALUES (?, ?, ?);

-- name: frozen_after
SELECT n, chain, body FROM frozen WHERE n > ? ORDER BY n LIMIT ?;

-- name: frozen_at
SELECT chain FROM frozen WHERE n = ?;

-- name: drop_frozen
DELETE FROM frozen WHERE n <= ?;

-- name: drop_all_frozen
DELETE FROM frozen;

-- name: drop_all_shared_frames
DELETE FROM shared_frame;

-- name: forget_row_lanes
DELETE FROM lane WHERE lane GLOB 'rows-*';

-- name: shares_rows
SELECT EXISTS (SELECT 1 FROM shared_entity WHERE local IS NULL);

-- name: lane
SELECT acknowledged, chain FROM lane WHERE lane = ?;

-- name: set_lane
INSERT INTO lane (lane, acknowledged, chain) VALUES (?, ?, ?)
ON CONFLICT (lane) DO UPDATE SET acknowledged = excluded.acknowledged, chain = excluded.chain;
