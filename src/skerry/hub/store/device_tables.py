"""What the hub keeps of devices besides nodes: those that have not come yet, those that have gone, and their orders."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from skerry.hub.store.tables import metadata

device = Table(
    "device", metadata,  # registered by name, or taken out of service; a node that just enrolled needs no row here
    Column("id", Text, primary_key=True),  # that of its node
    Column("fleet_id", Text, nullable=False),
    Column("name", Text, nullable=False),  # of a decommissioned one, which it may share with its successors
    Column("registered_at", BigInteger, nullable=False),
    Column("registered_by", Text, nullable=False),
    Column("ip_address", Text, nullable=False),
    Column("ssh_user", Text, nullable=False),
    Column("token_hash", Text),  # of the enrolment token that makes a node this device
    Column("decision", Text, nullable=False),  # empty | draining | decommissioned
    Column("decided_at", BigInteger, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("enrolled_at", BigInteger, nullable=False),  # of a decommissioned one: when that was, 0 if never
    Column("last_seen", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    Column("secret_hash", Text),  # of a decommissioned one: by it the hub knows whom to tell to erase itself …
    Column("key_hash", Text),  # … or, where nodes have certificates, by their key
    Column("erased_at", BigInteger, nullable=False),
    Column("erasure", LargeBinary),  # fleet.erasures.Kept
    Index("device_by_name", "fleet_id", "name"),
    Index("device_by_token", "token_hash"),
    Index("device_by_decision", "fleet_id", "decision"),
)  # fmt: skip

command = Table(
    "command", metadata,  # orders to nodes, for people; what the node is told is a row of entity «command»
    Column("id", Text, primary_key=True),
    Column("fleet_id", Text, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # wire.devices.CommandState
    Column("updated_at", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Column("reply", LargeBinary),  # what a twin's driver has answered; not there: nothing
    Index("command_by_node", "fleet_id", "node_id", "issued_at"),
    Index("command_by_state", "fleet_id", "state"),
)  # fmt: skip

device_change = Table(
    "device_change", metadata,  # what a device told differently than before, the newest of each device
    Column("fleet_id", Text, primary_key=True),
    Column("node_id", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),  # a list of wire.inventory.Differing
)  # fmt: skip
