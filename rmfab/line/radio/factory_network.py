"""The factory network that units join for `[verify] join`, from a TOML file with `ssid` and `passphrase`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.privacy import refuse_loose
from rmfab.product.toml_reader import load_toml
from rmfab.secret import Secret


@dataclass(frozen=True)
class FactoryNetwork:
    """A network and its passphrase, empty if it is open. Raise InputError if no unit could be given it."""

    ssid: str
    passphrase: Secret[str]

    def __post_init__(self) -> None:
        octets = len(self.passphrase.reveal().encode())
        if not 1 <= len(self.ssid.encode()) <= 32 or not (octets == 0 or 8 <= octets <= 63):
            raise InputError("an SSID has 1 to 32 bytes, a passphrase 8 to 63 bytes or none", cause="bad-network")


def load_network(path: Path) -> FactoryNetwork:
    """Return the network in *path*. Raise InputError if it is missing, readable by others, or has other contents."""
    told = load_toml(path, "network")
    refuse_loose(path, "network file")
    ssid, passphrase = told.get("ssid"), told.get("passphrase", "")
    if set(told) - {"ssid", "passphrase"} or not isinstance(ssid, str) or not isinstance(passphrase, str):
        raise InputError("expected only ssid and passphrase, two strings", where=str(path), cause="bad-network")
    try:
        return FactoryNetwork(ssid, Secret(passphrase))
    except InputError as error:
        error.where = str(path)
        raise
