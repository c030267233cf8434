-- name: read
SELECT revision, rev, source, row, written, next FROM twin_file WHERE twin = ?;

-- name: twins
SELECT twin FROM twin_file ORDER BY twin;

-- name: put
INSERT INTO twin_file (twin, revision, rev, source, row, written, next)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (twin) DO UPDATE SET
  revision = excluded.revision, rev = excluded.rev, source = excluded.source, row = excluded.row,
  written = excluded.written, next = excluded.next;

-- name: drop
DELETE FROM twin_file WHERE twin = ?;
