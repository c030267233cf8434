"""Secrets as a workload names them, and what it gets of them."""

import pytest

from skerry.core.secrets import environment_of, files_of, names_used, restarting
from skerry.core.specs import parse_workloads, to_document
from skerry.kit.errors import InvalidInput
from skerry.wire.secrets import SealedSecret, SecretUse
from skerry.wire.workload import ProcessSpec, WorkloadSpec

HEAD = "kind: workload\nname: a\n"
PROCESS = HEAD + "process: {command: [x]}\n"


def parsed(text: str) -> WorkloadSpec:
    [spec] = parse_workloads(text, "a.yaml")
    return spec


def using(*uses: SecretUse) -> WorkloadSpec:
    return WorkloadSpec(name="a", process=ProcessSpec(command=["x"]), secrets=list(uses))


def test_a_secret_is_a_file_or_a_variable() -> None:
    spec = parsed(
        PROCESS
        + "secrets: [{name: db}, {name: tls, file: key.pem, restart: false}, {name: api, env: KEY}]"
    )
    assert [each.file_name for each in spec.secrets] == ["db", "key.pem", None]
    values = {"db": b"1\n", "tls": b"\xff", "api": b"3\n"}
    assert files_of(spec, values) == {"db": b"1\n", "key.pem": b"\xff"}
    assert environment_of(spec, values) == {"KEY": "3"}
    assert names_used(spec) == ["db", "tls", "api"]


def test_a_document_gives_the_same_secrets_back() -> None:
    spec = parsed(
        HEAD + "container: {image: x, pull_secret: registry}\nsecrets: [{name: db, file: d}]"
    )
    document = to_document(spec)
    assert document["secrets"] == [{"name": "db", "file": "d", "restart": True}]
    assert names_used(spec) == ["db", "registry"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (PROCESS + "secrets: [{name: Db}]", "a.yaml:4: secrets[0].name: «Db» is not a name"),
        (PROCESS + "secrets: [{name: d, file: ../d}]", "secrets[0].file: «../d» cannot be"),
        (PROCESS + "secrets: [{name: d, env: SKERRY_D}]", "«SKERRY_D» belongs to the node"),
        (PROCESS + "secrets: [{name: d, env: D, file: d}]", "takes either «file» or «env»"),
        (PROCESS + "secrets: [{name: d, env: D, restart: false}]", "never changes while"),
        (PROCESS + "secrets: [{name: d}, {name: e, file: d}]", "there is already a file «d»"),
        (PROCESS + "env: {D: x}\nsecrets: [{name: d, env: D}]", "already a variable «D»"),
        (PROCESS + "secrets: [db]", "«secrets[0]» must be a map"),
        (HEAD + "wasm: {module: m.wasm}\nsecrets: [{name: d}]", "gets secrets by «env» only"),
        (HEAD + "container: {image: x, pull_secret: A}", "container.pull_secret: «A» is not"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parsed(text)
    assert fault in str(refused.value)


@pytest.mark.parametrize("value", [b"\xff\xfe", b"a\0b"])
def test_what_is_no_text_cannot_be_a_variable(value: bytes) -> None:
    with pytest.raises(ValueError, match="^db$"):
        environment_of(using(SecretUse(name="db", env="DB")), {"db": value})


def test_only_the_value_counts_for_a_restart_and_only_where_it_is_asked_for() -> None:
    spec = using(SecretUse(name="db"), SecretUse(name="tls", restart=False))
    sent = [SealedSecret("tls", 1, "t1", "k", b"1"), SealedSecret("db", 1, "d1", "k", b"1")]
    anew = [SealedSecret("tls", 2, "t2", "k", b"2"), SealedSecret("db", 1, "d1", "other", b"2")]
    assert restarting(spec, sent) == restarting(spec, anew) == [("db", "d1")]
