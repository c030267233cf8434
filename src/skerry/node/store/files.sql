-- name: row
SELECT * FROM file WHERE sha256 = ?;

-- name: waiting
SELECT * FROM file WHERE sent_at IS NULL AND n > 0 AND problem = '' ORDER BY at LIMIT ?;

-- name: page
SELECT * FROM file WHERE sha256 > ? ORDER BY sha256 LIMIT ?;

-- name: unnamed
SELECT * FROM file WHERE sent_at IS NULL AND n = 0 AND at < ?;

-- name: sent_ones
SELECT * FROM file WHERE sent_at IS NOT NULL AND sent_no < ? ORDER BY sent_no;

-- name: sent_after
SELECT * FROM file WHERE sent_at IS NOT NULL AND sent_no > ? ORDER BY sent_no LIMIT ?;

-- name: last_sent
SELECT * FROM file WHERE sent_at IS NOT NULL ORDER BY sent_no DESC LIMIT 1;

-- name: first_young
SELECT sent_no FROM file WHERE sent_at IS NOT NULL AND NOT
  CASE WHEN sent_boot = :boot THEN sent_monotonic < :monotonic ELSE sent_at >= :set AND sent_at < :wall END
ORDER BY sent_no LIMIT 1;

-- name: backed_up
SELECT * FROM file WHERE sent_at IS NOT NULL AND n <= ? ORDER BY n, sent_no;

-- name: backed_up_or_old_size
SELECT (SELECT coalesce(sum(size), 0) FROM file WHERE sent_at IS NOT NULL AND n <= :n)
  + (SELECT coalesce(sum(size), 0) FROM file WHERE sent_at IS NOT NULL AND n > :n AND sent_no < :no);

-- name: totals
SELECT count, used, waiting, unsent, coalesce((SELECT problem FROM file WHERE problem <> '' LIMIT 1), '') AS problem
FROM file_totals;

-- name: put
INSERT INTO file (sha256, size, at, n, sent_at, problem) VALUES (:sha256, :size, :at, 0, NULL, '')
ON CONFLICT (sha256) DO UPDATE SET at = excluded.at, problem = '';

-- name: name
UPDATE file SET n = max(n, :n) WHERE sha256 = :sha256;

-- name: sent
UPDATE file SET sent_at = :wall, sent_monotonic = :monotonic, sent_boot = :boot, n = max(n, :n), problem = '',
  sent_no = 1 + (SELECT coalesce(max(sent_no), 0) FROM file WHERE sent_at IS NOT NULL)
WHERE sha256 = :sha256;

-- name: lost
UPDATE file SET sent_at = NULL WHERE sha256 = :sha256;

-- name: all_lost
UPDATE file SET sent_at = NULL WHERE sent_at IS NOT NULL AND sent_no >= :no;

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
