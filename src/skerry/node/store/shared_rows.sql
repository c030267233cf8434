-- name: entities
SELECT entity, cursor, hlc, lost FROM shared_entity WHERE local IS NULL ORDER BY entity;

-- name: local_entities
SELECT entity, hlc, local FROM shared_entity WHERE local IS NOT NULL ORDER BY entity;

-- name: keep_local
INSERT INTO shared_entity (entity, local) VALUES (?, ?) ON CONFLICT (entity) DO UPDATE SET local = excluded.local;

-- name: share
INSERT INTO shared_entity (entity) VALUES (?) ON CONFLICT (entity) DO NOTHING;

-- name: set_hlc
UPDATE shared_entity SET hlc = max(hlc, ?) WHERE entity = ?;

-- name: set_cursor
UPDATE shared_entity SET cursor = ? WHERE entity = ?;

-- name: set_lost
UPDATE shared_entity SET lost = 1;

-- name: clear_lost
UPDATE shared_entity SET lost = 0 WHERE entity = ?;

-- name: row
SELECT id, rev, hlc, origin, deleted, queued, settles, whole, seen, mark, body
FROM shared_row WHERE entity = ? AND id = ?;

-- name: found
SELECT r.id, r.rev, r.hlc, r.origin, r.deleted, r.queued, r.settles, r.whole, r.seen, r.mark, r.body
FROM json_each(?) j CROSS JOIN shared_row r ON r.entity = ? AND r.id = j.value;

-- name: heads
SELECT r.id, r.rev, r.queued, r.mark FROM json_each(?) j CROSS JOIN shared_row r ON r.entity = ? AND r.id = j.value;

-- name: live_page
SELECT id, rev, hlc, origin, deleted, queued, settles, whole, seen, mark, CASE WHEN instr(body, ?) THEN body END AS body
FROM shared_row WHERE entity = ? AND id > ? AND id >= ? AND deleted = 0 ORDER BY id LIMIT ?;

-- name: count_page
SELECT count(*), max(id) FROM (
  SELECT id FROM shared_row WHERE entity = ? AND id > ? AND id >= ? AND deleted = 0 ORDER BY id LIMIT ?
) WHERE substr(id, 1, length(?)) = ?;

-- name: versions
SELECT id, rev, hlc, queued, mark FROM shared_row WHERE entity = ?;

-- name: put_row
INSERT INTO shared_row (entity, id, rev, hlc, origin, deleted, queued, settles, whole, seen, mark, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (entity, id) DO UPDATE SET
  rev = excluded.rev, hlc = excluded.hlc, origin = excluded.origin, deleted = excluded.deleted, queued = excluded.queued,
  settles = excluded.settles, whole = excluded.whole, seen = excluded.seen, mark = excluded.mark, body = excluded.body;

-- name: take_row
INSERT INTO shared_row (entity, id, rev, hlc, origin, deleted, queued, settles, whole, seen, mark, body)
VALUES (?, ?, ?, ?, ?, 0, 0, 0, 0, 0, ?, ?)
ON CONFLICT (entity, id) DO UPDATE SET
  rev = excluded.rev, hlc = excluded.hlc, origin = excluded.origin, deleted = 0, queued = 0,
  settles = 0, whole = 0, seen = 0, mark = excluded.mark, body = excluded.body;

-- name: accept
UPDATE shared_row SET rev = ?, mark = ?, origin = ?, queued = 0, settles = 0, whole = 0, seen = 0 WHERE entity = ? AND id = ?;

-- name: accept_new
UPDATE shared_row SET rev = ?, mark = ?, origin = ?, queued = 0
WHERE entity = ? AND id = ? AND hlc = ? AND rev = 0 AND mark = 0 AND seen = 0 AND deleted = 0 AND settles = 0 AND whole = 0
  AND queued BETWEEN ? AND ?;

-- name: accepted
SELECT r.id FROM shared_outbox o CROSS JOIN shared_row r ON r.entity = o.entity AND r.id = o.id
WHERE o.entity = ? AND o.seq BETWEEN ? AND ? AND r.queued = 0;

-- name: set_seen
UPDATE shared_row SET seen = max(seen, ?) WHERE entity = ? AND id = ?;

-- name: drop_row
DELETE FROM shared_row WHERE entity = ? AND id = ?;

-- name: base
SELECT rev, hlc, origin, deleted, body FROM shared_base WHERE entity = ? AND id = ?;

-- name: put_base
INSERT INTO shared_base (entity, id, rev, hlc, origin, deleted, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (entity, id) DO UPDATE SET
  rev = excluded.rev, hlc = excluded.hlc, origin = excluded.origin, deleted = excluded.deleted, body = excluded.body;

-- name: drop_base
DELETE FROM shared_base WHERE entity = ? AND id = ?;

-- name: newest_place
SELECT coalesce(max(seq), 0) FROM shared_outbox WHERE entity = ?;

-- name: queue
INSERT INTO shared_outbox (entity, seq, id) VALUES (?, ?, ?);

-- name: unqueue
DELETE FROM shared_outbox WHERE entity = ? AND seq BETWEEN ? AND ?;

-- name: waiting
SELECT o.seq, r.id, r.rev, r.hlc, r.deleted, r.settles, r.whole, r.body
FROM shared_outbox o CROSS JOIN shared_row r ON r.entity = o.entity AND r.id = o.id
WHERE o.entity = ? AND o.seq > ? ORDER BY o.seq LIMIT ?;

-- name: sent
SELECT r.id, r.rev, r.hlc, r.settles, r.seen, r.mark
FROM shared_outbox o CROSS JOIN shared_row r ON r.entity = o.entity AND r.id = o.id
WHERE o.entity = ? AND o.seq BETWEEN ? AND ?;

-- name: count_unsent
SELECT count(*) FROM shared_outbox WHERE entity = ?;

-- name: frames_of
SELECT first, last, failed FROM shared_frame WHERE entity = ?;

-- name: frozen_through
SELECT coalesce(max(last), 0) FROM shared_frame WHERE entity = ?;

-- name: count_after
SELECT count(*) FROM shared_frame WHERE lane = ? AND n > ?;

-- name: newest_frame
SELECT n, chain FROM shared_frame WHERE lane = ? ORDER BY n DESC LIMIT 1;

-- name: frame_at
SELECT chain FROM shared_frame WHERE lane = ? AND n = ?;

-- name: put_frame
INSERT INTO shared_frame (lane, n, chain, entity, first, last, body) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: frames_after
SELECT n, chain, CASE WHEN chain NOT IN (SELECT value FROM json_each(?)) THEN body END AS body
FROM shared_frame WHERE lane = ? AND n > ? ORDER BY n LIMIT ?;

-- name: frames_through
SELECT n, chain, first, last FROM shared_frame WHERE lane = ? AND n <= ? ORDER BY n;

-- name: frame_body
SELECT body FROM shared_frame WHERE lane = ? AND n = ?;

-- name: fail_frame
UPDATE shared_frame SET failed = 1 WHERE lane = ? AND n = ?;

-- name: drop_frames
DELETE FROM shared_frame WHERE lane = ? AND n <= ?;

-- name: lane
SELECT acknowledged, chain FROM lane WHERE lane = ?;

-- name: set_lane
INSERT INTO lane (lane, acknowledged, chain) VALUES (?, ?, ?)
ON CONFLICT (lane) DO UPDATE SET acknowledged = excluded.acknowledged, chain = excluded.chain;

-- name: conflicts
SELECT id, rev, deleted, base, ours FROM shared_conflict WHERE entity = ? ORDER BY id;

-- name: conflicting
SELECT id, hlc FROM shared_conflict WHERE entity = ?;

-- name: put_conflict
INSERT INTO shared_conflict (entity, id, rev, hlc, deleted, base, ours) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (entity, id) DO UPDATE SET
  rev = excluded.rev, hlc = excluded.hlc, deleted = excluded.deleted, base = excluded.base, ours = excluded.ours;

-- name: decided
DELETE FROM shared_conflict WHERE entity = ? AND id = ? AND hlc = ?;

-- name: drop_conflict
DELETE FROM shared_conflict WHERE entity = ? AND id = ?;

-- name: sums
SELECT bucket, sum FROM shared_sum WHERE entity = ?;

-- name: set_sum
INSERT INTO shared_sum (entity, bucket, sum) VALUES (?, ?, ?) ON CONFLICT (entity, bucket) DO UPDATE SET sum = excluded.sum;

-- name: want
INSERT INTO shared_wanted (entity, id) VALUES (?, ?) ON CONFLICT (entity, id) DO NOTHING;

-- name: want_held
INSERT INTO shared_wanted (entity, id)
SELECT r.entity, r.id FROM shared_row r JOIN shared_entity e ON e.entity = r.entity
WHERE r.entity = ? AND e.cursor = '' AND CASE r.queued WHEN 0 THEN r.rev > 0 ELSE r.queued <= ? END
ON CONFLICT (entity, id) DO NOTHING;

-- name: wants
SELECT EXISTS (SELECT 1 FROM shared_wanted WHERE entity = ?);

-- name: wants_any
SELECT EXISTS (SELECT 1 FROM shared_wanted);

-- name: wanted
SELECT w.id, coalesce(r.rev, 0) AS rev
FROM shared_wanted w LEFT JOIN shared_row r ON r.entity = w.entity AND r.id = w.id
WHERE w.entity = ? ORDER BY w.id LIMIT ?;

-- name: drop_wanted
DELETE FROM shared_wanted WHERE entity = ? AND id = ?;

-- name: untold
SELECT value FROM fact WHERE name = 'untold ' || ?;

-- name: note_untold
INSERT INTO fact (name, value) VALUES ('untold ' || ?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: drop_untold
DELETE FROM fact WHERE name = 'untold ' || ?;
