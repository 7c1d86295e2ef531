"""USB bridges by vendor and product id, and the rates in baud that each is known to carry.

Sources: data sheets; Linux `drivers/usb/serial/cp210x.c` (all of CP2102, CP2104 and CP2102N have one id; the port tells
which rate they really run at), `ch341.c`, `ftdi_sio.c`. The gaps of the CH340 are from boards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SAFE_BAUD = 921600
"""The fastest rate of a bridge that is not known, and of a ROM loader."""
RATES = (115200, 230400, 460800, SAFE_BAUD, 1_000_000, 1_500_000, 2_000_000, 3_000_000)
_ESPRESSIF = "303a:"
_SIGNATURE = re.compile(r"\busb=([0-9a-f]{4}:[0-9a-f]{4})\b", re.ASCII)


@dataclass(frozen=True)
class Bridge:
    """A bridge: the *rates* that it may carry, rising, and the one of them at which a board is first written.

    With *sixteen_ms* it waits that long for more bytes before it passes an answer on, unless it is told not to.
    """

    name: str
    rates: tuple[int, ...] = RATES
    first: int = SAFE_BAUD
    sixteen_ms: bool = False


_CP210X = Bridge("CP210x")
_CH340 = Bridge("CH340", (115200, 230400, 460800, 1_000_000, 2_000_000), first=1_000_000)
_WCH = Bridge("CH343")
_FTDI = Bridge("FTDI", sixteen_ms=True)
_OWN = Bridge("the chip's own USB", (115200,), first=115200)
_KNOWN = {
    "10c4:ea60": _CP210X,
    "10c4:ea70": Bridge("CP2105", RATES[:-1]),
    "10c4:ea71": Bridge("CP2108", RATES[:-1]),
    "1a86:7523": _CH340,
    "1a86:5523": _CH340,
    "1a86:55d2": _WCH,
    "1a86:55d3": _WCH,
    "1a86:55d4": _WCH,
    "1a86:55d5": _WCH,
    "0403:6001": _FTDI,
    "0403:6010": _FTDI,
    "0403:6011": _FTDI,
    "0403:6014": _FTDI,
    "0403:6015": _FTDI,
}


def known_bridge(usb: str | None) -> Bridge | None:
    """Return the bridge with the ids *usb*, such as `10c4:ea60`; None if it is not known."""
    if usb is not None and usb.startswith(_ESPRESSIF):
        return _OWN
    return _KNOWN.get(usb or "")


def signed_usb(signature: str) -> str | None:
    """Return the USB ids in the signature of an RFC 2217 server: `usb=10c4:ea60`, anywhere in it."""
    found = _SIGNATURE.search(signature)
    return found[1] if found is not None else None
