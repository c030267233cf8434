"""Every route of the hub and who may use it, by hand, and how to ask it: for tests that go through all of them."""

from __future__ import annotations

import aiohttp
from tests.http_client import Client
from tests.pushes import Pushes

from skerry.wire.access import (
    AccessTokenRequest,
    PasswordChange,
    RoleRequest,
    SignIn,
    UserChange,
    UserRequest,
)
from skerry.wire.audit import AcceptNodeLog, AuditPush, SignedHead
from skerry.wire.codec import encode
from skerry.wire.devices import ErasureReport
from skerry.wire.people import Apply, Rollback, TokenRequest
from skerry.wire.secret_views import SecretPut
from skerry.wire.ssh import SshCertificateRequest, SshNode, SshRevoke
from skerry.wire.sync import Enrol, Hello, Pull

BODIES = {
    ("POST", "/enrol/v1"): Enrol("no-such-token", "b", {}, "0.1.0", "0" * 64),
    ("POST", "/enrol/v1/erased"): ErasureReport("no-such-device", "{}", "0" * 64),
    ("POST", "/sync/v1/hello"): Hello((1, 1), "incarnation-1", "0.1.0", "boot-1"),
    ("POST", "/sync/v1/push"): Pushes().records("keep", [("a", 1, 1)]),
    ("POST", "/sync/v1/pull"): Pull(None, ""),
    ("POST", "/sync/v1/audit"): AuditPush(SignedHead(0, "0" * 64, 0), "run-1", 1),
    ("POST", "/api/v1/nodes/{node:str}/audit/accept"): AcceptNodeLog(0),
    ("POST", "/api/v1/tokens"): TokenRequest(60.0),
    ("POST", "/api/v1/access/tokens"): AccessTokenRequest("w", "monitor"),
    ("POST", "/api/v1/nodes/{node:str}/ssh-certificates"): SshCertificateRequest(""),
    ("POST", "/api/v1/access/ssh/revoke"): SshRevoke(1),
    ("POST", "/sync/v1/ssh"): SshNode("root", 22, "", "x"),
    ("POST", "/api/v1/access/users"): UserRequest("u", "monitor", "correct horse battery"),
    ("PATCH", "/api/v1/access/users/{name:str}"): UserChange(),
    ("POST", "/api/v1/access/roles"): RoleRequest("r", ["read"]),
    ("POST", "/api/v1/sign-in"): SignIn("nobody-there", "wrong"),
    ("POST", "/api/v1/password"): PasswordChange("nobody-there", "wrong", "correct horse battery"),
    ("PUT", "/api/v1/workloads"): Apply([]),
    ("PUT", "/api/v1/secrets/{name:str}"): SecretPut(b"x"),
    ("POST", "/api/v1/workloads/{name:str}/rollback"): Rollback(),
}

# Who is let in, by hand. Whoever is not named is refused; so is a route that is not here.
EVERYBODY = "nobody node monitor operator admin browser"
LOOKING = "monitor operator admin browser"
ROUTES = {
    ("POST", "/enrol/v1"): EVERYBODY,
    ("POST", "/sync/v1/hello"): "node",
    ("POST", "/sync/v1/push"): "node",
    ("POST", "/sync/v1/pull"): "node",
    ("POST", "/sync/v1/round"): "node",
    ("POST", "/sync/v1/rows/pull"): "node",
    ("POST", "/sync/v1/rows/buckets"): "node",
    ("POST", "/sync/v1/rows/wanted"): "node",
    ("POST", "/sync/v1/ssh"): "node",
    ("GET", "/sync/v1/models"): "node",
    ("GET", "/sync/v1/blobs/{sha256:str}"): "node",
    ("POST", "/sync/v1/files"): "node",
    ("POST", "/sync/v1/files/held"): "node",
    ("GET", "/sync/v1/files/{sha256:str}"): "node",
    ("POST", "/sync/v1/files/{sha256:str}"): "node",
    ("WS", "/sync/v1/link"): "node",
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/api/v1/nodes"): LOOKING,
    ("DELETE", "/api/v1/nodes/{name:str}"): "admin",
    ("POST", "/api/v1/nodes/{name:str}/revoke"): "admin",
    ("GET", "/api/v1/trust"): LOOKING,
    ("POST", "/api/v1/trust/rotate"): "admin",
    ("POST", "/api/v1/trust/finish"): "admin",
    ("GET", "/api/v1/nodes/{node:str}/logs/{workload:str}"): LOOKING,
    ("POST", "/enrol/v1/erased"): EVERYBODY,
    ("GET", "/api/devices"): LOOKING,
    ("GET", "/api/devices/{name:str}"): LOOKING,
    ("POST", "/api/devices/{name:str}/provision"): "admin",
    ("POST", "/api/devices/{name:str}/update"): "admin",
    ("POST", "/api/devices/{name:str}/restart"): "operator admin",
    ("POST", "/api/devices/{name:str}/orders"): "operator admin",
    ("GET", "/api/devices/{name:str}/orders/{order:str}"): LOOKING,
    ("POST", "/api/devices/{name:str}/fingerprint"): "admin",
    ("DELETE", "/api/devices/{name:str}"): "admin",
    ("GET", "/api/devices/{name:str}/diagnostics"): "admin",
    ("WS", "/api/v1/nodes/{node:str}/tunnel/{port:int}"): "operator admin",
    ("WS", "/api/v1/nodes/{node:str}/exec/{workload:str}"): "operator admin",
    ("POST", "/api/v1/tokens"): "admin",
    ("POST", "/api/v1/login-codes"): "monitor operator admin",
    ("POST", "/api/v1/access/tokens"): "admin",
    ("GET", "/api/v1/access/tokens"): "admin",
    ("DELETE", "/api/v1/access/tokens/{name:str}"): "admin",
    ("POST", "/api/v1/nodes/{node:str}/ssh-certificates"): "operator admin",
    ("GET", "/api/v1/access/ssh"): "admin",
    ("POST", "/api/v1/access/ssh/revoke"): "admin",
    ("POST", "/api/v1/access/users"): "admin",
    ("GET", "/api/v1/access/users"): "admin",
    ("PATCH", "/api/v1/access/users/{name:str}"): "admin",
    ("DELETE", "/api/v1/access/users/{name:str}"): "admin",
    ("POST", "/api/v1/access/roles"): "admin",
    ("GET", "/api/v1/access/roles"): "admin",
    ("DELETE", "/api/v1/access/roles/{name:str}"): "admin",
    ("POST", "/api/v1/sign-in"): EVERYBODY,
    ("POST", "/api/v1/password"): EVERYBODY,
    ("POST", "/api/v1/sign-out"): "monitor operator admin",
    ("GET", "/api/v1/audit"): "admin",
    ("GET", "/api/v1/audit/head"): "admin",
    ("GET", "/api/v1/audit/witnesses"): "admin",
    ("GET", "/api/v1/nodes/{node:str}/audit"): "admin",
    ("GET", "/api/v1/nodes/{node:str}/audit/heads"): "admin",
    ("POST", "/api/v1/nodes/{node:str}/audit/accept"): "admin",
    ("POST", "/sync/v1/audit"): "node",
    ("GET", "/api/v1/workloads"): LOOKING,
    ("PUT", "/api/v1/workloads"): "admin",
    ("DELETE", "/api/v1/workloads/{name:str}"): "admin",
    ("GET", "/api/v1/workloads/{name:str}/history"): LOOKING,
    ("POST", "/api/v1/workloads/{name:str}/restart"): "operator admin",
    ("POST", "/api/v1/workloads/{name:str}/rollback"): "operator admin",
    ("POST", "/api/v1/workloads/{name:str}/update/pause"): "operator admin",
    ("POST", "/api/v1/workloads/{name:str}/update/resume"): "operator admin",
    ("POST", "/api/v1/workloads/{name:str}/update/abort"): "operator admin",
    ("GET", "/api/v1/assignments"): LOOKING,
    ("GET", "/api/v1/device-workloads"): LOOKING,
    ("GET", "/api/v1/models"): LOOKING,
    ("DELETE", "/api/v1/models/{name:str}"): "admin",
    ("GET", "/api/v1/secrets"): LOOKING,
    ("PUT", "/api/v1/secrets/{name:str}"): "admin",
    ("DELETE", "/api/v1/secrets/{name:str}"): "admin",
    ("GET", "/api/v1/blobs/{sha256:str}"): LOOKING,
    ("PUT", "/api/v1/blobs/{sha256:str}"): "admin",
    ("GET", "/api/v1/backups"): LOOKING,
    ("GET", "/api/v1/storage"): LOOKING,
    ("GET", "/api/v1/keys"): LOOKING,
    ("POST", "/api/v1/keys/rotate"): "admin",
    ("GET", "/api/v1/entities"): LOOKING,
    ("PUT", "/api/v1/entities/{entity:str}"): "admin",
    ("POST", "/api/v1/entities/{entity:str}/changes"): "admin",
    ("POST", "/api/v1/entities/{entity:str}/find"): "monitor operator admin",
    ("POST", "/api/v1/entities/{entity:str}/count"): "monitor operator admin",
    ("GET", "/api/v1/entities/{entity:str}/conflicts"): LOOKING,
    ("GET", "/api/v1/entities/{entity:str}/rows"): LOOKING,
    ("GET", "/api/v1/entities/{entity:str}/rows/{id_:str}"): LOOKING,
    ("PUT", "/api/v1/entities/{entity:str}/rows/{id_:str}"): "admin",
    ("DELETE", "/api/v1/entities/{entity:str}/rows/{id_:str}"): "admin",
    ("GET", "/api/v1/entities/{entity:str}/rows/{id_:str}/history"): LOOKING,
    ("GET", "/api/v1/conflicts"): LOOKING,
    ("GET", "/api/v1/decisions"): LOOKING,
    ("GET", "/api/v1/conflicts/{entity:str}/{id_:str}"): LOOKING,
    ("POST", "/api/v1/conflicts/{entity:str}/{id_:str}/resolve"): "admin",
    ("GET", "/api/v1/files"): LOOKING,
    ("GET", "/api/v1/files/{sha256:str}/content"): LOOKING,
    ("GET", "/api/v1/records"): LOOKING,
    ("GET", "/api/v1/records/export"): LOOKING,
    ("GET", "/api/v1/records/completeness"): LOOKING,
    ("PUT", "/api/v1/stick"): "admin",
    ("GET", "/"): LOOKING,
    ("GET", "/live"): LOOKING,
    ("GET", "/login"): EVERYBODY,
    ("POST", "/login"): EVERYBODY,
    ("POST", "/logout"): EVERYBODY,
    ("GET", "/schema"): EVERYBODY,
    ("GET", "/schema/openapi.json"): EVERYBODY,
    ("GET", "/static/{file_path:path}"): EVERYBODY,
    ("HEAD", "/static/{file_path:path}"): EVERYBODY,
}

# Of those for administrators alone, the ones that need «configure»; the others need «write».
CONFIGURING = {
    ("POST", "/api/devices/{name:str}/provision"),
    ("POST", "/api/devices/{name:str}/update"),
    ("DELETE", "/api/devices/{name:str}"),
    ("GET", "/api/devices/{name:str}/diagnostics"),
    ("DELETE", "/api/v1/nodes/{name:str}"),
    ("POST", "/api/v1/tokens"),
    ("POST", "/api/v1/access/tokens"),
    ("GET", "/api/v1/access/tokens"),
    ("DELETE", "/api/v1/access/tokens/{name:str}"),
    ("POST", "/api/v1/access/users"),
    ("GET", "/api/v1/access/users"),
    ("PATCH", "/api/v1/access/users/{name:str}"),
    ("DELETE", "/api/v1/access/users/{name:str}"),
    ("POST", "/api/v1/access/roles"),
    ("GET", "/api/v1/access/roles"),
    ("DELETE", "/api/v1/access/roles/{name:str}"),
    ("GET", "/api/v1/audit"),
    ("GET", "/api/v1/audit/head"),
    ("POST", "/api/v1/keys/rotate"),
    ("GET", "/api/v1/nodes/{node:str}/audit"),
    ("POST", "/api/v1/nodes/{node:str}/audit/accept"),
    ("GET", "/api/v1/nodes/{node:str}/audit/heads"),
    ("GET", "/api/v1/audit/witnesses"),
    ("GET", "/api/v1/access/ssh"),
    ("POST", "/api/v1/access/ssh/revoke"),
    ("POST", "/api/devices/{name:str}/fingerprint"),
    ("POST", "/api/v1/nodes/{name:str}/revoke"),
    ("POST", "/api/v1/trust/rotate"),
    ("POST", "/api/v1/trust/finish"),
    ("GET", "/api/v1/access/ssh"),
    ("POST", "/api/v1/access/ssh/revoke"),
}

# Which of them fit a role for some nodes only, by hand; all others are refused to it, whatever its permissions.
SCOPED = {
    ("GET", "/api/devices"),
    ("GET", "/api/devices/{name:str}"),
    ("POST", "/api/devices/{name:str}/provision"),
    ("POST", "/api/devices/{name:str}/update"),
    ("POST", "/api/devices/{name:str}/restart"),
    ("POST", "/api/devices/{name:str}/orders"),
    ("GET", "/api/devices/{name:str}/orders/{order:str}"),
    ("DELETE", "/api/devices/{name:str}"),
    ("GET", "/api/devices/{name:str}/diagnostics"),
    ("WS", "/api/v1/nodes/{node:str}/exec/{workload:str}"),
    ("WS", "/api/v1/nodes/{node:str}/tunnel/{port:int}"),
    ("POST", "/api/v1/nodes/{node:str}/ssh-certificates"),
    ("GET", "/api/v1/nodes"),
    ("GET", "/api/v1/nodes/{node:str}/logs/{workload:str}"),
    ("POST", "/api/v1/login-codes"),
    ("POST", "/api/v1/sign-out"),
    ("GET", "/api/v1/workloads"),
    ("POST", "/api/v1/workloads/{name:str}/restart"),
    ("POST", "/api/v1/workloads/{name:str}/update/pause"),
    ("POST", "/api/v1/workloads/{name:str}/update/resume"),
    ("GET", "/api/v1/device-workloads"),
    ("GET", "/api/v1/assignments"),
    ("GET", "/api/v1/files"),
    ("GET", "/api/v1/files/{sha256:str}/content"),
    ("GET", "/api/v1/records"),
    ("GET", "/api/v1/records/export"),
    ("GET", "/api/v1/records/completeness"),
    ("GET", "/"),
    ("GET", "/live"),
}

# Those that want a password or token in their bodies, and refuse a wrong one.
BY_PASSWORD = {("POST", "/login"), ("POST", "/api/v1/sign-in"), ("POST", "/api/v1/password")}

# Where nodes have certificates, their own listener has these and nothing else.
OF_NODES = {*(key for key, who in ROUTES.items() if who == "node"), ("POST", "/trust/v1/renew")}
OF_ALL = {
    ("POST", "/enrol/v1"),
    ("POST", "/enrol/v1/erased"),
    ("GET", "/healthz"),
    ("GET", "/trust/v1/bundle"),
}


def filled(path: str) -> str:
    for name, value in (
        ("{node:str}", "a"),
        ("{port:int}", "22"),
        ("{workload:str}", "w"),
        ("{entity:str}", "recipe"),
        ("{id_:str}", "r"),
        ("{name:str}", "w"),
        ("{file_path:path}", "page.css"),
    ):
        path = path.replace(name, value)
    return path


async def ask(client: Client, method: str, path: str, headers: dict[str, str]) -> int:
    """The status; an endless stream is left after its head."""
    if method == "WS":
        try:
            async with client.ws_connect(filled(path), headers=headers):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status
    body = BODIES.get((method, path))
    async with client.request(
        method,
        filled(path),
        data=None if body is None else encode(body),
        headers=headers,
        allow_redirects=False,
    ) as response:
        return response.status
