-- name: head
SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1;

-- name: add
INSERT INTO audit (seq, version, at, actor, role, action, object, origin, outcome, status, "of", count, detail, prev, hash)
VALUES (:seq, :version, :at, :actor, :role, :action, :object, :origin, :outcome, :status, :of, :count, :detail, :prev, :hash);

-- name: after
SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?;

-- name: last_run
SELECT action, at FROM audit WHERE action IN ('agent_start', 'agent_stop') ORDER BY seq DESC LIMIT 1;

-- name: hub_heads
SELECT hub_id, epoch, seq, hash, at FROM hub_head ORDER BY epoch, seq, at;

-- name: put_hub_head
INSERT INTO hub_head (hub_id, epoch, seq, hash, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: drop_hub_head
DELETE FROM hub_head WHERE hub_id = ? AND epoch = ? AND seq = ? AND hash = ?;
