"""The room of a node's secrets with a real child that opens them: keys, envelopes, and reasons to wait."""

import random
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.sealing_rig import ring

from skerry.core.secrets import bound_to, key_id
from skerry.kit.clock import SystemClock
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused, Transient
from skerry.kit.sealing.cipher import NullCipher
from skerry.kit.sealing.envelopes import new_key, public_of, seal
from skerry.node.secrets.key_file import KEY_FILE, NodeKey, keep_key, read_key, seal_key
from skerry.node.secrets.on_demand import SecretsOnDemand
from skerry.node.secrets.opening import Answer, Order, in_child
from skerry.node.secrets.room import Keys, SecretRoom
from skerry.testing.waiting import eventually
from skerry.wire.secrets import SealedSecret, SecretUse
from skerry.wire.workload import Assignment, Generation, ProcessSpec, WorkloadSpec

NODE = "node-1"


class Site:
    """A node's directory, and what its hub has heard."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told: list[bytes] = []
        self.living: list[Assignment] = []
        self.rooms: list[SecretRoom] = []
        self.orders = 0

    def agent(self) -> SecretsOnDemand:
        async def tell(public: bytes) -> None:
            self.told.append(public)

        async def opened(order: Order) -> Answer:
            self.orders += 1
            return await in_child(order)

        async def renewed(_w: Assignment, _v: Mapping[str, bytes], _f: Sequence[str]) -> None:
            return None

        def build() -> SecretRoom:
            keys = Keys(NODE, self.key, self.keep, tell)
            clock, chance = SystemClock(), random.Random(1)
            room = SecretRoom(keys, opened, lambda: self.living, renewed, clock, chance)
            self.rooms.append(room)
            return room

        return SecretsOnDemand(build, lambda: self.living)

    def key(self) -> NodeKey | None:
        return read_key(self.directory, NullCipher())

    def keep(self, key: NodeKey) -> None:
        keep_key(self.directory, key, NullCipher(), RealDisk())

    def sealed(self, value: bytes, name: str = "db", version: int = 1) -> SealedSecret:
        public = self.told[-1]
        secret = SealedSecret(name, version, f"id-{version}", key_id(public))
        envelope = seal(value, public, bound_to(secret, NODE))
        return SealedSecret(name, version, secret.id, secret.to, envelope)


def using(*secrets: SealedSecret) -> Assignment:
    uses = [SecretUse(name="db")]
    spec = WorkloadSpec(name="w", process=ProcessSpec(command=["x"]), secrets=uses)
    return Assignment("w", Generation(1, 1), spec, secrets=list(secrets))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_the_first_need_makes_a_key_and_tells_it(site: Site) -> None:
    secrets = site.agent()
    wish = using(SealedSecret("db", 1, "id-1"))
    secrets.want([wish])
    await eventually(lambda: bool(site.told), "the key was told")
    assert (
        secrets.missing(wish) == "waits for secret «db»: the hub has not sealed it to this node yet"
    )
    path = site.directory / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sealed = using(site.sealed(b"value-of-it"))
    secrets.want([sealed])
    await eventually(lambda: secrets.missing(sealed) == "", "it was opened")
    assert secrets.values(sealed) == {"db": b"value-of-it"}
    assert "value-of-it" in secrets.masked("w")
    await secrets.check(sealed)
    orders = site.orders
    secrets.want([sealed])
    assert secrets.values(sealed) == {"db": b"value-of-it"}
    assert site.orders == orders  # a restart waits for nothing
    await secrets.close()

    again = site.agent()
    site.living = [sealed]
    await again.restore()
    assert again.values(sealed) == {"db": b"value-of-it"}
    assert len(site.told) == 1
    await again.close()


async def test_what_was_sealed_for_something_else_does_not_open(site: Site) -> None:
    secrets = site.agent()
    secrets.want([using(SealedSecret("db", 1, "id-1"))])
    await eventually(lambda: bool(site.told), "the key was told")
    other = site.sealed(b"value-of-it", version=2)
    swapped = using(SealedSecret("db", 1, "id-1", other.to, other.sealed))
    secrets.want([swapped])
    words = "waits for secret «db»: what came was not sealed for this node, name and version"
    await eventually(lambda: secrets.missing(swapped) == words, "it was tried")
    assert secrets.values(swapped) is None
    with pytest.raises(Transient, match="was not sealed for this node"):
        await secrets.check(swapped)
    await secrets.close()


async def test_each_reason_to_wait_is_told(site: Site) -> None:
    secrets = site.agent()
    why = using(SealedSecret("db", why="it does not exist"))
    assert secrets.missing(why) == "waits for secret «db»: it does not exist"
    assert secrets.missing(using()) == "waits for secret «db»: only the hub can send it"
    await secrets.close()


async def test_a_key_that_others_may_read_is_not_used(site: Site) -> None:
    private = new_key()
    site.keep(NodeKey(private, public_of(private)))
    (site.directory / KEY_FILE).chmod(0o640)
    with pytest.raises(Refused, match="may be read by others. Run: chmod 600"):
        site.key()
    secrets = site.agent()
    wish = using(SealedSecret("db", 1, "id-1"))
    secrets.want([wish])
    await eventually(lambda: "may be read by others" in secrets.missing(wish), "it is told")
    assert site.told == []
    await secrets.close()


def test_a_key_from_before_encryption_is_sealed_and_still_the_same(tmp_path: Path) -> None:
    private = new_key()
    key, path = NodeKey(private, public_of(private)), tmp_path / KEY_FILE
    keep_key(tmp_path, key, NullCipher(), RealDisk())
    assert private in path.read_bytes()
    cipher = ring(tmp_path).cipher("store")
    assert seal_key(tmp_path, cipher, RealDisk())
    assert private not in path.read_bytes()
    assert read_key(tmp_path, cipher) == key
    assert not seal_key(tmp_path, cipher, RealDisk())
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert read_key(tmp_path, cipher) is None
