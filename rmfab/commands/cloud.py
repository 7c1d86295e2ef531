"""`rmfab cloud`: check credentials on a broker, or serve a cloud for tests."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import FILE, ParsedType, junit_option
from rmfab.commands.serving import until_stopped
from rmfab.signals import stopping

if TYPE_CHECKING:
    from rmfab.operations.advance import Advance
    from rmfab.operations.check_cloud import BrokerChecked, CheckSummary, CloudChecked, UnitChecked
    from rmfab.operations.serve_api import ServedApi
    from rmfab.operations.serve_cloud import ServedBroker
    from rmfab.report.junit import Case
    from rmfab.virtual.cloud.faults import CloudFaultCall

KINDS = ("rainmaker", "neo")


def _fault(text: str) -> CloudFaultCall:
    from rmfab.virtual.cloud.faults import CloudFaultCall

    return CloudFaultCall.parse(text)


@click.group("cloud", cls=Branch)
def command() -> None:
    """Check credentials on a broker, or serve a cloud for tests.

    \b
    rmfab cloud check lamp-0001 --sample 20
    rmfab cloud serve --broker
    """


@command.command("check")
@click.argument("units", metavar="BATCH|SERIAL...", nargs=-1, required=True)
@click.option("--host", metavar="NAME", help="Broker (default: [cloud] in station.toml, then mqtt_host).")
@click.option(
    "--tcp-port", type=click.IntRange(1, 65535),
    help="Port of the broker (default: 443, where MQTT is selected by ALPN, as firmware does by default).",
)  # fmt: skip
@click.option("--ca", type=FILE, metavar="FILE", help="CA of the broker's certificate (default: those of the system).")
@click.option("--witness-cert", type=FILE, metavar="FILE", help="Certificate of a client that may see everything.")
@click.option("--witness-key", metavar="FILE", help="Private key of the witness.")
@click.option(
    "--with", "refused", type=FILE, multiple=True, metavar="FILE",
    help="Certificate and key in one PEM file that the broker must refuse; repeatable.",
)  # fmt: skip
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Check only N of the units, evenly spread.")
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Units at the same time.")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, metavar="SECONDS",
    help="Time limit of each answer.",
)  # fmt: skip
@junit_option
def check(junit: Path | None, **options: Any) -> None:
    """Check the credentials of units on their broker, before the units go online.

    This host connects as each unit, with its certificate and key: name, port, the broker's certificate, mutual TLS and
    MQTT must work, and a foreign client id, a forged certificate and none must be refused. With a witness also what
    the unit may publish and subscribe to; without one nothing is published. Units that may be online are refused: reset
    them first. The ledger records each check. Without --host, [cloud] in station.toml says what the options do not.

    \b
    rmfab cloud check lamp-0001 --sample 20
    rmfab cloud check LMP-000017 --host localhost --ca broker/broker-ca.crt
    """
    from rmfab.operations.check_cloud import CheckRequest, check_cloud
    from rmfab.report.junit import report_of

    request = CheckRequest(**options)
    with report_of("rmfab cloud check", junit) as cases:
        events = check_cloud(terminal.workspace(), request, terminal.TERMINAL)
        terminal.followed("check", _shown(events, cases))


def _shown(
    events: Generator[CloudChecked, None, None], cases: list[Case]
) -> Generator[Advance | CheckSummary, None, None]:
    """Show what is found, and yield the progress and the summary; collect the *cases* of a report.

    With --json an error between the first line and the summary is a line, too.
    """
    from rmfab.errors import StationError
    from rmfab.operations.check_cloud import BrokerChecked, CheckSummary, UnitChecked

    between = False
    try:
        for event in events:
            if isinstance(event, BrokerChecked):
                _show_broker(event, cases)
            elif isinstance(event, UnitChecked):
                _show_unit(event, cases)
            else:
                if isinstance(event, CheckSummary):
                    _show_summary(event)
                yield event
            between = not isinstance(event, CheckSummary)
    except StationError as error:
        if between and terminal.json_wanted():
            terminal.json_line(error.event())
        raise
    finally:
        events.close()


def _show_broker(found: BrokerChecked, cases: list[Case]) -> None:
    from rmfab.report.junit import Case

    cases.extend(Case(found.place, one.name, "PASS", reason=one.ending.value) for one in found.attempts)
    if terminal.json_wanted():
        attempts = [one.to_json() for one in found.attempts]
        terminal.json_line({"event": "broker", "broker": found.place, "attempts": attempts})
        return
    told = ", ".join(f"{one.name} {one.ending.value}" for one in found.attempts)
    terminal.say(f"broker {found.place}: {told}")


def _show_unit(found: UnitChecked, cases: list[Case]) -> None:
    from rmfab.report.junit import Case

    cases.append(Case(found.serial, "cloud check", found.outcome.value, found.seconds, found.cause, found.reason))
    if terminal.json_wanted():
        terminal.json_line(
            {
                "event": "unit",
                "ts": found.ts,
                "serial": found.serial,
                "outcome": found.outcome.value,
                "class": found.cause,
                "reason": found.reason,
                "seconds": round(found.seconds, 3),
                "certificate": found.certificate,
                "attempts": [one.to_json() for one in found.attempts],
            }
        )
        return
    why = f" ({found.cause}: {found.reason})" if found.cause else ""
    terminal.data(f"{found.serial}  {found.outcome.value}{why}")


def _show_summary(summary: CheckSummary) -> None:
    numbers = {
        "passed": summary.passed, "failed": summary.failed, "errors": summary.errors, "aborted": summary.aborted,
    }  # fmt: skip
    if terminal.json_wanted():
        terminal.json_line({"event": "summary", **numbers})
        return
    terminal.say(", ".join(f"{number} {name}" for name, number in numbers.items() if number or name == "passed"))


@command.command("serve")
@click.option("--broker", is_flag=True, help="Serve an MQTT broker instead of the API.")
@click.option("--kind", type=click.Choice(KINDS), help="API of this cloud (default: kind in [cloud]).")
@click.option(
    "--dir",
    "folder",
    type=FILE,
    metavar="DIR",
    help="Folder of its files (default: cloud, or broker, in the workspace).",
)
@click.option(
    "--tcp-port", type=click.IntRange(0, 65535), metavar="PORT",
    help="TCP port; 0 selects a free one (default: 8443, for the broker 8883).",
)  # fmt: skip
@click.option("--bind", "address", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Address to bind; 0.0.0.0 for the network.")  # fmt: skip
@click.option("--name", "names", multiple=True, metavar="NAME", help="Further host name of this host; repeatable.")
@click.option("--crl", type=FILE, metavar="FILE", help="Broker: revocation list of unit certificates (PEM).")
@click.option(
    "--fault",
    "faults",
    type=ParsedType("name", _fault),
    multiple=True,
    metavar="NAME[@N]",
    help="API: fault at every call or the N-th; repeatable.",
)
def serve(broker: bool, kind: str | None, crl: Path | None, faults: tuple[CloudFaultCall, ...], **place: Any) -> None:
    """Serve a cloud on this host: the API with which units are registered, or a broker for tests.

    The API is strict as the real one, and forgets everything at its end. `rmfab register --deployment FILE` registers
    units in it; FILE, a CA and a password are in its folder.

    The broker is mosquitto, configured for the units of this workspace: it lets in only clients with a certificate of
    the workspace's CA, and gives each the topics of its own node id.

    Prints its URL, and runs until ^C or SIGTERM, with exit code 0. Certificates are made at the first start, and kept.

    \b
    rmfab cloud serve
    rmfab cloud serve --kind neo --fault lost-answer@6
    rmfab cloud serve --broker --bind 0.0.0.0 --name mqtt.factory.lan
    """
    place = {name: value for name, value in place.items() if value is not None}
    if broker:
        if kind is not None or faults:
            raise click.UsageError("--kind and --fault are for the API, not for the broker")
        _serve_broker(crl=crl, **place)
    else:
        if crl is not None:
            raise click.UsageError("--crl is for the broker: add --broker")
        _serve_api(kind, faults, **place)


def _serve_broker(**options: Any) -> None:
    from rmfab.operations.serve_cloud import BrokerRequest, serve_broker

    with until_stopped("broker") as stopped:
        request = BrokerRequest(**options)
        with serve_broker(terminal.workspace(), request, terminal.TERMINAL) as served, stopping(stopped.set):
            _tell(served)
            served.process.wait(lambda: not stopped.is_set())


def _serve_api(kind: str | None, faults: tuple[CloudFaultCall, ...], **options: Any) -> None:
    from rmfab.operations.serve_api import ApiRehearsalRequest, serve_rehearsal
    from rmfab.product.vocabulary import CloudKind

    request = ApiRehearsalRequest(None if kind is None else CloudKind(kind), faults=faults, **options)
    with (
        until_stopped("cloud") as stopped,
        serve_rehearsal(terminal.workspace(), request, terminal.TERMINAL) as served,
        stopping(stopped.set),
    ):
        _tell_api(served)
        stopped.wait()


def _tell_api(served: ServedApi) -> None:
    files = {"deployment": served.folder.deployment, "password_file": served.folder.password, "ca": served.folder.ca}
    if terminal.json_wanted():
        terminal.json_line({"url": served.url} | {name: str(path) for name, path in files.items()})
        return
    terminal.say(
        f"to register: rmfab register BATCH --deployment {files['deployment']} --password-file {files['password_file']}"
    )
    terminal.data(served.url)


def _tell(served: ServedBroker) -> None:
    folder = served.folder
    files = {"ca": folder.ca, "witness_cert": folder.certificate("witness"), "witness_key": folder.key("witness")}
    if terminal.json_wanted():
        terminal.json_line({"url": served.url} | {name: str(path) for name, path in files.items()})
        return
    terminal.say(f"CA of the broker: {files['ca']}")
    terminal.say(f"witness: {files['witness_cert']}, {files['witness_key']}")
    terminal.data(served.url)
