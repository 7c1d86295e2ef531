"""Where the factory network's credentials come from: the file that station.toml names, or the terminal. Never argv."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rmfab.errors import InputError
from rmfab.line.radio.factory_network import FactoryNetwork, load_network
from rmfab.secret import Secret


def ask(path: Path | None) -> FactoryNetwork:
    """The network that units join. Raises InputError where there is neither file nor terminal, or it cannot be."""
    if path is not None:
        return load_network(path)
    if not sys.stdin.isatty():
        raise InputError(
            "[verify] join needs the factory network, and there is no terminal to ask on",
            hint='network = "factory-wifi.toml" in station.toml ([provisioning]); the file holds ssid and passphrase',
            cause="no-network",
        )
    ssid: str = click.prompt("SSID of the factory network", err=True)
    passphrase: str = click.prompt("Its passphrase (none: leave empty)", hide_input=True, default="",
                                   show_default=False, err=True)  # fmt: skip
    return FactoryNetwork(ssid, Secret(passphrase))
