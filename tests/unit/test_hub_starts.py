"""What keeps a hub from starting is a sentence that says what to do, never a traceback."""

from pathlib import Path

import msgspec
import pytest
from tests.hub_backups import hub_settings_at

from skerry.hub.api import admin_token
from skerry.hub.maintenance import make_data_dir
from skerry.hub.store.engine import parse_url
from skerry.hub.store.sole import only_user
from skerry.kit.disk import RealDisk
from skerry.kit.errors import InvalidInput, Refused


@pytest.mark.parametrize("address", ["postgresql://skerry@db:54x3/skerry", "nonsense", ""])
def test_an_address_that_cannot_be_read(address: str) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read the address of the database: write"):
        parse_url(address)


def test_a_directory_that_cannot_be_made_or_used(tmp_path: Path) -> None:
    file = tmp_path / "hub"
    settings = msgspec.structs.replace(hub_settings_at(tmp_path), data_dir=file / "data")
    file.write_text("no directory")
    with pytest.raises(
        Refused, match=r"cannot make .*data: Not a directory.*«data_dir» in hub.yaml, or --data-dir"
    ):
        make_data_dir(settings)
    with (
        pytest.raises(Refused, match=r"cannot open .*hub.db: Not a directory.*give another path"),
        only_user(parse_url(f"sqlite:///{file}/hub.db")),
    ):
        pass


def test_a_token_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "admin.token").mkdir()
    with pytest.raises(Refused, match=r"cannot use .*admin.token: Is a directory"):
        admin_token.load_or_create(tmp_path, RealDisk())
