"""RainMaker firmware and its own state in `otadata`: it confirms an update or rolls it back.

Sources: espressif/esp-rainmaker 1.16 (esp_rmaker_ota.c, esp_rmaker_ota_using_topics.c), ESP-IDF 5.5 `esp_ota_ops.c`
(facts only). Firmware that is not provisioned reaches no broker, so it also rolls back when the wait is over.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from rmfab.release.partition_table import AppSubtype
from rmfab.virtual.faults import BoardFault
from rmfab.virtual.firmware import otadata
from rmfab.virtual.firmware.image_check import NotBootable, verified
from rmfab.virtual.firmware.mqtt import Topic
from rmfab.virtual.firmware.nvs_writer import NvsFull
from rmfab.virtual.firmware.otadata import OtaState
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Alarm, Reset, ResetReason, Step

TAG = "esp_rmaker_ota"
TOPICS_TAG = "esp_rmaker_ota_using_topics"
IDF_TAG = "esp_ota_ops"
NAMESPACE = "rmaker_ota"

_UNPACED_WAIT_SECONDS = 10.0  # long enough for a test on a busy machine to observe the wait
_LONGEST_JOB = 63  # the buffer in which the id is read has a NUL as well
_FLAG, _JOB = "ota_update", "rmaker_ota_id"


def own_state(firmware: RunningFirmware) -> int | None:
    """Return the state of the running app; None if `otadata` does not name it."""
    part = otadata.partition(firmware.table)
    if part is None or not firmware.slot.is_ota_app:
        return None
    pair = otadata.read(firmware.flash, part)
    return otadata.state_of(pair, firmware.slot.subtype - AppSubtype.OTA_0, len(firmware.table.ota_slots))


def enable_updates(firmware: RunningFirmware) -> Iterator[Step]:
    """Run esp_rmaker_ota_enable(): on the first start after an update, start the wait for a confirmation."""
    log = firmware.log
    if not firmware.facts.confirms:
        return
    yield log(TOPICS_TAG, "OTA enabled with Topics")
    state = own_state(firmware)
    if state is None:
        return
    yield log(TAG, f"OTA state = {-1 if state == OtaState.UNDEFINED else state}")
    if state == OtaState.PENDING_VERIFY:
        yield log(TAG, "First Boot after an OTA")
        if firmware.spec.has(BoardFault.ROLLS_BACK):
            yield log.failure(TAG, "Diagnostics failed! Start rollback to the previous version ...")
            yield from _roll_back(firmware)
        yield log(TAG, "Diagnostics completed successfully! Continuing execution ...")
        firmware.updating = True
        yield _wait(firmware)
    elif firmware.nvs_values(NAMESPACE, _FLAG) != (None,):
        firmware.taken_back = True
        _forget(firmware, _FLAG)


def broker_reached(firmware: RunningFirmware) -> Iterator[Step]:
    """Confirm a running update, or report that the previous one was rolled back."""
    if firmware.facts.confirms and own_state(firmware) == OtaState.PENDING_VERIFY:
        _judge(firmware, OtaState.VALID)
        _forget(firmware, _FLAG)
        firmware.updating = False
        yield from report(firmware, "success", "OTA Upgrade finished and verified successfully")
    elif firmware.taken_back:
        firmware.taken_back = False
        yield from report(firmware, "rejected", "Firmware rolled back")


def word_of_state(firmware: RunningFirmware) -> str | None:
    """Return the state of the entry in force in words; None if there is none."""
    part = otadata.partition(firmware.table)
    pair = None if part is None else otadata.read(firmware.flash, part)
    number = None if pair is None else otadata.in_force(pair)
    return None if pair is None or number is None else pair[number].word


def note_job(firmware: RunningFirmware, job: str) -> None:
    """Store the cloud's job id in `nvs`, for the report after the restart."""
    _remember(firmware, _JOB, job.encode())


def note_update(firmware: RunningFirmware) -> None:
    """Store in `nvs` that an update took place, so that the old firmware can report its rollback."""
    _remember(firmware, _FLAG, b"\1")


def report(firmware: RunningFirmware, status: str, text: str, job: str | None = None) -> Iterator[Step]:
    """Report an update to the cloud: *job*, or else the one stored in `nvs`, for the last time."""
    log = firmware.log
    yield log(TAG, f"Reporting {status}: {text}")
    if job is None:
        (kept,) = firmware.nvs_values(NAMESPACE, _JOB)
        if not isinstance(kept, bytes) or len(kept) > _LONGEST_JOB:
            yield log(TOPICS_TAG, "Not reporting any status, since there is no Job ID available", "W")
            return
        job = kept.decode(errors="replace")
        _forget(firmware, _JOB)
    payload = {"ota_job_id": job, "status": status, "additional_info": text, "ts": 0}  # the clock is not set
    message = json.dumps(payload, separators=(",", ":"))
    yield log(TOPICS_TAG, message)
    if firmware.outbox is not None and not firmware.spec.has(BoardFault.NO_OTA_STATUS):
        yield from firmware.outbox.publish(Topic.OTA_STATUS, message.encode())


def _wait(firmware: RunningFirmware) -> Alarm:
    """Wait for the broker; an unpaced board whose broker is imagined waits for a shorter time."""
    real = firmware.spec.paced is not None or any(network.routes for network in firmware.spec.networks)
    seconds = firmware.facts.rollback_wait if real else _UNPACED_WAIT_SECONDS
    return Alarm(seconds, _take_back(firmware))


def _take_back(firmware: RunningFirmware) -> Iterator[Step]:
    """End the wait: roll back, or wait again if there is nothing to roll back to."""
    log = firmware.log
    if own_state(firmware) != OtaState.PENDING_VERIFY:
        return
    words = f"Could not verify firmware even after {firmware.facts.rollback_wait} seconds since boot-up. Rolling back."
    yield log.failure(TAG, words)
    yield from _roll_back(firmware)
    yield _wait(firmware)


def _roll_back(firmware: RunningFirmware) -> Iterator[Step]:
    """Restart into the previous app, if there is one."""
    if not _can_go_back(firmware):
        yield firmware.log.failure(IDF_TAG, "Rollback is not possible, do not have any suitable apps in slots")
        return
    _judge(firmware, OtaState.INVALID)
    yield firmware.log(IDF_TAG, "Rollback to previously worked partition.")
    yield Reset(ResetReason.CPU_SOFTWARE)


def _can_go_back(firmware: RunningFirmware) -> bool:
    """Run esp_ota_check_rollback_is_possible(): check the other app that otadata names, or else the factory app."""
    part = otadata.partition(firmware.table)
    if part is None:
        return False
    slots = firmware.table.ota_slots
    entry = otadata.fallback(otadata.read(firmware.flash, part))
    factory = next((p for p in firmware.table.apps() if p.subtype == AppSubtype.FACTORY), None)
    target = factory if entry is None else slots[entry.slot(len(slots))]
    if target is None:
        return False
    try:
        verified(firmware.spec, firmware.flash, target)
    except NotBootable:
        return False
    return True


def _judge(firmware: RunningFirmware, state: OtaState) -> None:
    part = otadata.partition(firmware.table)
    if part is not None:
        otadata.write(firmware.flash, part, otadata.with_verdict(otadata.read(firmware.flash, part), state))


def _remember(firmware: RunningFirmware, key: str, value: bytes) -> None:
    nvs = firmware.nvs("nvs")
    if nvs is not None:
        with contextlib.suppress(NvsFull):
            nvs.set_blob(NAMESPACE, key, value)


def _forget(firmware: RunningFirmware, key: str) -> None:
    nvs = firmware.nvs("nvs")
    if nvs is not None:
        with contextlib.suppress(NvsFull):
            nvs.erase(NAMESPACE, key)
