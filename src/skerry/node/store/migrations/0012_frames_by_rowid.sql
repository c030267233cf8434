-- Frames of shared rows with a rowid. Without one, SQLite reads the whole of a record that lies over several pages each
-- time that it compares its key: every search for a frame of 1 MiB read one.
CREATE TABLE shared_frame_by_rowid (
  lane   TEXT NOT NULL,
  n      INTEGER NOT NULL,
  chain  TEXT NOT NULL,
  entity TEXT NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  failed INTEGER NOT NULL DEFAULT 0,
  body   BLOB NOT NULL,
  PRIMARY KEY (lane, n)
);

INSERT INTO shared_frame_by_rowid SELECT lane, n, chain, entity, first, last, failed, body FROM shared_frame;
DROP TABLE shared_frame;
ALTER TABLE shared_frame_by_rowid RENAME TO shared_frame;
