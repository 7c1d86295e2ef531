"""The metrics of a line: what Prometheus' own parsers read in the file, and who may read it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rmfab.errors import InputError, UsageError
from rmfab.ledger.events import Outcome
from rmfab.line.events import Step, StepEnded, UnitEnded
from rmfab.report.metrics import MetricsFile
from tests.line.floor import found, ports, serve, spec

TS = "2026-03-01T12:00:00.000Z"
SERIAL, MAC = "LMP-000017", "24:0a:c4:00:01:10"


def step(
    outcome: Outcome = Outcome.PASS, cause: str | None = None, seconds: float = 6.1, slot: str = "A1"
) -> StepEnded:
    return StepEnded(TS, "bench", slot, SERIAL, MAC, Step.FLASH, outcome, cause, None, seconds)


def unit(outcome: Outcome = Outcome.PASS, slot: str = "A1") -> UnitEnded:
    return UnitEnded(TS, "bench", slot, SERIAL, MAC, outcome, None, None, 9.0, None)


def samples(path: Path) -> dict[str, float]:
    """What Prometheus' parser reads: values by name and labels."""
    families = text_string_to_metric_families(path.read_text())
    return {f"{one.name}{sorted(one.labels.items())}": one.value for family in families for one in family.samples}


def counted(path: Path, name: str) -> float:
    """The sum of all samples of a name."""
    families = text_string_to_metric_families(path.read_text())
    return sum(one.value for family in families for one in family.samples if one.name == name)


def made(path: Path, *events: object) -> MetricsFile:
    metrics = MetricsFile(path, "Lamp", "bench")
    metrics.begin()
    for event in events:
        metrics.take(event)  # type: ignore[arg-type]
    return metrics


def test_prometheus_reads_it(tmp_path: Path) -> None:
    """Counters, a histogram and gauges are read by Prometheus' own parser, with their types."""
    path = tmp_path / "rmfab.prom"
    made(path, step(), step(Outcome.FAIL, "readback"), unit(Outcome.FAIL))
    kinds = {one.name: one.type for one in text_string_to_metric_families(path.read_text())}
    assert kinds == {
        "rmfab_units": "counter",
        "rmfab_steps": "counter",
        "rmfab_step_duration_seconds": "histogram",
        "rmfab_last_unit_timestamp_seconds": "gauge",
        "rmfab_line_running": "gauge",
    }
    common = "('product', 'Lamp'), ('slot', 'A1'), ('station', 'bench')"
    assert samples(path)[f"rmfab_units_total[('outcome', 'FAIL'), {common}]"] == 1
    assert counted(path, "rmfab_step_duration_seconds_count") == 1


def test_no_serial_and_no_mac(tmp_path: Path) -> None:
    """No label contains a serial or a MAC: each would be a time series of its own."""
    path = tmp_path / "rmfab.prom"
    made(path, step(), unit())
    assert SERIAL not in path.read_text()
    assert MAC not in path.read_text()


def test_counters_go_on(tmp_path: Path) -> None:
    """A second run in the same file adds to what the first one counted; the line is said to run only while it does."""
    path = tmp_path / "rmfab.prom"
    made(path, step(), unit()).end()
    assert counted(path, "rmfab_line_running") == 0
    second = made(path, step(), unit())
    assert counted(path, "rmfab_units_total") == 2
    assert counted(path, "rmfab_step_duration_seconds_sum") == pytest.approx(12.2)
    assert counted(path, "rmfab_line_running") == 1
    second.end()


def test_hostile_labels(tmp_path: Path) -> None:
    """A slot or a cause with quotes, backslashes and line feeds stays one label, also in the next run."""
    path = tmp_path / "rmfab.prom"
    slot, cause = 'A"1\\n} 7\n# TYPE x', 'a"} 1e9\nrmfab_units_total{} 5'
    made(path, step(Outcome.FAIL, cause, slot=slot), unit(Outcome.FAIL, slot)).end()
    before = samples(path)
    assert counted(path, "rmfab_units_total") == 1
    made(path).end()
    assert samples(path) == before


@pytest.mark.parametrize("damage", ["garbage\n", "rmfab_units_total{x 1\n", 'rmfab_units_total{slot="A1"} 1.2.3\n', ""])
def test_a_damaged_file_is_written_again(tmp_path: Path, damage: str) -> None:
    """What is not a metric of rmfab in an old file is left out, and does not stop the line."""
    path = tmp_path / "rmfab.prom"
    path.write_text(damage)
    made(path, unit())
    assert counted(path, "rmfab_units_total") == 1


def test_readable_for_the_collector(tmp_path: Path) -> None:
    """The file has the mode 0644, and nothing else is left in its folder."""
    path = tmp_path / "rmfab.prom"
    made(path, unit())
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_name_that_the_collector_does_not_read(tmp_path: Path) -> None:
    """A name that does not end with .prom is a usage error, a folder that does not exist an error before the run."""
    with pytest.raises(UsageError, match="does not end with"):
        MetricsFile(tmp_path / "rmfab.txt", "Lamp", "bench")
    with pytest.raises(InputError):
        MetricsFile(tmp_path / "no" / "rmfab.prom", "Lamp", "bench").begin()


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    """A file that cannot be written any more does not end the line; the failure is there to be told."""
    folder = tmp_path / "collector"
    folder.mkdir()
    metrics = made(folder / "rmfab.prom")
    shutil.rmtree(folder)
    metrics.take(unit())
    assert metrics.failure is not None


def test_of_a_real_run(tmp_path: Path) -> None:
    """`run --metrics --junit` writes both; the counts are those of the run."""
    factory = found(tmp_path / "ws", units=2)
    path, junit = tmp_path / "rmfab.prom", tmp_path / "junit.xml"
    with serve([spec(index=0), spec(index=1, faults=("panic",))]) as boards:
        words = ports(*(board.url for board in boards))
        said = factory.do("run", *words, "--metrics", str(path), "--junit", str(junit))
    assert said.code == 1
    units = {key: value for key, value in samples(path).items() if key.startswith("rmfab_units_total")}
    assert sorted(units.values()) == [1, 1]
    assert "panic" in path.read_text()
    assert "<failure" in junit.read_text()


@pytest.mark.peers
def test_promtool_finds_nothing_to_complain_about(tmp_path: Path) -> None:
    """`promtool check metrics`, Prometheus' own linter, accepts names, types and help texts."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool (Debian package prometheus)")
    path = tmp_path / "rmfab.prom"
    made(path, step(), step(Outcome.ERROR, "no-answer"), unit()).end()
    done = subprocess.run([promtool, "check", "metrics"], input=path.read_bytes(), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
