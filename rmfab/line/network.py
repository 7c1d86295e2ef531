"""The factory network's credentials: a TOML file with `ssid` and `passphrase`, readable by its owner only."""

from __future__ import annotations

from pathlib import Path

from rmfab.errors import InputError
from rmfab.product.walker import load_toml
from rmfab.secret import Secret
from rmfab.signing.keyfile import check_private


def load_network(path: Path) -> tuple[str, Secret[str]]:
    """SSID and passphrase. Raises InputError where the file is missing, open to others, or holds anything else."""
    told = load_toml(path, "network")
    check_private(path)
    ssid, passphrase = told.get("ssid"), told.get("passphrase", "")
    if set(told) - {"ssid", "passphrase"} or not isinstance(ssid, str) or not isinstance(passphrase, str):
        raise InputError("this file holds ssid and passphrase, two strings, and nothing else", where=str(path))
    if not 1 <= len(ssid.encode()) <= 32 or not (passphrase == "" or 8 <= len(passphrase) <= 64):
        raise InputError("an SSID has 1 to 32 bytes, a passphrase 8 to 64 characters or none", where=str(path))
    return ssid, Secret(passphrase)
