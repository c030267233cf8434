-- Which file the hub got last, and since when it has one, must not depend on a clock that is set: `sent_no` counts what
-- the hub got, `sent_monotonic` is the time of `sent_at` within `sent_boot`. Columns without a meaning while `sent_at` is
-- NULL. Sums are kept by triggers, since there may be hundreds of thousands of rows.
ALTER TABLE file ADD COLUMN sent_no INTEGER NOT NULL DEFAULT 0;
ALTER TABLE file ADD COLUMN sent_monotonic INTEGER NOT NULL DEFAULT 0;
ALTER TABLE file ADD COLUMN sent_boot TEXT NOT NULL DEFAULT '';
CREATE TABLE file_in_order (sha256 TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO file_in_order
SELECT sha256, row_number() OVER (ORDER BY sent_at) FROM file WHERE sent_at IS NOT NULL;
UPDATE file SET sent_no = (SELECT number FROM file_in_order WHERE file_in_order.sha256 = file.sha256)
WHERE sent_at IS NOT NULL;
DROP TABLE file_in_order;

DROP INDEX file_sent;
CREATE INDEX file_sent ON file (sent_no) WHERE sent_at IS NOT NULL;
CREATE INDEX file_backed_up ON file (n, sent_no, size) WHERE sent_at IS NOT NULL;
CREATE INDEX file_problem ON file (problem) WHERE problem <> '';

CREATE TABLE file_totals (
  count   INTEGER NOT NULL,
  used    INTEGER NOT NULL,
  waiting INTEGER NOT NULL,
  unsent  INTEGER NOT NULL
);
INSERT INTO file_totals
SELECT count(*), coalesce(sum(size), 0), count(*) FILTER (WHERE sent_at IS NULL),
  coalesce(sum(size) FILTER (WHERE sent_at IS NULL), 0)
FROM file;
CREATE TRIGGER file_comes AFTER INSERT ON file BEGIN
  UPDATE file_totals SET count = count + 1, used = used + NEW.size,
    waiting = waiting + (NEW.sent_at IS NULL), unsent = unsent + NEW.size * (NEW.sent_at IS NULL);
END;
CREATE TRIGGER file_goes AFTER DELETE ON file BEGIN
  UPDATE file_totals SET count = count - 1, used = used - OLD.size,
    waiting = waiting - (OLD.sent_at IS NULL), unsent = unsent - OLD.size * (OLD.sent_at IS NULL);
END;
CREATE TRIGGER file_moves AFTER UPDATE OF sent_at ON file BEGIN
  UPDATE file_totals SET waiting = waiting + (NEW.sent_at IS NULL) - (OLD.sent_at IS NULL),
    unsent = unsent + NEW.size * ((NEW.sent_at IS NULL) - (OLD.sent_at IS NULL));
END;
