"""`skerry hub backup --by`: what is no command, or no time for which nodes could rely on it, is refused before it runs."""

from pathlib import Path

import pytest

from skerry.cli.exits import WRONG_USE
from skerry.cli.main import main


@pytest.mark.parametrize(
    ("by", "kept", "told"),
    [
        ("", "7d", "--by: it names no command"),
        ("tool 'x", "7d", "--by «tool 'x»: No closing quotation"),
        ("touch there", "0s", "at most 7d"),
        ("touch there", "8d", "at most 7d"),
    ],
)
def test_what_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    by: str,
    kept: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["hub", "backup", "--by", by, "--kept", kept, "--data-dir", str(tmp_path)]
    assert main(words) == WRONG_USE
    assert told in capsys.readouterr().err
    assert not (tmp_path / "there").exists()
