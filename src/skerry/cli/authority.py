"""`skerry hub ca show|rotate|export|import` and `skerry revoke node`: the fleet's certificates. See docs/operate/trust.md.

Export and import work on the hub's files, beside a hub that runs or does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from skerry.cli.data_dirs import ContextOption, hub_options
from skerry.cli.hub_backups import ConfigOption, DataDirOption
from skerry.cli.output import Form, FormOption, Line, Table, number, standard_screen, word
from skerry.cli.session import Session, remote
from skerry.hub.settings import find_settings, hub_settings
from skerry.kit.clock import iso
from skerry.kit.disk import RealDisk
from skerry.kit.errors import Refused
from skerry.kit.sealing.sources import read_secret
from skerry.wire.people import NodeRevoked
from skerry.wire.trust import TrustView

PassphraseFile = Annotated[
    Path, typer.Option(help="The file with the passphrase that seals it; nobody else may read it.")
]


def register_hub(hub: typer.Typer) -> None:
    """Adds the command group to `skerry hub`."""
    group = typer.Typer(help="The fleet's certificate authority.", no_args_is_help=True)
    group.command("show")(show)
    group.command("rotate")(rotate)
    group.command("export")(export)
    group.command("import")(import_)
    hub.add_typer(group, name="ca")


@remote
async def revoke_node(
    session: Session, name: Annotated[str, typer.Argument(help="The node's name.")]
) -> None:
    """Withdraw a node's key and secret at once. It keeps its place: with a new token it enrols again."""
    async with session.hub() as hub:
        path = f"/api/v1/nodes/{quote(name, safe='')}/revoke"
        revoked = await hub.send("POST", path, None, NodeRevoked)
    session.screen.tell(
        f"node «{name}» is revoked: the hub no longer talks to it. To let it in again: skerry token create, and on the "
        "device skerry node enroll --again",
        {"node": name, "order": "revoke", "id": revoked.id},
    )


@remote
async def show(session: Session) -> None:
    """Show the fleet's roots, what the hub issues under, and which nodes have not heard of the newest root."""
    async with session.hub() as hub:
        trust = await hub.get("/api/v1/trust", TrustView)
    session.screen.show(trust_table(trust))


@remote
async def rotate(
    session: Session,
    *,
    finish: Annotated[
        bool, typer.Option("--finish", help="Issue under the new root from now on.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Leave nodes behind that have not heard of it.")
    ] = False,
) -> None:
    """Change the root: first the fleet learns to believe the new one, then (--finish) everything is issued under it."""
    if force and not finish:
        raise Refused("cannot use --force without --finish")
    step = f"finish?force={str(force).lower()}" if finish else "rotate"
    async with session.hub() as hub:
        trust = await hub.send("POST", f"/api/v1/trust/{step}", None, TrustView)
    screen = session.screen
    screen.show(trust_table(trust))
    screen.note(
        "certificates are issued under the new root from now on; the former one goes when nobody hangs on it any more"
        if finish
        else "when all nodes have heard of the new root: skerry hub ca rotate --finish"
    )


def export(  # noqa: PLR0913, PLR0917 - one for each option
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    passphrase_file: PassphraseFile,
    remove: Annotated[
        bool,
        typer.Option(
            "--remove", help="Then remove the root's key here: it is offline from now on."
        ),
    ] = False,
    context: ContextOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Write the root with its key to a file that a passphrase seals, to keep it elsewhere."""
    from skerry.hub.trust import offline
    from skerry.hub.trust.files import TrustFiles

    settings = hub_settings(
        find_settings(config or [], options=hub_options(data_dir, config, context))
    )
    disk = RealDisk()
    files = TrustFiles(settings.data_dir, disk)
    kept = files.read()
    root = kept.root_signer if kept else None
    if root is None:
        raise Refused(f"cannot export the root: {files.directory} does not have its key")
    if file.exists():
        raise Refused(f"cannot export the root: {file} is there already. Choose another file.")
    passphrase = read_secret(passphrase_file).strip(b"\r\n")
    disk.write_atomic("trust.export", file, offline.sealed(root, passphrase), 0o600)
    if remove:
        offline.opened(file.read_bytes(), passphrase)
        files.remove_root_key()
    standard_screen(output).tell(
        f"the root is in {file}, sealed; "
        + ("its key is no longer here" if remove else "its key is here, too"),
        {"file": str(file), "removed": remove},
    )


def import_(
    file: Annotated[Path, typer.Argument(help="The file that «export» wrote.")],
    passphrase_file: PassphraseFile,
    context: ContextOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    output: FormOption = Form.TABLE,
) -> None:
    """Bring the root's key back from its file, to renew the intermediate, or to a hub that has lost its files."""
    from skerry.hub.trust import offline
    from skerry.hub.trust.files import TrustFiles

    settings = hub_settings(
        find_settings(config or [], options=hub_options(data_dir, config, context))
    )
    disk = RealDisk()
    root = offline.opened(file.read_bytes(), read_secret(passphrase_file).strip(b"\r\n"))
    disk.make_directory("hub.directory", settings.data_dir)
    files = TrustFiles(settings.data_dir, disk)
    kept = files.read()
    if kept is not None and kept.root != root.certificate:
        raise Refused(f"cannot import the root: {files.directory} has another one")
    files.write_root(root)
    standard_screen(output).tell(
        f"the root's key is in {files.directory} again", {"directory": str(files.directory)}
    )


def trust_table(trust: TrustView) -> Table:
    """One line for each root."""
    rows = [
        (
            number(root.number),
            word(root.state),
            number(root.nodes),
            iso(root.expires_at),
            root.fingerprint,
        )
        for root in trust.roots
    ]
    key = "here" if trust.root_key else "offline"
    lead = [
        Line(f"root's key {key}; the intermediate ends at {iso(trust.intermediate_expires_at)}")
    ]
    if trust.behind:
        lead.append(Line(f"have not heard of the newest root: {', '.join(trust.behind)}", "yellow"))
    return Table(("ROOT", "STATE", "NODES", "ENDS", "FINGERPRINT"), rows, trust, lead=lead)
