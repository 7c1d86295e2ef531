"""`rmfab report`: write a report of a batch or a shift."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import force_option, operator_option, output_option


@click.command("report", cls=Leaf)
@click.argument("batch", required=False)
@output_option
@click.option("--since", metavar="TIME", help="From this time, such as today, 8h, 14:00 or 2026-11-28.")
@click.option("--until", metavar="TIME", help="Until before this time.")
@click.option("--shift", metavar="SHIFT", help="One shift: current, last, or when it starts, such as 14:00.")
@force_option
@operator_option
def command(
    batch: str | None, output: Path, since: str | None, until: str | None, shift: str | None, force: bool
) -> None:
    """Write a report of BATCH, or of all batches.

    The ending of the file names its form: .html is one page with plots, for people and printers; .xlsx a workbook;
    .json all numbers; .csv one row per unit. All contain the same numbers, the digest of the release, the version of
    the trust file, and the heads of the ledger's chains that seal them. Times are local. A station
    without shifts in station.toml has one per day.

    \b
    rmfab report lamp-0001 -o lamp-0001.html
    rmfab report --shift last -o night.html
    rmfab report --since 2026-11-01 --until 2026-12-01 -o november.xlsx
    """
    from rmfab.operations.terminal import counted
    from rmfab.operations.write_report import ReportRequest, write_report
    from rmfab.report.period import period

    workspace = terminal.workspace()
    wanted = period(since, until, shift, workspace.now(), workspace.station.shifts)
    report = write_report(workspace, ReportRequest(output, batch, wanted, force), terminal.TERMINAL)
    document = {"file": str(output), "report": report.head.to_json(), "totals": report.totals}
    terminal.show(document, None)
    first = report.totals["first_pass"]
    units = counted(report.totals["units"], "unit")
    terminal.say(f"{output}: {units}, {first['passed']} PASS and {first['failed']} FAIL at first")
