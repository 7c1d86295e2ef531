"""A station: a host with slots. station.toml belongs to the host, not to the product.

[station]
name = "bench-1"
ledger = "postgresql://rmfab@db.factory.example/rmfab"   # default: ledger.db in the workspace; never with a password
lease = 200                         # identities to have here while that server is away; default: none
shifts = ["06:00", "14:00", "22:00"]  # when shifts start, in local time; default: one per day
timezone = "Europe/Berlin"          # default: that of this host

[[slot]]
name = "A1"
port = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0"
baud = "auto"                       # what bridge and cable carry; or a number, which falls if they do not carry it
restart = "auto"                    # "auto", "none", or a fixture's command with {mode}: download or run
unit = "http://10.0.0.7"            # where the running unit serves provisioning; default: found by radio
presence = "cts"                    # how --loop sees that a finished board is taken out: "usb" (the port goes with
                                    # it), a modem line ("cts", "dsr", "dcd", "ri"; "!cts" is low with a board), a
                                    # fixture's command (exit code 0: a board is there, 1: none), or "probe"; default:
                                    # "usb" for a chip's own USB, else "probe", which restarts a silent board at times
start = ["/opt/fixture/closed", "1"]  # a fixture's command that starts the board: exit code 0 while it is closed, 1
                                    # while it is open; default: a board starts when it appears
enabled = false                     # out of service; while the line runs, use `rmfab slot disable`

[provisioning]                      # how this host reaches unprovisioned units
adapter = "hci1"                    # BLE; default: the host's first adapter
softap = "nmcli"                    # "nmcli", "joined", or a command with {ssid}
interface = "wlan1"                 # for nmcli; default: chosen by NetworkManager
network = "factory-wifi.toml"       # ssid and passphrase of the factory network, for [verify] join

[cloud]                             # the broker of the units, for [verify] cloud and `rmfab cloud check`
host = "mqtt.factory.example"       # default: mqtt_host in product.toml
tcp_port = 8883                     # default: 443
ca = "broker-ca.crt"                # CA of the broker's certificate; default: those of the system
witness_cert = "witness.crt"        # a client that may see everything; default: none
witness_key = "witness.key"

[step.relay]                        # what runs the step that product.toml names ([[step]] name = "relay"); no shell;
command = ["/opt/relay/test", "--slot", "{slot}", "{serial}"]   # also {mac}, {port}, {log}: docs/maker.md

[printer]                           # the label printer; all keys: rmfab/label/printers/configuration.py
address = "zpl+tcp://10.0.0.9:9100"
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from rmfab.board.esp.loader import SlotLink
from rmfab.board.port import ROM_BAUD, PluggedIn, plugged_in
from rmfab.board.presence import LINES, ByCommand, ByModemLine, ByProbe, ByUsb, ClosedByCommand, Presence
from rmfab.board.restart import Auto, FixtureCommand, Restart, Unwired
from rmfab.errors import InputError, UsageError
from rmfab.files import is_safe_name
from rmfab.label.printers.configuration import PrinterConfig, read_printer
from rmfab.ledger.sql.server_address import ServerAddress, is_url
from rmfab.line.shifts import PER_DAY, Shifts, shifts_in
from rmfab.line.step_program import PLACEHOLDERS, StepCommand
from rmfab.product.product_file import bad_host
from rmfab.product.toml_reader import Table, Walker, as_toml, load_toml, parse_toml

FILE_NAME = "station.toml"
AUTO_BAUD = "auto"
LEAST_BAUD, MOST_BAUD = 9600, 4_000_000
NMCLI, JOINED = "nmcli", "joined"
LARGEST_LEASE = 100_000
_CLOSE = 0.5  # of difflib's ratio: slots have names of two letters, and one of them may be the mistake
_WORD = re.compile(r"\{(\w+)\}")
_COM_PORT = re.compile(r"COM[0-9]{1,3}", re.IGNORECASE)
_URL = re.compile(r"http://(?:\[[0-9A-Fa-f:.]+\]|[^\s/:@?#\[\]]+)(?::[0-9]{1,5})?/?")


@dataclass(frozen=True)
class Slot:
    """One position of a station: its name for people, and the link to its board.

    *unit* is the URL at which its running unit serves provisioning, None if the station finds the unit by radio.
    *presence*: how a finished board is seen to be taken out, None for what suits the port. *enabled*: whether
    station.toml has it in service. *start*: what tells that its fixture is closed, None without one.
    """

    name: str
    link: SlotLink
    unit: str | None = None
    presence: Presence | None = None
    enabled: bool = True
    start: ClosedByCommand | None = None


@dataclass(frozen=True)
class Radio:
    """How a station reaches unprovisioned units.

    *softap* is `nmcli`, `joined`, or a command with `{ssid}`. *network* is a file with the factory network's
    credentials.
    """

    adapter: str | None = None
    softap: tuple[str, ...] = (NMCLI,)
    interface: str | None = None
    network: Path | None = None


@dataclass(frozen=True)
class StationBroker:
    """The broker of the units, as this host reaches it: *host* (None: mqtt_host) and *tcp_port* (None: 443).

    *ca* is a file with the CAs of its certificate, None for those of the system. *witness_cert* and *witness_key* are
    the files of a client that may see and send everything there, None if the station has none.
    """

    host: str | None = None
    tcp_port: int | None = None
    ca: Path | None = None
    witness_cert: Path | None = None
    witness_key: Path | None = None


@dataclass(frozen=True)
class Station:
    """The host's name in the ledger, its slots in the order of the file, its radio, and the ledger if it names one.

    *lease*: how many identities it has in a lease, for when the ledger's server is away. *broker*: where it reaches the
    broker of the units, None if the file does not have a table `[cloud]`. *printer*: its label printer, None without
    one. *shifts*: when they start. *commands*: what runs a product's own steps, by their names.
    """

    name: str
    slots: tuple[Slot, ...] = ()
    radio: Radio = Radio()
    ledger: Path | str | None = None
    lease: int = 0
    broker: StationBroker | None = None
    printer: PrinterConfig | None = None
    shifts: Shifts = PER_DAY
    commands: Mapping[str, StepCommand] = field(default_factory=dict)

    def slot_at(self, port: PluggedIn) -> str | None:
        """Return the name of the slot that has *port*, None if none has it."""
        return next((slot.name for slot in self.slots if port.is_at(slot.link.address)), None)


def host_station() -> Station:
    """Return the station of a host without a station.toml: named after the host, no slots."""
    name = socket.gethostname().split(".")[0]
    return Station(name if is_safe_name(name) else "station")


def load_station(path: Path) -> Station:
    """Read station.toml. Raise InputError, or ComplaintsError with every error and its place."""
    return _read_station(load_toml(path, "station"), path)


def parse_station(text: str, path: Path) -> Station:
    """Read *text* as the content of the station.toml *path*. Raise as `load_station` does."""
    return _read_station(parse_toml(text, path), path)


def _read_station(data: dict[str, Any], path: Path) -> Station:
    walker = Walker(path.name, data)
    table = walker.table("station")
    name = table.text("name", host_station().name, check=bad_name)
    ledger = _ledger(table, path.resolve().parent)
    lease = table.integer("lease", 0, 0, LARGEST_LEASE)
    shifts = shifts_in(table)
    table.finish()
    radio = _radio(walker.table("provisioning"), path.resolve().parent)
    broker = _broker(walker.table("cloud"), path.resolve().parent) if "cloud" in data else None
    printer = read_printer(walker.table("printer")) if "printer" in data else None
    commands = _commands(walker.table("step"), path.resolve().parent)
    slots = tuple(_slot(slot) for slot in walker.tables("slot"))
    for what, values in (("name", [slot.name for slot in slots]), ("port", [slot.link.address for slot in slots])):
        for value in sorted(value for value, times in Counter(values).items() if times > 1):
            walker.complain("[[slot]]", f'two slots have the same {what} "{value}"')
    walker.finish()
    return Station(name, slots, radio, ledger, lease, broker, printer, shifts, commands)


def _commands(table: Table, root: Path) -> dict[str, StepCommand]:
    commands = {}
    for name in table.everything():
        step = table.table(name)
        words = step.strings("command")
        step.finish()
        odd = [found for word in words for found in _WORD.findall(word) if found not in PLACEHOLDERS]
        if not words or not words[0]:
            table.complain(name, "the step has no command", 'command = ["program", "{serial}"]')
        elif odd:
            known = ", ".join(f"{{{one}}}" for one in PLACEHOLDERS)
            table.complain(f"{name} command", f"{{{odd[0]:.40}}} is not known", f"the placeholders are {known}")
        elif _WORD.search(words[0]):
            table.complain(f"{name} command", "the program itself cannot depend on the unit", "write its whole path")
        else:
            program = words[0] if "/" not in words[0] else str(root / words[0])
            commands[name] = StepCommand((program, *words[1:]), root)
    return commands


def _ledger(table: Table, root: Path) -> Path | str | None:
    value = table.text("ledger", "")
    if not is_url(value):
        return root / value if value else None
    try:
        ServerAddress.parse(value)
    except InputError as error:
        table.complain("ledger", error.what, error.hint)
    return value


def _slot(table: Table) -> Slot:
    name = table.text("name", check=bad_name)
    address = table.text("port")
    baud = _baud(table)
    restart = _restart(table)
    unit = table.text("unit", "", check=_bad_url)
    presence, start = _presence(table, address), _start(table)
    enabled = table.boolean("enabled", True)
    table.finish()
    return Slot(name, SlotLink(address, baud, restart), unit or None, presence, enabled, start)


def _start(table: Table) -> ClosedByCommand | None:
    value = table.raw("start")
    if _is_argv(value):
        return ClosedByCommand(tuple(value))
    if value is not None:
        hint = 'use ["program", …], or leave it out: a board that appears starts'
        table.complain("start", f"{as_toml(value)} is not a command", hint)
    return None


def _is_argv(value: object) -> bool:
    """Return whether *value* is a list of arguments, the program first."""
    return isinstance(value, list) and all(isinstance(word, str) for word in value) and bool(value and value[0])


def _presence(table: Table, address: str) -> Presence | None:
    value = table.raw("presence")
    ways = 'use "usb", "probe", ' + ", ".join(f'"{line}"' for line in LINES) + ', or ["program", …]'
    match value:
        case None | "auto":
            return None
        case "probe":
            return ByProbe()
        case "usb":
            if "://" in address:
                table.complain("presence", "a port on the network does not come and go with its board", ways)
            return ByUsb()
        case str() if value.removeprefix("!") in LINES:
            return ByModemLine(value.removeprefix("!"), low=value.startswith("!"))
        case _ if _is_argv(value):
            return ByCommand(tuple(value))
    table.complain("presence", f"{as_toml(value)} is not a way to see a board", ways)
    return None


def _baud(table: Table) -> int | None:
    value = table.raw("baud")
    if value is None or value == AUTO_BAUD:
        return None
    if isinstance(value, str):
        table.complain("baud", f"{as_toml(value)} is not a rate", f'"{AUTO_BAUD}", or a number such as 921600')
        return None
    return table.integer("baud", 0, LEAST_BAUD, MOST_BAUD)


def _radio(table: Table, root: Path) -> Radio:
    adapter, interface, network = (table.text(key, "") for key in ("adapter", "interface", "network"))
    softap = _softap(table)
    table.finish()
    return Radio(adapter or None, softap, interface or None, root / network if network else None)


def _broker(table: Table, root: Path) -> StationBroker:
    host = table.text("host", "", check=lambda host: bad_host(host) if host else None)
    tcp_port = table.integer("tcp_port", 0, 1, 65535) or None
    ca, certificate, key = (table.text(name, "") for name in ("ca", "witness_cert", "witness_key"))
    if bool(certificate) != bool(key):
        table.complain("witness_cert", "set both witness_cert and witness_key, or neither")
    table.finish()
    paths = (root / name if name else None for name in (ca, certificate, key))
    return StationBroker(host or None, tcp_port, *paths)


def _softap(table: Table) -> tuple[str, ...]:
    value = table.raw("softap")
    if value is None or value in (NMCLI, JOINED):
        return (value or NMCLI,)
    words = value if isinstance(value, list) and all(isinstance(word, str) for word in value) else []
    if any("{ssid}" in word for word in words):
        return tuple(words)
    table.complain("softap", f"{as_toml(value)} is not a way to join", '"nmcli", "joined", or ["program", …, "{ssid}"]')
    return (NMCLI,)


def _restart(table: Table) -> Restart:
    value = table.raw("restart")
    if value is None or value == "auto":
        return Auto()
    if value == "none":
        return Unwired()
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        try:
            return FixtureCommand(tuple(value))
        except InputError as error:
            table.complain("restart", error.what, error.hint)
            return Auto()
    kinds = '"auto", "none", or ["program", …, "{mode}"]'
    table.complain("restart", f"{as_toml(value)} is not a kind of restart", kinds)
    return Auto()


def _bad_url(url: str) -> str | None:
    return None if not url or _URL.fullmatch(url) else f'"{url}" is not the URL of a unit: expected http://host[:port]'


def bad_name(name: str) -> str | None:
    """Return what is wrong with *name* as that of a slot or a station, None if nothing is."""
    return None if is_safe_name(name) else "a name has 1 to 64 characters of A-Z a-z 0-9 . _ - and no leading dot"


def slots_for(
    addresses: tuple[str, ...], station: Station, baud: int | None, units: tuple[str, ...] = ()
) -> tuple[Slot, ...]:
    """Return the slots that --port names, by slot name or address; all slots of station.toml if --port is not given.

    *baud* overrides the baud of the slots. *units* are the URLs of --unit-url, one per slot in the same order. Raise
    InputError if there is no slot or a slot is unknown, UsageError if one is named twice, a URL is invalid, or the
    number of URLs differs from that of slots.
    """
    by_name = {slot.name: slot for slot in station.slots} | {slot.link.address: slot for slot in station.slots}
    for address in addresses:
        if address not in by_name and _looks_like_a_slot(address):
            raise _no_slot(address, station)
    chosen = [by_name.get(address) or _lone_slot(address) for address in addresses] or list(station.slots)
    if not chosen:
        raise InputError("no port given", hint="use --port PORT, see `rmfab ports`, or `rmfab station discover`")
    refuse_same_port(chosen)
    if baud is not None:
        chosen = [replace(slot, link=replace(slot.link, baud=baud)) for slot in chosen]
    return _with_units(chosen, units) if units else tuple(chosen)


def slot_named(name: str, station: Station) -> Slot:
    """Return the slot *name* of *station*. Raise InputError with the slots that it may mean if there is none."""
    slot = next((slot for slot in station.slots if name in (slot.name, slot.link.address)), None)
    if slot is None:
        raise _no_slot(name, station)
    return slot


def refuse_same_port(slots: Iterable[Slot]) -> None:
    """Raise UsageError if two of *slots* have one port."""
    used = [slot.link.address for slot in slots]
    for address in used:
        if used.count(address) > 1:
            raise UsageError("port given twice", where=address, hint="give each port or slot once")


def _no_slot(name: str, station: Station) -> InputError:
    """Return the error for a *name* that is neither a slot nor a port, with the slots and ports that it may mean."""
    slots = [slot.name for slot in station.slots]
    ports = {Path(port.device).name: port.address for port in plugged_in()}
    if slots:
        what = f"no slot {name}; {FILE_NAME} has {', '.join(slots)}"
    else:
        what = f'"{name}" is neither a port nor a slot: this station has no slots'
    known = {one.lower(): one for one in (*ports, *slots)}
    close = [ports.get(known[one], known[one]) for one in closest(name.lower(), known)]
    hint = "give the name of a slot, or the whole path of a port" if slots else "give the whole path of a port"
    meant = f"did you mean {close[0]}? Otherwise " if close else ""
    return InputError(what, hint=f"{meant}{hint}; `rmfab ports` lists them", cause="no-slot")


def closest(name: str, known: Iterable[str]) -> list[str]:
    """Return the one of *known* that *name* is most like; none if two are equally like it: A7 may be any slot."""
    ratios = {one: SequenceMatcher(None, one, name).ratio() for one in known}
    best = [one for one, ratio in ratios.items() if ratio == max(ratios.values()) >= _CLOSE]
    return best if len(best) == 1 else []


def _looks_like_a_slot(address: str) -> bool:
    """Return whether *address* can only be meant as a slot's name: it has no form of a port (a path, a URL, `COM7`)."""
    is_port = any(sign in address for sign in "/\\") or _COM_PORT.fullmatch(address)
    return not is_port and not Path(address).exists()


def _with_units(slots: list[Slot], units: tuple[str, ...]) -> tuple[Slot, ...]:
    """Return *slots* with the URLs of --unit-url. Raise UsageError if their numbers differ or a URL is bad."""
    if len(units) != len(slots):
        raise UsageError(
            f"expected {len(slots)} --unit-url, got {len(units)}",
            hint="give one --unit-url per --port, in the same order",
        )
    for url in units:
        if wrong := _bad_url(url):
            raise UsageError(
                wrong, hint="give --unit-url the address of the unit's provisioning, such as http://10.0.0.7"
            )
    return tuple(replace(slot, unit=url) for slot, url in zip(slots, units, strict=True))


def _lone_slot(address: str) -> Slot:
    """Return a slot for a port outside station.toml. A `socket://` port carries neither reset lines nor a baud."""
    if address.startswith("socket://"):
        return Slot(address, SlotLink(address, ROM_BAUD, Unwired()))
    return Slot(address, SlotLink(address, None, Auto()))
