"""Updates by topics: the node asks for an update, and its cloud answers with a job on `otaurl`.

Source: espressif/esp-rainmaker 1.16 (esp_rmaker_ota_using_topics.c); facts only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rmfab.virtual.firmware.mqtt import Topic
from rmfab.virtual.firmware.node_config import compact, read_object
from rmfab.virtual.firmware.ota_job import OtaJob
from rmfab.virtual.firmware.rollback import TOPICS_TAG, note_job, report
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Alarm, Step, Update

_FETCH_SECONDS, _UNPACED_FETCH_SECONDS = 5.0, 0.05  # RMAKER_OTA_FETCH_DELAY
_AGAIN_SECONDS = 300.0  # CONFIG_ESP_RMAKER_OTA_RETRY_DELAY_MINUTES


def fetch_soon(firmware: RunningFirmware) -> Alarm:
    """Ask for an update some seconds after the connection."""
    return Alarm(_FETCH_SECONDS if firmware.spec.paced is not None else _UNPACED_FETCH_SECONDS, _fetch(firmware))


def fetch_again(firmware: RunningFirmware) -> Alarm:
    """Ask again some minutes after a download that failed."""
    return Alarm(_AGAIN_SECONDS, _fetch(firmware))


def take_job(firmware: RunningFirmware, path: str, payload: bytes) -> Iterator[Step]:
    """Obey a message on `otaurl`: start the update that it describes, or report what it lacks."""
    log = firmware.log
    if firmware.updating:
        yield log.failure(TOPICS_TAG, "OTA already in progress. Please try later.")
        return
    text = payload.decode("utf-8", "replace")
    yield log(TOPICS_TAG, f"Upgrade Handler got:{text} on {path} topic\n")
    values = read_object(payload)
    if values is None:
        yield log.failure(TOPICS_TAG, f"Invalid JSON received: {text}")
        yield from report(firmware, "failed", "Aborted. JSON Payload error")
        return
    job = _text(values, "ota_job_id")
    if job is None:
        yield log.failure(TOPICS_TAG, "Aborted. OTA Job ID not found in JSON")
        yield from report(firmware, "failed", "Aborted. OTA Updated ID not found in JSON")
        return
    url = _text(values, "url")
    if url is None:
        note_job(firmware, job)
        yield log(TOPICS_TAG, f"OTA Job ID: {job}")
        yield log.failure(TOPICS_TAG, "Aborted. URL not found in JSON")
        yield from report(firmware, "failed", "Aborted. URL not found in JSON", job)
        return
    size = values.get("file_size")
    md5, version = _text(values, "file_md5") or "", _text(values, "fw_version") or ""
    yield Update(OtaJob(job, url, size if type(size) is int else 0, md5, version))


def announce(firmware: RunningFirmware, job: OtaJob) -> Iterator[Step]:
    """Print a job that is about to run, and keep its id for the report after the restart."""
    log = firmware.log
    note_job(firmware, job.id)
    yield log(TOPICS_TAG, f"OTA Job ID: {job.id}")
    yield log(TOPICS_TAG, f"URL: {job.url}")
    if job.md5:
        yield log(TOPICS_TAG, f"File MD5: {job.md5}")
    yield log(TOPICS_TAG, f"File Size: {job.file_size}")
    if job.version:
        yield log(TOPICS_TAG, f"Firmware version: {job.version}")


def _fetch(firmware: RunningFirmware) -> Iterator[Step]:
    yield firmware.log(TOPICS_TAG, "Fetching OTA details, if any.")
    values = {"node_id": firmware.node_id, "fw_version": firmware.descriptor.version}
    if firmware.outbox is not None:
        yield from firmware.outbox.publish(Topic.OTA_FETCH, compact(values))


def _text(values: Mapping[str, Any], key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) else None
