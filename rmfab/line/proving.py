"""The steps on the running unit: boot and identify. They restart it, listen, and ask its console."""

from __future__ import annotations

import re
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from rmfab.board.bootlog import CLAIMING, NO_CREDENTIALS, BootLog
from rmfab.board.console import Console
from rmfab.board.own_usb import returned, usb_number
from rmfab.board.port import guarded
from rmfab.board.restart import Auto, Unwired, restart_into_run
from rmfab.errors import InputError, StationError
from rmfab.identity.identity import Identity
from rmfab.identity.qr import payload
from rmfab.ledger.events import Outcome
from rmfab.line.judges import Fault, judge_boot, judge_identity
from rmfab.line.unit import Unit
from rmfab.product.vocabulary import Credentials

_NODE_ID = re.compile(r"Node ID: (\S+)")
_SIGNATURE = re.compile(r"hex signature\(len \d+\): ([0-9a-fA-F]+)")
_ANSWER_SECONDS = 5.0
_ASKS = 2


def boot(unit: Unit) -> dict[str, Any]:
    """Restarts the unit into its firmware and judges its boot log."""
    _bind_known(unit)
    restart(unit)
    if isinstance(unit.slot.link.restart, Unwired):
        unit.say("info", "restart the board now: nothing here can")
    console = unit.console = Console(unit.port, unit.slot.link.address, unit.keep_going)
    claims = unit.job.product.identity.credentials is Credentials.CLAIM
    log = unit.boot_log = BootLog(frozenset({CLAIMING, NO_CREDENTIALS, "no-node-id"}) if claims else frozenset())
    policy = unit.job.product.verify
    for line in console.lines(policy.boot_timeout):
        log.feed(line)
        if log.symptom or (log.app_started and log.qr_payload and (log.node_id or claims)):
            break
    for line in console.lines(policy.settle):
        log.feed(line)
    if isinstance(unit.slot.link.restart, Unwired) and not (log.starts or log.app_started or log.symptom):
        raise StationError(
            "nobody restarted the board while its console was read",
            where=unit.slot.link.address,
            hint=f"restart it within [verify] boot_timeout ({policy.boot_timeout:g} s) of this step's beginning",
            cause="not-restarted",
        )
    firmware = unit.job.firmware
    return judge_boot(log, firmware.release if firmware else None)


def restart(unit: Unit) -> None:
    """Leaves the loader and restarts into the firmware, unless somebody else restarts this slot."""
    link, loader = unit.slot.link, unit.loader
    unit.loader = None
    own_usb = usb_number(link.address) if isinstance(link.restart, Auto) else None
    if own_usb is not None and loader is not None:
        loader.restart()
    else:
        if loader is not None:
            loader.leave()
        if not isinstance(link.restart, Unwired):
            guarded(link.address, lambda: restart_into_run(unit.port, link.restart))
    if own_usb is not None:
        unit.port = returned(unit.port, link.address, own_usb)


def _bind_known(unit: Unit) -> None:
    """Which unit it ought to be: by the MAC that the loader told, or by the serial that the operator gave."""
    job = unit.job
    if unit.binding is None and unit.mac is not None:
        unit.binding = job.ledger.identity_by_mac(unit.mac)
        if unit.binding is not None and job.serial not in (None, unit.binding.serial):
            raise InputError(
                f"this board is {unit.binding.serial}, not {job.serial}", where=unit.mac, cause="serial-mismatch"
            )
    elif unit.binding is None and job.serial is not None:
        unit.binding = job.ledger.identity_by_serial(job.serial)
        if unit.binding is None:
            raise InputError(f"there is no unit {job.serial} in the ledger", cause="no-serial")
        if not unit.binding.standing.live:
            raise InputError(
                f"no board has the identity {job.serial}: it is {unit.binding.state}",
                hint="`rmfab flash` gives a board its identity before it can be verified",
                cause="not-claimed",
            )
    if unit.binding is not None and unit.identity is None:
        unit.identity = job.open_identity(unit.binding)


def identify(unit: Unit) -> dict[str, Any]:
    """Proves that the unit is who the ledger says: node id, QR payload, and a signature made with its key."""
    log, identity = unit.boot_log, unit.identity
    if log is None:
        raise ValueError("identify follows boot")
    if identity is None:
        said = f'; its console says "{log.node_id}", which proves nothing alone' if log.node_id else ""
        raise Fault(
            f"this board has no identity in the ledger{said}",
            hint="`rmfab flash` gives it one; where the MAC cannot be read, --serial says which unit it ought to be",
            cause="unbound",
        )
    product = unit.job.product
    expected = payload(identity.service_name, identity.pop, product.provisioning)
    certificate = product.identity.credentials is Credentials.CERTIFICATE
    judge_identity(log, identity.node_id, expected, product.identity.credentials)
    asked = certificate and product.verify.console
    if asked:
        _ask_node_id(unit, identity)
        _ask_signature(unit, identity)
    done = {True: Outcome.PASS.value, False: Outcome.SKIP.value}
    checks = {"qr": done[True], "node_id": done[certificate], "console": done[asked], "signature": done[asked]}
    return {"node_id": identity.node_id, "checks": checks}


def _ask(unit: Unit, command: str, answer: re.Pattern[str]) -> str | None:
    """The console's answer; asked a second time, since a line of the log may have run into the first."""
    if unit.console is None:
        raise ValueError("the console is not open")
    for _ in range(_ASKS):
        if match := unit.console.ask(command, answer, _ANSWER_SECONDS):
            return match[1]
    return None


def _ask_node_id(unit: Unit, identity: Identity) -> None:
    told = _ask(unit, "get-node-id", _NODE_ID)
    if told is None:
        raise Fault(
            "the console does not answer get-node-id",
            hint="a firmware without console commands: set console = false in product.toml ([verify])",
            cause="no-console",
        )
    if told != identity.node_id:
        raise Fault(f'the console says node "{told}", the ledger says "{identity.node_id}"', cause="other-identity")


def _ask_signature(unit: Unit, identity: Identity) -> None:
    challenge = unit.job.challenge()
    told = _ask(unit, f"sign-data {challenge}", _SIGNATURE)
    if told is None:
        raise Fault("the console does not answer sign-data", cause="no-console")
    if identity.certificate_pem is None or not signed_by(identity.certificate_pem, challenge.encode(), told):
        raise Fault(
            "the key in the unit does not belong to its certificate",
            hint="void the unit; its factory partition holds another key",
            cause="wrong-key",
        )


def signed_by(certificate_pem: bytes, message: bytes, signature_hex: str) -> bool:
    """Whether the hex signature over SHA-256 of *message* was made with the certificate's key.

    ECDSA in DER, or RSA-PSS with MGF1-SHA-256. Source: esp-rainmaker, src/console/esp_rmaker_commands.c (sign-data).
    """
    key = x509.load_pem_x509_certificate(certificate_pem).public_key()
    try:
        signature = bytes.fromhex(signature_hex)
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
            key.verify(signature, message, pss, hashes.SHA256())
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True
