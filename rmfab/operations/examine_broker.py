"""Diagnosis of the broker of the units as this station reaches it: clock, DNS, TLS, and the witness."""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.cloud.check_unit import probe
from rmfab.cloud.witness import watching
from rmfab.errors import RmfabError
from rmfab.ledger.events import timestamp
from rmfab.line.diagnosis import Diagnosis
from rmfab.operations.station_broker import broker_of, line_witness, witness_pair
from rmfab.operations.terminal import UNATTENDED
from rmfab.product.vocabulary import CloudProof
from rmfab.workspace.workspace import Workspace


def diagnose_broker(workspace: Workspace) -> Iterator[Diagnosis]:
    """Yield what the step `cloud` and `rmfab cloud check` need, if station.toml has a broker or the product needs one.

    Raise InputError or StationError for what cannot be read or reached.
    """
    station = workspace.station.broker
    if workspace.product.verify.cloud is CloudProof.WITNESS:
        line_witness(workspace, UNATTENDED)
    if station is None:
        return
    yield from _clock(workspace)
    broker, _ = probe(broker_of(workspace, station))
    yield Diagnosis(f"the broker {broker.place} (address, port, certificate, name)", True)
    pair = witness_pair(station, UNATTENDED)
    if pair is None:
        yield Diagnosis("no witness at the broker: `rmfab cloud check` only connects", True)
        return
    with watching(broker, pair, lambda: None):
        yield Diagnosis(f"the witness at {broker.place}", True)


def _clock(workspace: Workspace) -> Iterator[Diagnosis]:
    """Compare this host's clock with the newest record of the ledger: it decides whether a certificate is valid."""
    now = timestamp(workspace.now())
    try:
        newest = workspace.ledger.newest_ts() if workspace.has_ledger else None
    except RmfabError:  # reported by the check of the ledger
        return
    hint = "set the clock, and let it follow a time server (`timedatectl set-ntp true`)"
    if newest is not None and newest > now:
        yield Diagnosis(f"this host's clock shows {now}, before the newest record of the ledger: {newest}", False, hint)
    else:
        yield Diagnosis(f"this host's clock: {now}", True)
