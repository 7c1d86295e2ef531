"""Judges of a boot log and of the identity that the unit reports. They take values and raise only `UnitFault`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmfab.board.bootlog import BootLog
from rmfab.board.symptoms import FACTORY_CAUSES
from rmfab.errors import InputError, StationError, UnitFault, one_line
from rmfab.identity.node_id import judge_same_node
from rmfab.identity.qr import parse_payload, same_payload
from rmfab.line.ending import Marginal
from rmfab.product.console_pattern import ConsolePatterns
from rmfab.product.vocabulary import Credentials
from rmfab.release.release import Release
from rmfab.secret import Secret, redact

if TYPE_CHECKING:
    from rmfab.identity.identity import Identity

_LOST = "\N{REPLACEMENT CHARACTER}"
_LAYOUT = "\r\n\t\x1b"
_LEAST_NOISE = 32  # characters: one lost byte is no noise
_NOISY = 0.2  # of all characters: the ROM's own lines are readable at its own rate


def judge_boot(log: BootLog, release: Release | None) -> dict[str, object]:
    """Return the measurements of a good boot. Raise UnitFault if the boot is not good, or if the wrong release booted.

    Without a *release* (verify of a unit without its release), judge only the health of the boot.
    """
    judge_alive(log)
    if log.lines == 0:
        raise UnitFault(
            "the board printed nothing after its restart",
            hint='check the console wiring and baud; if the firmware is quiet, set console = "none" in [verify]',
            cause="silent",
        )
    if not log.app_started and log.symptom is None:
        raise UnitFault(
            "the boot log ends before the app prints its name and version",
            hint="check the console log; a longer [verify] boot_timeout may help",
            cause="boot-incomplete",
        )
    if release is not None and log.app_started:
        _same_app(log, release)
        _same_partitions(log, release)
    told: dict[str, object] = {"project": log.app.get("Project name"), "version": log.app.get("App version")}
    if log.partitions and not log.table_complete:
        told["table"] = "not judged: a row or its end was lost"
    if log.failed_starts:
        told["failed_starts"] = [failed.cause for failed in log.failed_starts]
    return told | ({"warnings": sorted(log.warnings)} if log.warnings else {})


def judge_patterns(log: BootLog, patterns: ConsolePatterns) -> dict[str, object]:
    """Return the names of the product's *patterns* that the console has printed; raise UnitFault if one is missing."""
    judge_alive(log)
    if log.missing:
        names = ", ".join(pattern.name for pattern in log.missing)
        raise UnitFault(
            f"the console did not print what [verify] console_must names: {names}",
            hint="check the console log; a longer [verify] boot_timeout may help",
            cause="console-missing",
        )
    return {"console_must": [pattern.name for pattern in patterns.must]} if patterns.must else {}


def _same_app(log: BootLog, release: Release) -> None:
    told = log.app
    for key, expected, cause in (
        ("Project name", release.app.project, "project-mismatch"),
        ("App version", release.app.version, "version-mismatch"),
    ):
        if told[key] != expected:
            raise UnitFault(
                f'the wrong app booted: {key.lower()} is "{one_line(told[key])}", the release has "{expected}"',
                cause=cause,
            )
    digest = told["ELF file SHA256"].rstrip(".").lower()
    if not digest or not release.app.elf_sha256.startswith(digest):
        raise UnitFault(
            f"the wrong build of the app booted: ELF SHA-256 {one_line(digest, 64)}…, "
            f"the release has {release.app.elf_sha256[:16]}…",
            cause="elf-mismatch",
        )


def _same_partitions(log: BootLog, release: Release) -> None:
    if not log.table_complete:  # not printed (a lower log level), or a row of it was lost on the way
        return
    expected = [(row.label, row.type, row.subtype, row.offset, row.size) for row in release.table.partitions]
    if log.partitions != expected:
        odd = next(
            (label for (label, *rest), row in zip(log.partitions, expected, strict=False) if (label, *rest) != row),
            "its length",
        )
        raise UnitFault(
            f"the bootloader found a different partition table from the release's: {one_line(odd)}",
            cause="table-mismatch",
        )


def judge_readable(log: BootLog, text: str) -> None:
    """Raise StationError if the console's *text* is mostly noise, and nothing in its *log* was recognized."""
    noise = sum(char == _LOST or not (char.isprintable() or char in _LAYOUT) for char in text)
    if log.app_started or log.symptom is not None or noise < _LEAST_NOISE or noise < len(text) * _NOISY:
        return
    raise StationError(
        "the console cannot be read: it sends noise instead of text",
        hint="compare [verify] console_baud with CONFIG_ESP_CONSOLE_UART_BAUDRATE, then check cable and contacts",
        cause="console-garbled",
    )


CONTRADICTIONS = frozenset(
    {
        "project-mismatch",
        "version-mismatch",
        "elf-mismatch",
        "table-mismatch",
        "other-identity",
        "pop-mismatch",
        "qr-mismatch",
    }
)
"""What one wrong character on the wire can look like: heard a second time before it is the unit's fault."""


def judge_same_reading(first: BootLog, second: BootLog) -> None:
    """Raise StationError if the unit reported something different of itself in the *second* of two boots."""
    before, after = first.reading, second.reading
    odd = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    if odd:
        raise StationError(
            f"two boots of the unit do not read the same: {', '.join(odd)}",
            hint="check the cable, the contacts and the console's baud, then run it again",
            cause="console-garbled",
        )


def judge_marginal(log: BootLog) -> Marginal | None:
    """Return the first warning of a good boot, None if it has none."""
    warning = next(iter(log.warnings.values()), None)
    return None if warning is None else Marginal(warning.cause, warning.reason)


def judge_alive(log: BootLog) -> None:
    """Raise UnitFault if anything in *log* means that the firmware died or restarted, however long after its start.

    The product may forbid more.
    """
    if log.forbidden is not None:
        raise UnitFault(
            f"the console printed what [verify] console_must_not forbids: {log.forbidden.name}",
            cause="console-forbidden",
        )
    if log.symptom is not None and log.symptom.cause not in FACTORY_CAUSES:
        raise UnitFault(log.symptom.reason, cause=log.symptom.cause)


def judge_identity(
    log: BootLog,
    node_id: str | None,
    payload: Secret[str],
    credentials: Credentials,
    *,
    needs_node: bool = True,
    needs_qr: bool = True,
) -> None:
    """Raise UnitFault if the unit reports a different node id or QR payload from those in the ledger.

    *needs_node*, *needs_qr*: the firmware prints it for certain, so that its absence is the unit's fault.
    """
    _judge_symptom(log)
    if credentials is Credentials.CERTIFICATE and (needs_node or log.node_id is not None):
        judge_node(log, node_id)
    if log.qr_payload is None and not needs_qr:
        return
    if log.qr_payload is None:
        raise UnitFault(
            "the unit did not print its QR payload",
            hint="check that the firmware starts provisioning, and does not lower the log level of its QR code",
            cause="no-qr",
        )
    told, expected = log.qr_payload, payload.reveal()
    if not same_payload(told, expected) and not _adds_a_pop(told, expected):
        raise _other_payload(told, expected)


def judge_node(log: BootLog, node_id: str | None) -> None:
    """Raise UnitFault if the unit does not report the node id *node_id*."""
    if log.node_id is None:
        raise UnitFault("the unit did not print its node id", cause="no-node-id")
    judge_same_node(log.node_id, node_id)


def _judge_symptom(log: BootLog) -> None:
    if log.symptom is not None:
        raise UnitFault(log.symptom.reason, cause=log.symptom.cause)


def _adds_a_pop(told: str, expected: str) -> bool:
    """Return whether the unit prints a PoP and the label has none. That is harmless: security 0 does not use a PoP."""
    try:
        printed, label = parse_payload(told), parse_payload(expected)
    except InputError:
        return False
    rest = {key: value for key, value in printed.fields.items() if key != "pop"}
    return label.pop is None and printed.form is label.form and rest == label.fields


def _other_payload(told: str, expected: str) -> UnitFault:
    if _without_pop(told) == _without_pop(expected) is not None:
        return UnitFault(
            "the PoP that the unit prints differs from its label's",
            hint="check the firmware: it must derive the PoP from the first four bytes of `random`",
            cause="pop-mismatch",
        )
    return UnitFault(
        f"the QR payload that the unit prints differs from its label's: {one_line(redact(told))}",
        hint="compare [provisioning] in product.toml with the firmware's configuration",
        cause="qr-mismatch",
    )


def _without_pop(text: str) -> dict[str, object] | None:
    """Return the form and fields of a payload without its PoP, or None if it is not a payload or has no PoP."""
    try:
        payload = parse_payload(text)
    except InputError:
        return None
    rest = {key: value for key, value in payload.fields.items() if key != "pop"}
    return None if payload.pop is None else rest | {"form": payload.form}


def judge_unprovisioned(log: BootLog, identity: Identity, *, seen: bool = False) -> None:
    """Raise UnitFault unless the unit boots, offers provisioning under the name of *identity*, and is the same node.

    *seen*: the offer was seen by radio, so that a log without it is no fault.
    """
    _judge_symptom(log)
    told = log.service_name
    if told is None and not seen:
        raise UnitFault(
            "the unit did not offer provisioning after its restart",
            hint="check the console log; a longer [verify] boot_timeout may help",
            cause="no-provisioning",
        )
    if told is not None and told != identity.service_name:
        raise UnitFault(
            f'the unit advertises "{one_line(told)}", its label has "{identity.service_name}"',
            cause="name-mismatch",
        )
    if log.node_id is not None and identity.node_id is not None:
        judge_same_node(log.node_id, identity.node_id)
