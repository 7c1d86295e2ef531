"""The step `detect`: identify the board and check that it may be worked on, before anything is written."""

from __future__ import annotations

from typing import Any

from rmfab.board.esp.facts import (
    CLOSED,
    BoardFacts,
    BoardRefused,
    predict_secure_boot,
    refuse_chip,
    refuse_release,
    refuse_security,
    refuse_unsigned_images,
)
from rmfab.board.esp.loader import Loader
from rmfab.errors import InputError, PortError
from rmfab.line.ending import Passed, Skipped
from rmfab.line.events import Step
from rmfab.line.job import Job, PreparedRelease
from rmfab.line.stages import InLoader, OnSlot, Writable
from rmfab.line.visit import Visit
from rmfab.release.release import Release

_SECURE_CERT = "esp_secure_cert"
_NO_LOADER = ("boot-mode", "no-answer", "loader-failed")


def detect(visit: Visit, _: OnSlot) -> Passed[InLoader | Writable]:
    """Read the board's facts and reject boards that must not be written to, before anything is written."""
    return _to_write(visit) if Step.FLASH in visit.job.steps else _to_look(visit)


def _to_look(visit: Visit) -> Passed[InLoader]:
    _skip_without_loader(visit)
    _, facts = _connected(visit)
    if facts.security.secure_download and visit.job.serial is not None:
        raise _closed(visit)
    _refuse_board(visit, facts)
    return Passed(InLoader(facts), _described(facts))


def _to_write(visit: Visit) -> Passed[Writable]:
    loader, facts = _connected(visit)
    _refuse_board(visit, facts)
    firmware = _firmware(visit.job)
    refuse_unsigned_images(facts, firmware.release)
    facts = loader.prepare()
    refuse_release(facts, firmware.release)
    warning = predict_secure_boot(facts, firmware.release)
    if warning is not None:
        visit.warn(warning)
    if facts.mac is None:
        raise BoardRefused("the board does not report its MAC", cause="no-mac")
    found = {"baud": loader.baud} | _secure_cert(visit, loader, firmware.release) | _described(facts)
    return Passed(Writable(loader, facts.mac, firmware), found)


def _refuse_board(visit: Visit, facts: BoardFacts) -> None:
    refuse_security(facts)
    refuse_chip(facts, visit.job.product.chip)


def _firmware(job: Job) -> PreparedRelease:
    if job.firmware is None:
        raise InputError("no release given", hint="--release FILE, or path in product.toml ([release])")
    return job.firmware


def _secure_cert(visit: Visit, loader: Loader, release: Release) -> dict[str, Any]:
    """Warn if the board already has a secure certificate. Return the measurement of that."""
    partition = release.table.find(_SECURE_CERT)
    if partition is None or loader.is_blank(partition.offset, partition.size):
        return {}
    visit.warn(f"the partition {_SECURE_CERT} of this board is not blank; it is not written")
    return {_SECURE_CERT: "not blank"}


def _skip_without_loader(visit: Visit) -> None:
    """Raise Skipped if the unit is only to be verified and cannot be brought into its loader."""
    firmware, serial = visit.job.firmware, visit.job.serial
    if visit.board.unwired:
        raise Skipped("this slot cannot bring the board into its loader; name the expected unit with --serial")
    if serial is not None and firmware is not None and firmware.release.configured.closes_download_mode:
        raise _closed(visit)


def _closed(visit: Visit) -> Skipped:
    return Skipped(f"the firmware has closed the download mode; the expected unit is {visit.job.serial}")


def _connected(visit: Visit) -> tuple[Loader, BoardFacts]:
    """Bring the board into its loader.

    A unit whose firmware has closed the download mode looks like one with bad wiring, so the hint names that cause too.
    """
    try:
        return visit.board.into_loader()
    except PortError as error:
        firmware = visit.job.firmware
        if error.cause not in _NO_LOADER or firmware is None or not firmware.release.configured.closes_download_mode:
            raise
        hint = f"{CLOSED}; if it is a different board: {error.hint}"
        raise PortError(error.what, where=error.where, hint=hint, cause=error.cause) from None


def _described(facts: BoardFacts) -> dict[str, Any]:
    described: dict[str, Any] = {"chip": facts.chip_name, "mac": facts.mac}
    if facts.revision is not None:
        described["revision"] = f"v{facts.revision // 100}.{facts.revision % 100}"
    if facts.flash_size is not None:
        described["flash_size"] = facts.flash_size
    if facts.security.secure_boot_v2:
        described["secure_boot"] = True
        described["secure_boot_digests"] = list(facts.security.secure_boot_digests)
    return described
