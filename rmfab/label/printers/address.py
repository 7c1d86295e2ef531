"""The address of a printer: the language that it understands, and the way to it.

zpl+tcp://HOST:9100      zpl+usb:///dev/usb/lp0      zpl+cups://QUEUE      Zebra and printers that emulate it
ql+tcp://HOST:9100       ql+usb:///dev/usb/lp0       ql+cups://QUEUE       Brother QL
tspl+tcp://HOST:9100     tspl+usb:///dev/usb/lp0     tspl+cups://QUEUE     TSC, Xprinter, most cheap printers
cups://QUEUE             cups://HOST:631/QUEUE       ipp://HOST:631/PATH   a queue with a driver, an IPP printer
file:///FOLDER                                                             one PNG per label
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path
from typing import Self

from rmfab.errors import InputError, one_line

RAW_PORT = 9100
IPP_PORT = 631
_LONGEST = 1000
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9])){0,252}\.?")
_SCOPED = re.compile(r"([0-9A-Fa-f:.]{2,45})(%[A-Za-z0-9._-]{1,15})?")
_QUEUE = re.compile(r"[^\s/#?\\\"'&%:@\[\]]{1,127}")
_BARE_HOST = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?::[0-9]{1,5})?")
_BARE_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,127}")


@unique
class PrinterLanguage(StrEnum):
    """The language of a printer."""

    ZPL = "zpl"
    QL = "ql"
    TSPL = "tspl"


@dataclass(frozen=True)
class TcpPlace:
    """A printer at a raw TCP port."""

    host: str
    port: int = RAW_PORT


@dataclass(frozen=True)
class DevicePlace:
    """A printer at a device file of this host."""

    path: Path


@dataclass(frozen=True)
class IppPlace:
    """A queue or a printer that speaks IPP, at *path*. *host* is None for the CUPS of this host."""

    host: str | None
    port: int
    path: str


@dataclass(frozen=True)
class FolderPlace:
    """A folder that receives a PNG per label."""

    path: Path


Place = TcpPlace | DevicePlace | IppPlace | FolderPlace
_LINKS = ("tcp", "usb", "cups")
_SCHEMES = (*(f"{language}+{link}" for language in PrinterLanguage for link in _LINKS), "cups", "ipp", "file")


@dataclass(frozen=True)
class PrinterAddress:
    """An address: its *text*, the *language* (None if the other end draws), and the *place*."""

    text: str
    language: PrinterLanguage | None
    place: Place

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address in *text*. Raise InputError with a hint if it is not one."""
        scheme, separator, rest = text.partition("://")
        if len(text) > _LONGEST or not text.isprintable() or text != text.strip():
            raise _wrong(text, "has spaces around it, invisible characters, or more than 1,000 of them")
        if not separator or scheme not in _SCHEMES:
            raise _wrong(text, "is not the address of a printer", _meant(text))
        language, plus, link = scheme.rpartition("+")
        return cls(text, PrinterLanguage(language) if plus else None, _place(text, link, scheme, rest))

    def __str__(self) -> str:
        return self.text


def _wrong(text: str, why: str, hint: str | None = None) -> InputError:
    forms = "such as zpl+tcp://10.0.0.9:9100, ql+usb:///dev/usb/lp0, cups://LABELS or file:///srv/labels"
    return InputError(f'"{one_line(text, 80)}" {why}', hint=hint or forms, cause="printer-address")


def _place(text: str, link: str, scheme: str, rest: str) -> Place:
    match link:
        case "tcp":
            return _tcp(text, scheme, rest)
        case "usb":
            return DevicePlace(_path(text, scheme, rest, "/dev/usb/lp0"))
        case "file":
            from urllib.parse import unquote

            return FolderPlace(_path(text, scheme, unquote(rest), "/srv/labels"))
        case "ipp":
            host, _, path = rest.partition("/")
            name, port = _host_and_port(text, host, IPP_PORT)
            return IppPlace(name, port, f"/{path}" if path else "/ipp/print")
        case _:
            return _queue(text, scheme, rest)


def _tcp(text: str, scheme: str, rest: str) -> TcpPlace:
    place, _, more = rest.partition("/")
    if more:
        raise _wrong(text, "has a path after the host", f"write {scheme}://{one_line(place, 80)}")
    return TcpPlace(*_host_and_port(text, place, RAW_PORT))


def _host_and_port(text: str, place: str, default: int) -> tuple[str, int]:
    if "@" in place:
        raise _wrong(text, "names a user", "leave the user out: raw printing has no authentication")
    host, port = _divided(text, place)
    if port and not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65535):
        raise _wrong(text, "has no valid port", f"a port is a number from 1 to 65535; the usual one is {default}")
    return host, int(port) if port else default


def _divided(text: str, place: str) -> tuple[str, str]:
    """Return the host and the port, empty if there is none."""
    if place.startswith("["):
        inner, bracket, tail = place[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")) or not _is_ipv6(inner):
            raise _wrong(text, "has no valid IPv6 address", "write it in brackets, such as [fd00::9]:9100")
        return inner, tail[1:]
    if place.count(":") > 1:
        raise _wrong(text, "has no valid host", f"write an IPv6 address in brackets: [{one_line(place, 60)}]")
    host, _, port = place.partition(":")
    if not _HOST.fullmatch(host):
        raise _wrong(text, "has no valid host", "use a host name or an IP address of the printer")
    return host, port


def _is_ipv6(text: str) -> bool:
    import ipaddress

    found = _SCOPED.fullmatch(text)
    try:
        return found is not None and ipaddress.ip_address(found[1]).version == 6
    except ValueError:
        return False


def _path(text: str, scheme: str, rest: str, example: str) -> Path:
    if not rest.startswith("/") or rest.startswith("//") or "\0" in rest:
        if rest and not rest.startswith(("/", "~", ".")):
            example = f"/{one_line(rest, 80)}"
        raise _wrong(text, "has no absolute path", f"write three slashes and the whole path: {scheme}://{example}")
    return Path(rest)


def _queue(text: str, scheme: str, rest: str) -> IppPlace:
    """Return the queue `QUEUE` of this host's CUPS, or `HOST[:PORT]/QUEUE` of a different one."""
    place, _, queue = rest.rstrip("/").rpartition("/")
    place = place.removesuffix("/printers")
    if not _QUEUE.fullmatch(queue):
        hint = f"write {scheme}://QUEUE with a name that `lpstat -e` lists, or {scheme}://HOST:631/QUEUE"
        raise _wrong(text, "has no name of a queue", hint)
    if not place:
        return IppPlace(None, IPP_PORT, f"/printers/{queue}")
    return IppPlace(*_host_and_port(text, place, IPP_PORT), f"/printers/{queue}")


def _meant(text: str) -> str | None:
    """Return a hint with the address that *text* may mean."""
    scheme, separator, rest = text.partition("://")
    shown = one_line(rest, 80)
    word = scheme.lower()
    if separator and word in _SCHEMES:
        return f"write the scheme in lower case: {word}://{shown}"
    if separator and word in (*PrinterLanguage, "zebra", "brother", "tsc"):
        language = {"zebra": "zpl", "brother": "ql", "tsc": "tspl"}.get(word, word)
        link = "usb" if rest.startswith("/") else "tcp"
        return f"did you mean {language}+{link}://{shown}?"
    if separator:
        return _foreign(word, rest, shown)
    if text.startswith(("/dev/", "lp")):
        device = text if text.startswith("/") else f"/dev/usb/{one_line(text, 80)}"
        return f"for a Zebra zpl+usb://{one_line(device, 80)}, for a Brother QL ql+usb://…, else tspl+usb://…"
    if "/" in text or text.startswith((".", "~")):
        return f"for a folder write file:// and its whole path: file://{one_line(str(Path(text).absolute()), 80)}"
    if _BARE_HOST.fullmatch(text):
        return f"for a Zebra zpl+tcp://{text}, for a Brother QL ql+tcp://{text}, else tspl+tcp://{text}"
    return f"for a CUPS queue write cups://{text}" if _BARE_QUEUE.fullmatch(text) else None


def _foreign(scheme: str, rest: str, shown: str) -> str | None:
    """Return a hint for an address of a different program."""
    host = one_line(rest.partition("/")[0], 80)
    if scheme in ("http", "https", "ipps"):
        return f"for raw printing zpl+tcp://{host.partition(':')[0]}:{RAW_PORT}, for an IPP printer ipp://{shown}"
    if scheme in ("socket", "tcp", "raw", "lpd", "jetdirect"):
        return f"name the printer's language: zpl+tcp://{host}, ql+tcp://{host} or tspl+tcp://{host}"
    if scheme == "usb":
        return "name the language and the device file: zpl+usb:///dev/usb/lp0; `rmfab printer list` shows it"
    from difflib import get_close_matches

    close = get_close_matches(scheme, _SCHEMES, n=1, cutoff=0.7)
    return f"did you mean {close[0]}://{shown}?" if close else None
