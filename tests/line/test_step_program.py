"""Programs of the station that do a product's own steps: whatever they do, the line goes on."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from rmfab.errors import StationError, UnitFault
from rmfab.line.ending import Aborted
from rmfab.line.step_answer import judge_answer, measurements_of, read_answer, read_word
from rmfab.line.step_program import ProgramEnd, StepCommand, clean_environment, run_step_program
from rmfab.product.own_step import OwnStep, ValueLimits
from tests.patience import PATIENCE, until

STEP = OwnStep("relay", "boot", limits={"current": ValueLimits(10, 80, "mA"), "noise": ValueLimits(high=3)})
GOOD = '{"current": 41.5, "noise": 1}'


def run(folder, script, *arguments, seconds=PATIENCE, keep_going=lambda: None):
    """Run *script* in Python as the command of a step."""
    command = StepCommand((sys.executable, "-c", script, *arguments), folder)
    values = {"serial": "LMP-000001", "mac": "aa:bb", "slot": "A1", "port": "/dev/x", "log": "{serial}"}
    return run_step_program(command, values, seconds, keep_going)


def test_what_a_program_gets(tmp_path, monkeypatch):
    """Placeholders become arguments, once and without a shell; of our environment only what is no secret is passed."""
    monkeypatch.setenv("RMFAB_KEY_PASSPHRASE_FILE", "secret")
    monkeypatch.setenv("PGPASSWORD", "secret")
    script = "import os, sys; print(sys.argv[1:]); print(sorted(os.environ)); print(os.getcwd()); sys.stdin.read()"
    end = run(tmp_path, script, "{serial}", "a {mac}; $HOME `id`", "{log}", "{unknown}", "{slot}@{port}")
    arguments, names, folder = end.output.splitlines()[:3]
    assert arguments == "['LMP-000001', 'a aa:bb; $HOME `id`', '{serial}', '{unknown}', 'A1@/dev/x']"
    assert "secret" not in end.output
    assert "RMFAB" not in names
    assert "'PATH'" in names
    assert folder == str(tmp_path.resolve())
    assert set(clean_environment({"AWS_SECRET_ACCESS_KEY": "x", "PATH": "/bin"})) == {"PATH", "LANG"}


def test_a_flood_is_cut(tmp_path):
    """A program that prints without end of its buffers is read to its end, and only the end is kept."""
    end = run(tmp_path, "import sys\nfor _ in range(3000): sys.stdout.write('x' * 1000)\nprint()\nprint('{\"n\": 1}')")
    assert end.output.endswith('{"n": 1}\n')
    assert len(end.output) <= 64 * 1024


@pytest.mark.slow
def test_a_program_that_does_not_end(tmp_path):
    """At its time limit a program is asked to end, then killed with all that it has started, also if it ignores it."""
    script = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(1000)"
    )
    limit, pids = 1.0, []
    while len(pids) < 2:  # on a slow machine it has not come so far
        with pytest.raises(StationError) as caught:
            run(tmp_path, script, seconds=limit)
        assert caught.value.cause == "step-command"
        pids = (tmp_path / "pids").read_text().split() if (tmp_path / "pids").exists() else []
        limit *= 2
        assert limit < PATIENCE, "the program does not start"
    until(lambda: not any(is_alive(int(pid)) for pid in pids), "a process is left")


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_that_keeps_the_pipes(tmp_path):
    """A program that leaves a child behind, which holds its outputs open, has ended when it has exited."""
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        "print(child.pid)"
    )
    began = time.monotonic()
    end = run(tmp_path, script)
    assert time.monotonic() - began < PATIENCE
    assert end.code == 0
    until(lambda: not is_alive(int(end.output)), "the child is left")


def test_a_program_that_closes_its_outputs(tmp_path):
    """A program that closes its outputs and works on is waited for."""
    end = run(tmp_path, "import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(1)")
    assert (end.code, end.output) == (1, "")


def test_the_operator_stops_the_line(tmp_path):
    """^C ends a program at once."""

    def stop() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise Aborted

    with pytest.raises(Aborted):
        run(tmp_path, "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(1000)", keep_going=stop)
    until(lambda: not is_alive(int((tmp_path / "pid").read_text())), "the program is left")


@pytest.mark.parametrize("argv", [("/no/such/program",), ("nul\0",), (os.fspath(Path(__file__)),)])
def test_a_program_that_does_not_start(tmp_path, argv):
    """A program that is missing, or no program, is the station's fault."""
    with pytest.raises(StationError) as caught:
        run_step_program(StepCommand(argv, tmp_path), {}, 1.0, lambda: None)
    assert caught.value.cause == "step-command"


ENDS = {
    "pass": (0, GOOD, None),
    "noise before": (0, f"hello\n\x1b[31m\n{GOOD}\n\n", None),
    "a value too low": (0, '{"current": 9.9, "noise": 1}', "out-of-limits"),
    "a value too high": (0, '{"current": 41, "noise": 3.5}', "out-of-limits"),
    "a bad value of a failed unit": (1, '{"current": 9, "noise": 1}', "out-of-limits"),
    "fail": (1, GOOD, "step-failed"),
    "fail without measurements": (1, "relay sticks", "step-failed"),
    "no measurements": (0, "ok", "step-answer"),
    "one is missing": (0, '{"current": 41}', "step-answer"),
    "a text for a number": (0, '{"current": "41", "noise": 1}', "step-answer"),
    "true for a number": (0, '{"current": true, "noise": 1}', "step-answer"),
    "not a number": (0, '{"current": NaN, "noise": 1}', "step-answer"),
    "infinite": (0, '{"current": 1e999, "noise": 1}', "step-answer"),
    "a list": (0, '{"current": [41], "noise": 1}', "step-answer"),
    "twice": (0, '{"current": 41, "current": 42, "noise": 1}', "step-answer"),
    "cut": (0, '{"current": 41', "step-answer"),
    "deep": (0, '{"a": ' + "[" * 5000 + "]" * 5000 + "}", "step-answer"),
    "long": (0, '{"a": "' + "x" * 20_000 + '"}', "step-answer"),
    "many": (0, "{" + ", ".join(f'"v{n}": 1' for n in range(65)) + "}", "step-answer"),
    "a name that is none": (0, '{"\\u001b[2J": 1}', "step-answer"),
    "a name of ours": (0, '{"retry": 1}', "step-answer"),
    "usage": (2, "usage: relay", "step-command"),
    "a crash": (-11, "", "step-command"),
    "nothing at all": (1, "", "step-failed"),
}


@pytest.mark.parametrize(("code", "output", "cause"), ENDS.values(), ids=ENDS)
def test_verdicts(code, output, cause):
    """0 passes within the limits, 1 fails the unit, anything else is the station's fault, and so is a bad answer."""
    end = ProgramEnd(code, output, "")
    if cause is None:
        judge_answer(STEP, end, read_answer(STEP, end))
        return
    with pytest.raises(UnitFault if cause in ("step-failed", "out-of-limits") else StationError) as caught:
        judge_answer(STEP, end, read_answer(STEP, end))
    assert caught.value.cause == cause
    assert "\x1b" not in str(caught.value)


def test_measurements_and_reason():
    """A number is recorded with its limits, texts and truths as they are; `reason` is said, not recorded."""
    end = ProgramEnd(1, '{"current": 41, "ok": true, "lot": "a\\nb", "reason": "sticks\\u001b"}', "")
    answer = read_answer(STEP, end)
    assert measurements_of(STEP, answer) == {
        "current": {"value": 41.0, "low": 10, "high": 80, "unit": "mA"},
        "ok": True,
        "lot": "a\\nb",
    }
    with pytest.raises(UnitFault, match=r"sticks\\x1b"):
        judge_answer(STEP, end, answer)
    assert str(STEP.limits["current"]) == "10 to 80 mA"
    assert str(STEP.limits["noise"]) == "at most 3"


def test_words_of_the_operator():
    """p and f are answers, in full or not, and f may have a reason; anything else is asked again."""
    assert [read_word(text) for text in ("p", " PASS ", "f", "F  scratched\x1b", "yes", "", "pf")] == [
        (True, ""), (True, ""), (False, ""), (False, "scratched\\x1b"), None, None, None,
    ]  # fmt: skip
