-- Shared rows: documents that hub and nodes both write (docs/adr/0018-shared-rows-are-judged-at-the-hub.md). «body»,
-- «base» and «ours» are bodies, all else keys.

-- The kinds of rows that this node shares. `cursor` is how far it has the hub's changes, `hlc` the newest clock of its
-- own edits, `lost` whether the hub was put back and may lack what this node has.
CREATE TABLE shared_entity (
  entity TEXT PRIMARY KEY,
  cursor TEXT NOT NULL DEFAULT '',
  hlc    INTEGER NOT NULL DEFAULT 0,
  lost   INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- `rev` is the hub's revision that this is, or that its unsent edit was made on; 0: the hub has none. `queued` is the
-- edit's place in the outbox, 0: there is none. `seen` is the newest revision that came while an edit was on its way.
-- `mark` (64 bits, signed) is that of the hub's version: of this row, or while it is edited of its base; 0: none.
CREATE TABLE shared_row (
  entity  TEXT NOT NULL,
  id      TEXT NOT NULL,
  rev     INTEGER NOT NULL,
  hlc     INTEGER NOT NULL,
  origin  TEXT NOT NULL,
  deleted INTEGER NOT NULL,
  queued  INTEGER NOT NULL,
  settles INTEGER NOT NULL,
  whole   INTEGER NOT NULL,
  seen    INTEGER NOT NULL,
  mark    INTEGER NOT NULL,
  body    BLOB NOT NULL,
  PRIMARY KEY (entity, id)
) WITHOUT ROWID;

-- The hub's version of a row that is edited here.
CREATE TABLE shared_base (
  entity  TEXT NOT NULL,
  id      TEXT NOT NULL,
  rev     INTEGER NOT NULL,
  hlc     INTEGER NOT NULL,
  origin  TEXT NOT NULL,
  deleted INTEGER NOT NULL,
  body    BLOB NOT NULL,
  PRIMARY KEY (entity, id)
) WITHOUT ROWID;

-- References to edited rows; later edits coalesce. Those up to the last frame's `last` are on their way.
CREATE TABLE shared_outbox (
  entity TEXT NOT NULL,
  seq    INTEGER NOT NULL,
  id     TEXT NOT NULL,
  PRIMARY KEY (entity, seq)
) WITHOUT ROWID;

-- Frozen edits of one entity, `first` … `last` of its outbox: `n` is given once and the bytes never change. They are not
-- in `frozen`, whose bodies are sealed for the place (n) and could not be opened under another key.
CREATE TABLE shared_frame (
  lane   TEXT NOT NULL,
  n      INTEGER NOT NULL,
  chain  TEXT NOT NULL,
  entity TEXT NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  failed INTEGER NOT NULL DEFAULT 0,
  body   BLOB NOT NULL,
  PRIMARY KEY (lane, n)
) WITHOUT ROWID;

-- Edits of this node that wait at the hub until a person decides; the row goes on with its accepted version.
CREATE TABLE shared_conflict (
  entity  TEXT NOT NULL,
  id      TEXT NOT NULL,
  rev     INTEGER NOT NULL,
  hlc     INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  base    BLOB,
  ours    BLOB NOT NULL,
  PRIMARY KEY (entity, id)
) WITHOUT ROWID;

-- Sums of marks, modulo 2^64 and signed, by `core.row_digests.bucket_of`.
CREATE TABLE shared_sum (
  entity TEXT NOT NULL,
  bucket INTEGER NOT NULL,
  sum    INTEGER NOT NULL,
  PRIMARY KEY (entity, bucket)
) WITHOUT ROWID;

-- Rows of which the hub has a version that did not come with its changes.
CREATE TABLE shared_wanted (
  entity TEXT NOT NULL,
  id     TEXT NOT NULL,
  PRIMARY KEY (entity, id)
) WITHOUT ROWID;
