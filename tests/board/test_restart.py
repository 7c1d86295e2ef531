"""Restarts: by control lines, by a fixture's command, by hand."""

import sys

import pytest

from rmfab.board.restart import Auto, FixtureCommand, Unwired, restart_into_run
from rmfab.errors import InputError, StationError
from tests.quick_resets import FOR_A_RUN


class Lines:
    """A port that records the changes of its lines."""

    def __init__(self):
        object.__setattr__(self, "done", [])

    def __setattr__(self, name, value):
        self.done.append((name, value))

    def reset_input_buffer(self):
        self.done.append("purge")


def test_auto(monkeypatch):
    """EN is held for 50 ms with IO0 released; earlier input is dropped."""
    held = []
    monkeypatch.setattr("rmfab.board.restart._HOLD_SECONDS", FOR_A_RUN)
    monkeypatch.setattr("rmfab.board.restart.time.sleep", held.append)
    port = Lines()
    restart_into_run(port, Auto())
    assert port.done == [("rts", True), ("dtr", False), "purge", ("rts", False), ("dtr", False)]
    assert held == [0.05]


def test_unwired():
    """The station cannot restart an unwired board."""
    with pytest.raises(ValueError, match="unwired"):
        restart_into_run(Lines(), Unwired())


def test_fixture_command(tmp_path):
    """The command runs without a shell, with the mode in its argument, after the input was dropped."""
    told = tmp_path / "told"
    code = f"import sys; open({str(told)!r}, 'a').write(repr(sys.argv[1:]) + '\\n')"
    fixture = FixtureCommand((sys.executable, "-c", code, "slot 1; rm -rf", "--mode={mode}"))
    port = Lines()
    restart_into_run(port, fixture)
    fixture.run("download")
    assert told.read_text() == "['slot 1; rm -rf', '--mode=run']\n['slot 1; rm -rf', '--mode=download']\n"
    assert port.done == ["purge"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            (sys.executable, "-c", "import sys; sys.exit('relay 3 does not answer')", "{mode}"),
            "relay 3 does not answer",
        ),
        ((sys.executable, "-c", "import sys; print('no 24 V'); sys.exit(7)", "{mode}"), "exited with 7: no 24 V"),
        (("/no/such/fixture", "{mode}"), "/no/such/fixture"),
    ],
)
def test_failing_fixture(argv, said):
    """A fixture that fails is a StationError with its last line of output."""
    with pytest.raises(StationError) as caught:
        FixtureCommand(argv).run("run")
    assert said in str(caught.value)
    assert caught.value.cause == "fixture"


def test_hanging_fixture(monkeypatch):
    """A fixture that does not exit is killed."""
    monkeypatch.setattr("rmfab.board.restart._COMMAND_SECONDS", 0.2)
    with pytest.raises(StationError, match="timed out"):
        FixtureCommand((sys.executable, "-c", "import time; time.sleep(60)", "{mode}")).run("run")


@pytest.mark.parametrize("argv", [(), ("fixture",), ("fixture", "mode")])
def test_command_without_a_mode(argv):
    """A command without {mode} is rejected when it is read."""
    with pytest.raises(InputError):
        FixtureCommand(argv)
