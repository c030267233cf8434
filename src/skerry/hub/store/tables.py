"""The hub's tables, for SQLite and PostgreSQL alike. Every row belongs to a fleet; names are unique per fleet.

Times are nanoseconds since 1970. `change` is the log that nodes pull: `scope` is the node that a change
is for, `tag` a random value that binds cursors to this history. Its numbers are allotted from `log`
inside the writing transaction, so their order is the order of commits on every database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

from skerry.wire.records import Kind

FLEET = "default"
"""The one fleet that a hub has so far; every row names it already."""

metadata = MetaData()

_BIG_ID = BigInteger().with_variant(Integer, "sqlite")

fact = Table(
    "fact", metadata,
    Column("name", Text, primary_key=True),  # hub_id, cursor_key, index_key
    Column("value", Text, nullable=False),
)  # fmt: skip

enrolment_token = Table(
    "enrolment_token", metadata,
    Column("hash", Text, primary_key=True),  # SHA-256 of the token
    Column("fleet_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Column("used_by", Text),  # the first node
    Column("uses", Integer, nullable=False, server_default="1"),
    Column("used", Integer, nullable=False, server_default="0"),
    Column("labels", Text, nullable=False, server_default="{}"),  # which it gives to nodes
    Column("hardware", Text, nullable=False, server_default=""),  # the only one that may use it; empty: any
    Column("name_prefix", Text, nullable=False, server_default=""),
)  # fmt: skip

node = Table(
    "node", metadata,
    Column("id", Text, primary_key=True),
    Column("fleet_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("secret_hash", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("enrolled_at", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("given_labels", Text, nullable=False, server_default="{}"),  # by its token, before what it reports
    Column("key_hash", Text, nullable=False, server_default=""),  # SHA-256 of the SubjectPublicKeyInfo; empty: none
    Column("revoked_key_hash", Text, nullable=False, server_default=""),  # the key that was withdrawn
    Column("certificate_serial", Text, nullable=False, server_default=""),
    Column("certificate_expires_at", BigInteger, nullable=False, server_default="0"),
    Column("certificate_root", Integer, nullable=False, server_default="0"),  # trust_root.number that it hangs on
    Column("trust_number", Integer, nullable=False, server_default="0"),  # of the bundle that the node has
    Column("revoked_at", BigInteger),  # since then it must enrol again
    Column("fingerprint", Text, nullable=False, server_default=""),  # as which device its twins know it (ADR 43)
    UniqueConstraint("fleet_id", "name"),
)  # fmt: skip

workload = Table(
    "workload", metadata,
    Column("fleet_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("restarts", Integer, nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)  # fmt: skip

model = Table(
    "model", metadata,
    Column("fleet_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("spec", LargeBinary, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)  # fmt: skip

secret = Table(
    "secret", metadata,
    Column("fleet_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("id", Text, nullable=False),  # another one for each value that was ever set
    Column("set_at", BigInteger, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # `fleet.sealing.Kept`; the value is locked where bodies are not sealed
)  # fmt: skip

workload_version = Table(
    "workload_version", metadata,  # what a workload was told to be, the newest last; outlives its workload
    Column("fleet_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("change", Text, nullable=False),  # create | change | rollback | delete
    Column("source", Integer),  # of a rollback: the version that was taken
    Column("spec", LargeBinary, nullable=False),  # of a deletion: the last one
)  # fmt: skip

rollout = Table(
    "rollout", metadata,  # a change that has not reached all nodes of its workload yet
    Column("fleet_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("updated_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # fleet.rollouts.Rollout
)  # fmt: skip

state = Table(
    "state", metadata,  # rows of every synced entity; scope is the node that the row is for or comes from
    Column("fleet_id", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("rev", BigInteger, nullable=False),
    Column("hlc", BigInteger, nullable=False),
    Column("origin", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("state_by_row", "fleet_id", "entity", "id"),
)  # fmt: skip

log = Table(
    "log", metadata,  # one row a fleet: the head of `change`
    Column("fleet_id", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),  # rises when this database turns out to be a restored copy
    Column("seq", BigInteger, nullable=False),  # the last number that was allotted
    Column("pruned_through", BigInteger, nullable=False),  # up to here, superseded changes may be missing
)  # fmt: skip

change = Table(
    "change", metadata,
    Column("fleet_id", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("tag", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("change_by_row", "fleet_id", "scope", "entity", "id", "seq"),
    Index("change_by_time", "at"),
)  # fmt: skip

lane = Table(
    "lane", metadata,
    Column("node_id", Text, primary_key=True),
    Column("incarnation", Text, primary_key=True),
    Column("lane", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("chain", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("backed_up", BigInteger, nullable=False, server_default="0"),  # the furthest of its points in `backup_point`
)  # fmt: skip

backup = Table(
    "backup", metadata,  # verified backups that are still there: what they hold, nodes may forget
    Column("id", Text, primary_key=True),
    Column("path", Text, nullable=False),  # empty: one by the user's own tools
    Column("size", BigInteger, nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),  # it counts until then, unless it is seen again
)  # fmt: skip

backup_point = Table(
    "backup_point", metadata,  # how far a backup has each lane
    Column("node_id", Text, primary_key=True),
    Column("incarnation", Text, primary_key=True),
    Column("lane", Text, primary_key=True),
    Column("backup_id", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)  # fmt: skip

# `used_at` of a dictionary row is refreshed once a day while records name it. So a row that has not been
# used for longer than any record is kept is named by none, and goes without a search through the records.

series = Table(
    "series", metadata,
    Column("id", _BIG_ID, primary_key=True, autoincrement=True),
    Column("fleet_id", Text, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("kind", Text, nullable=False),  # measurement | event | gap | file
    Column("name", Text, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    UniqueConstraint("node_id", "source", "kind", "name"),
)  # fmt: skip

session = Table(
    "session", metadata,
    Column("id", _BIG_ID, primary_key=True, autoincrement=True),
    Column("node_id", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    UniqueConstraint("node_id", "token"),
)  # fmt: skip

meta = Table(
    "meta", metadata,
    Column("id", _BIG_ID, primary_key=True, autoincrement=True),
    Column("hash", Text, nullable=False, unique=True),  # of `json` (with Facts.index_key), which may be too long for an index
    Column("json", Text, nullable=False),
    Column("used_at", BigInteger, nullable=False),
)  # fmt: skip

batch = Table(
    "batch", metadata,  # what the records of one acceptance share: when the device took them, when we did
    Column("id", _BIG_ID, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("accepted_at", BigInteger, nullable=False),
    Column("monotonic", BigInteger, nullable=False),
    Column("quality", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Index("batch_by_age", "kind", "received_at"),
)  # fmt: skip

VALUE_BOOL, VALUE_INT, VALUE_FLOAT, VALUE_TEXT, VALUE_QUOTED, VALUE_SEALED = range(6)
"""Which column holds a record's value. Quoted: `text` is JSON, because PostgreSQL's text cannot hold a NUL.

Sealed: `text` is a sealed text (`store.bodies`).
"""

record = Table(
    "record", metadata,  # the primary key is the record's own identity: the same record twice is one row
    Column("series_id", BigInteger, ForeignKey("series.id"), primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("session_id", BigInteger, primary_key=True),  # no foreign key: checking it would read every record
    Column("counter", BigInteger, primary_key=True),
    Column("batch_id", BigInteger, nullable=False),
    Column("meta_id", BigInteger),
    Column("type", SmallInteger, nullable=False),
    Column("integer", BigInteger),
    Column("double", Double),
    Column("text", Text),
    Column("kind", SmallInteger, nullable=False),  # of its series, as in KINDS: PostgreSQL's partitions go by kind and `at`
    Index("record_by_batch", "batch_id"),  # for retention: records expire by batch
    sqlite_with_rowid=False,
)  # fmt: skip

KINDS: tuple[Kind, ...] = ("measurement", "event", "gap", "file")
"""What `record.kind` counts."""

retention_removed = Table(
    "retention_removed", metadata,  # how much retention has removed, and why
    Column("rule", Text, primary_key=True),  # a rule for names, or a kind: «measurements»
    Column("records", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
)  # fmt: skip

# What several hub processes on one PostgreSQL must know of each other. Times are the database's own.

lease = Table(
    "lease", metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),  # HubStore.origin
    Column("until", BigInteger, nullable=False),
)  # fmt: skip

hub_process = Table(
    "hub_process", metadata,
    Column("id", Text, primary_key=True),  # HubStore.origin
    Column("address", Text, nullable=False),
    Column("nodes_address", Text, nullable=False, server_default=""),  # where nodes reach it
    Column("root", Integer, nullable=False, server_default="0"),  # trust_root.number that its own certificate hangs on
    Column("token_hash", Text, nullable=False),  # of the administrator's token, which must be one for all
    Column("seen_at", BigInteger, nullable=False),
)  # fmt: skip

live_link = Table(
    "live_link", metadata,
    Column("node_id", Text, primary_key=True),
    Column("hub", Text, nullable=False),  # hub_process.id
    Column("turn", BigInteger, nullable=False),  # of two links of one node, the later counts
)  # fmt: skip

login_code = Table(
    "login_code", metadata,
    Column("hash", Text, primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("who", Text, nullable=False, server_default="admin"),  # whose session it begins
    Column("parent", Text, nullable=False, server_default=""),  # hash of the `sign_in` that this hangs on
    Column("until", BigInteger, nullable=False, server_default="0"),  # when that ends; 0: never
)  # fmt: skip

api_token = Table(
    "api_token", metadata,  # of people; outlives its use, so that a name is one token's for ever
    Column("fleet_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),  # SHA-256 of the token
    Column("role", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("revoked_at", BigInteger),
)  # fmt: skip

audit = Table(
    "audit", metadata,  # `core.audit_chain`: triggers of the database refuse everything but an entry at the end
    Column("fleet_id", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("of", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("prev", Text, nullable=False),
    Column("hash", Text, nullable=False),
)  # fmt: skip

file = Table(
    "file", metadata,  # one row for each record of kind «file»: its identity, and what it names
    Column("session_id", BigInteger, primary_key=True, autoincrement=False),
    Column("counter", BigInteger, primary_key=True, autoincrement=False),
    Column("fleet_id", Text, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("meta", Text),
    Index("file_by_content", "fleet_id", "sha256", "node_id"),
    Index("file_by_time", "fleet_id", "at"),
    Index("file_by_age", "received_at"),
)  # fmt: skip

file_content = Table(
    "file_content", metadata,  # a content that a node has begun to send
    Column("fleet_id", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("arrived_at", BigInteger),  # when all of it was here and had proved to be what its name says
    Column("manifest", LargeBinary, nullable=False),  # files.layout.Layout; empty once it has arrived
    Column("tail", LargeBinary, nullable=False),  # what a cut has left of a chunk …
    Column("tail_at", BigInteger, nullable=False),  # … that begins there, if the blob still ends there
)  # fmt: skip

file_chunk = Table(
    "file_chunk", metadata,  # where a chunk lies in a content that has arrived
    Column("fleet_id", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index("file_chunk_by_content", "fleet_id", "content"),
)  # fmt: skip

key_ring = Table(
    "key_ring", metadata,  # encryption at rest: no row while it is off, else the one with all data keys, sealed
    Column("fleet_id", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("written", LargeBinary, nullable=False),  # kit.sealing.ring_file.Written
)  # fmt: skip

blob_key = Table(
    "blob_key", metadata,  # the key of one sealed blob: sealed itself, so that a rotation touches no blob
    Column("place", Text, primary_key=True),  # blobs | files
    Column("sha256", Text, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)  # fmt: skip
