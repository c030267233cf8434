-- name: row
SELECT * FROM file WHERE sha256 = ?;

-- name: waiting
SELECT * FROM file WHERE sent_at IS NULL AND n > 0 AND problem = '' ORDER BY at LIMIT ?;

-- name: page
SELECT * FROM file WHERE sha256 > ? ORDER BY sha256 LIMIT ?;

-- name: unnamed
SELECT * FROM file WHERE sent_at IS NULL AND n = 0 AND at < ?;

-- name: sent_ones
SELECT * FROM file WHERE sent_at IS NOT NULL ORDER BY sent_at;

-- name: last_sent
SELECT * FROM file WHERE sent_at IS NOT NULL ORDER BY sent_at DESC LIMIT 1;

-- name: totals
SELECT count(*) AS count, coalesce(sum(size), 0) AS used,
  count(*) FILTER (WHERE sent_at IS NULL) AS waiting, coalesce(sum(size) FILTER (WHERE sent_at IS NULL), 0) AS unsent,
  max(problem) AS problem
FROM file;

-- name: put
INSERT INTO file (sha256, size, at, n, sent_at, problem) VALUES (:sha256, :size, :at, 0, NULL, '')
ON CONFLICT (sha256) DO UPDATE SET at = excluded.at, problem = '';

-- name: name
UPDATE file SET n = max(n, :n) WHERE sha256 = :sha256;

-- name: sent
UPDATE file SET sent_at = :at, n = max(n, :n), problem = '' WHERE sha256 = :sha256;

-- name: lost
UPDATE file SET sent_at = NULL WHERE sha256 = :sha256;

-- name: problem
UPDATE file SET problem = :problem WHERE sha256 = :sha256;

-- name: drop
DELETE FROM file WHERE sha256 = :sha256;

-- name: to_take_in
SELECT 1 FROM fact WHERE name = 'files_to_take_in';

-- name: take_in
INSERT INTO file (sha256, size, at, n, sent_at, problem) VALUES (:sha256, :size, :at, :n, NULL, '')
ON CONFLICT (sha256) DO NOTHING;

-- name: taken_in
DELETE FROM fact WHERE name = 'files_to_take_in';
