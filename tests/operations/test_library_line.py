"""Tests of the line as a library: README's example as printed there, and the errors that a command line reports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rmfab
from rmfab.errors import InputError, IntegrityError, UnitsFailed, UsageError
from rmfab.line.events import UnitEnded
from rmfab.operations import pool
from rmfab.virtual import serve
from tests.line.floor import found, spec
from tests.operations.notebook import Notebook
from tests.terminal import ROOT


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory):
    """A workspace with identities and a build folder, which tests only copy."""
    return found(tmp_path_factory.mktemp("library") / "lamp")


@pytest.fixture
def lamp(template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workspace; tests work in its parent folder."""
    from tests.line.floor import copied

    monkeypatch.chdir(tmp_path)
    return copied(template, tmp_path / "lamp").root


def station(root: Path, board) -> None:
    """Write a station.toml with one slot, that of *board*."""
    (root / "station.toml").write_text(
        f'[station]\nname = "bench"\n\n[[slot]]\nname = "A1"\nport = "{board.url}"\nunit = "{board.provisioning_url}"\n'
    )


def example() -> str:
    """README's example."""
    section = (ROOT / "README.md").read_text().split("## As a library")[1]
    match = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert match is not None
    return match[1]


def test_the_example_of_the_readme(lamp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """README's example makes an identity and runs the line with it on every slot of station.toml."""
    code = example().replace("lamp-1.4.0.rmfab", "lamp/build")
    assert len(code.splitlines()) < 20
    with serve([spec()]) as (board,):
        station(lamp, board)
        exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert out.endswith("1 passed\n")
    assert "step=<Step.RESET: 'reset'>, outcome=<Outcome.PASS: 'PASS'>" in out


def test_the_page_of_the_library_shows_the_same_example() -> None:
    """docs/library.md has the example of README, which runs above."""
    assert example() in (ROOT / "docs" / "library.md").read_text()


def test_a_failed_unit_is_raised_at_the_end(lamp: Path) -> None:
    """The events of a line end with the error; its verdicts can still be read."""
    with serve([spec(faults=("panic",))]) as (board,):
        station(lamp, board)
        run = rmfab.run_line(rmfab.open_workspace(lamp), rmfab.LineRequest())
        seen = []
        with pytest.raises(UnitsFailed, match="1 of 1 units failed"):
            seen.extend(run.events())
    assert [unit.cause for unit in run.ended] == ["panic"]
    assert run.summary.failed == 1


def test_a_line_can_be_stopped(lamp: Path) -> None:
    """`stop` aborts every unit, and the events end with KeyboardInterrupt."""
    with serve([spec()]) as (board,):
        station(lamp, board)
        run = rmfab.run_line(rmfab.open_workspace(lamp), rmfab.LineRequest())

        def until_stopped() -> None:
            for event in run.events():
                run.stop()
                if isinstance(event, UnitEnded):
                    assert event.outcome == "ABORTED"

        with pytest.raises(KeyboardInterrupt):
            until_stopped()


@pytest.mark.parametrize(
    ("request_", "cause", "match"),
    [
        (rmfab.LineRequest(ports=("/dev/null", "/dev/null")), None, "given twice"),
        (rmfab.LineRequest(), None, "no port given"),
        (rmfab.LineRequest(ports=("COM1", "COM2"), serial="LMP-000001"), None, "one unit"),
        (rmfab.LineRequest(ports=("COM1",), batch="none"), "no-batch", "none"),
        (rmfab.LineRequest(ports=("COM1",), release=Path("nowhere")), None, "nowhere"),
        (rmfab.LineRequest(ports=("COM1",), unit_urls=("http://a", "http://b")), None, "expected 1 --unit-url, got 2"),
    ],
    ids=["port twice", "no port", "serial", "batch", "release", "urls"],
)
def test_what_the_line_refuses(lamp: Path, request_: rmfab.LineRequest, cause: str | None, match: str) -> None:
    """An invalid request is rejected before any port is opened, with the error of the command line."""
    with pytest.raises(InputError, match=match) as caught:
        rmfab.run_line(rmfab.open_workspace(lamp), request_)
    assert cause in (None, caught.value.cause)


def test_an_unsigned_release_is_refused(lamp: Path) -> None:
    """Without allow_unsigned an unsigned release is rejected in the library too; with it a warning says so."""
    notebook = Notebook()
    accepted = rmfab.accept_release(rmfab.open_workspace(lamp), rmfab.AcceptRequest(), notebook)
    assert accepted.release.name
    assert any("this release is not signed" in text for text in notebook.warnings)
    product = lamp / "product.toml"
    product.write_text(product.read_text().replace("allow_unsigned = true", "allow_unsigned = false"))
    with pytest.raises(IntegrityError):
        rmfab.accept_release(rmfab.open_workspace(lamp), rmfab.AcceptRequest())
    with pytest.raises(IntegrityError):
        rmfab.run_line(rmfab.open_workspace(lamp), rmfab.LineRequest(ports=("COM1",)))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (rmfab.GenerateRequest, "missing --count or --values"),
        (lambda: rmfab.GenerateRequest(count=0), "1 to"),
        (lambda: rmfab.LabelRequest(("LMP-000001",), rmfab.LabelForm.PDF), "-o FILE"),
        (lambda: rmfab.LabelRequest(("LMP-000001",), rmfab.LabelForm.TERMINAL, Path("x")), "-o FILE"),
    ],
    ids=["generate nothing", "count", "no file", "terminal file"],
)
def test_requests_judge_themselves(make, match: str) -> None:
    """A request with options that exclude each other cannot be made."""
    with pytest.raises(UsageError, match=match):
        make()


def test_labels_and_files_of_a_batch(lamp: Path) -> None:
    """Labels and factory images come from the same calls that the commands make; their messages go to the terminal."""
    workspace, notebook = rmfab.open_workspace(lamp), Notebook()
    (batch,) = workspace.ledger.batches()
    sheet = rmfab.LabelRequest((batch.name,), rmfab.LabelForm.PDF, lamp / "sheet.pdf")
    labels = rmfab.print_labels(workspace, sheet, notebook)
    assert len(labels) == batch.size
    assert (lamp / "sheet.pdf").read_bytes().startswith(b"%PDF")
    built = rmfab.completed(rmfab.build_files(workspace, rmfab.BuildFilesRequest(batch.name, lamp / "out"), notebook))
    assert len(list(built.bin.iterdir())) == built.images == batch.size
    assert any("all codes read back" in text for text in notebook.said)
    assert any("factory image" in text for text in notebook.said)


@pytest.mark.parametrize(("lost", "told"), [(None, "rmfab generate"), ("keys/unique.key", "ask"), ("ca/ca.crt", "ask")])
def test_what_a_used_up_batch_asks_for(lamp: Path, lost: str | None, told: str) -> None:
    """Only a host with the keys is told to make more identities; others are told to ask the owner."""
    if lost is not None:
        (lamp / lost).unlink()
    assert told in pool.more_identities(rmfab.open_workspace(lamp))
