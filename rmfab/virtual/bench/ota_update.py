"""An update over the air: what RainMaker firmware does from the broker's message until it restarts into the new app.

Sources: espressif/esp-rainmaker 1.16 (esp_rmaker_ota.c, esp_rmaker_https_ota.c, esp_rmaker_ota_using_topics.c), ESP-IDF
5.5 `esp_https_ota.c`, `esp_ota_ops.c` (facts only). A thread talks to the server; console and flash belong to the
board's event loop, which keeps running. No part of the slot is written before its bytes have arrived, and `otadata` is
written last: a board that loses its power during an update keeps its app.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from rmfab.release.app_image import APP_DESCRIPTOR, HEADER, SEGMENT_HEADER
from rmfab.release.partition_table import Partition
from rmfab.virtual.bench.board import Board
from rmfab.virtual.bench.ota_download import ImageSource, NotServed
from rmfab.virtual.chip.flash import SECTOR
from rmfab.virtual.firmware import otadata
from rmfab.virtual.firmware.image_check import NotBootable, segment_lines, verified
from rmfab.virtual.firmware.ota_job import OtaJob
from rmfab.virtual.firmware.ota_progress import OtaProgress
from rmfab.virtual.firmware.ota_topics import announce, fetch_again
from rmfab.virtual.firmware.otadata import OtaState
from rmfab.virtual.firmware.rollback import IDF_TAG, TAG, TOPICS_TAG, note_update, own_state, report
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Pause, Reset, ResetReason, Step

P = ParamSpec("P")
T = TypeVar("T")

_HTTPS_TAG, _IDF_HTTPS_TAG = "esp_rmaker_https_ota", "esp_https_ota"
_ATTEMPTS = 3  # CONFIG_ESP_RMAKER_OTA_MAX_RETRIES
_REBOOT_SECONDS = 10
_UNPACED_REBOOT_SECONDS = 0.2  # so that the control socket's answer arrives first
_BEGIN_FAILED = "OTA Begin failed: ESP_FAIL (errno=0: Invalid)"
_HEADER_SIZE = 1024
_PROGRESS_SIZE = 50 * 1024


class UpdateRefused(Exception):
    """The update does not take place, and the app in force stays. The message is one line."""


class _Failed(Exception):
    """This attempt failed; *words* are RainMaker's report, *reason* is the plain cause."""

    def __init__(self, words: str, reason: str) -> None:
        super().__init__(reason)
        self.words = words
        self.reason = reason


async def update(board: Board, job: OtaJob, roots: str | None) -> None:
    """Download the app of *job*, write it to the free slot, put it in force and restart the board.

    Over https only *roots* (PEM) are trusted, None: the authorities of this machine. Return before the restart. Raise
    UpdateRefused if the board keeps its app.
    """
    firmware = board.firmware
    if firmware is None:
        raise UpdateRefused("no firmware is running")
    if not firmware.online:
        raise UpdateRefused("the board is not on a network: type `wifi-prov SSID PASSWORD` on its console")
    if firmware.updating:
        board.carry_on(iter((firmware.log.failure(TOPICS_TAG, "OTA already in progress. Please try later."),)))
        raise UpdateRefused("an update is in progress or not confirmed yet")
    try:
        source = ImageSource(job.url, roots)
    except ValueError as error:
        board.carry_on(announce(firmware, job))
        board.carry_on(report(firmware, "failed", _BEGIN_FAILED, job.id))
        raise UpdateRefused(str(error)) from None
    firmware.updating = True
    board.at_end.add(source.close)
    try:
        await _Update(board, firmware, job, source).run()
    finally:
        board.at_end.discard(source.close)
        firmware.updating = False


class _Update:
    """The *job* of the cloud: *source* goes into the slot that *firmware* does not run in."""

    def __init__(self, board: Board, firmware: RunningFirmware, job: OtaJob, source: ImageSource) -> None:
        self._board = board
        self._firmware = firmware
        self._source = source
        self._log = firmware.log
        self._flash = firmware.flash
        self._job = job
        self._progress = OtaProgress(firmware, job.md5)
        self._slots = firmware.table.ota_slots

    async def run(self) -> None:
        """Run the job. Raise UpdateRefused if it does not succeed."""
        self._board.carry_on(announce(self._firmware, self._job))
        for attempt in range(1, _ATTEMPTS + 1):
            self._report("in-progress", f"Starting OTA Upgrade (HTTPS attempt {attempt}/{_ATTEMPTS})")
            words = f"Starting HTTPS OTA attempt {attempt}/{_ATTEMPTS}. This may take time."
            self._say(self._log(TAG, words, "W"))
            try:
                await self._attempt()
            except _Failed as failed:
                reason = failed.reason
                self._say(self._log.failure(TAG, f"HTTPS OTA attempt {attempt} failed: {failed.words}"))
                self._report("failed", f"OTA Attempt {attempt}/{_ATTEMPTS} failed: {failed.words}")
            else:
                self._board.carry_on(self._restart(attempt))
                return
        self._board.carry_on(iter((fetch_again(self._firmware),)))
        raise UpdateRefused(reason)

    async def _attempt(self) -> None:
        """Run one attempt. Raise _Failed if a retry may help, UpdateRefused if not."""
        self._board.carry_on(self._progress.begin())
        self._say(self._log(_HTTPS_TAG, "Starting OTA. This may take time.", "W"))
        total = await self._begin(self._source.length)
        slot = self._free_slot()
        written = min(self._progress.written, total, slot.size)
        data = await self._begin(self._source.part, written, total, slot.size - written + 1)
        self._say(self._log(_IDF_HTTPS_TAG, "Starting OTA..."))
        self._say(self._log(_IDF_HTTPS_TAG, f"Writing to <{slot.label}> partition at offset 0x{slot.offset:x}"))
        head = self._flash.read(slot.offset, written) if written else data
        self._check_description(head)
        self._report("in-progress", "Downloading Firmware Image")
        self._open_slot()
        self._check_chip(head)
        await self._download(slot, written, data, total)
        self._progress.forget()
        self._report("in-progress", "Firmware Image download complete")
        self._finish(slot)

    async def _begin(self, request: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Send a request before anything is written. Raise _Failed if the server does not serve it."""
        try:
            return await self._ask(request, *args, **kwargs)
        except NotServed as refusal:
            self._say(self._log.failure(_IDF_HTTPS_TAG, refusal.line))
            raise _Failed(_BEGIN_FAILED, refusal.words) from None

    async def _download(self, slot: Partition, at: int, data: bytes, total: int) -> None:
        """Write *data* at *at*, and the rest of the image. Raise _Failed if the image is not complete."""
        written = self._write(slot, at, data)
        while written < total:
            try:
                data = await self._ask(self._source.part, written, total, slot.size - written + 1)
            except NotServed as refusal:
                self._say(self._log.failure(_IDF_HTTPS_TAG, refusal.line))
                raise _Failed("OTA failed: ESP_FAIL (errno=0: Invalid)", refusal.words) from None
            if not data:
                break
            written = self._write(slot, written, data)
        if written != total:
            raise _Failed("Complete data was not received", f"received {written} of {total} bytes")

    async def _ask(self, request: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for the server. Raise NotServed, or UpdateRefused if the board was restarted in the meantime."""
        try:
            answer = await asyncio.to_thread(request, *args, **kwargs)
        except NotServed:
            self._check_alive()
            raise
        self._check_alive()
        return answer

    def _check_alive(self) -> None:
        if self._board.firmware is not self._firmware:
            raise UpdateRefused("the board was restarted during the update")

    def _free_slot(self) -> Partition:
        """Return the slot as esp_ota_get_next_update_partition() does: the one after the slot in use, or the first.

        Raise UpdateRefused if there is no other slot.
        """
        others = [slot for slot in self._slots if slot != self._firmware.slot]
        if not others:
            self._say(self._log.failure(_IDF_HTTPS_TAG, "Passive OTA partition could not be found"))
            raise UpdateRefused("no slot for an update in the partition table")
        return next((slot for slot in others if slot.subtype > self._firmware.slot.subtype), others[0])

    def _check_description(self, head: bytes) -> None:
        """Check project, version and secure version before anything is written. Raise _Failed or UpdateRefused."""
        if len(head) < _HEADER_SIZE:
            self._say(self._log.failure(_IDF_HTTPS_TAG, "Complete headers were not received"))
            words = "Failed to read image description: ESP_FAIL (errno=0: Invalid)"
            raise _Failed(words, f"{len(head)} bytes are too short for an app")
        _, secure_version, _, *texts = APP_DESCRIPTOR.unpack_from(head, HEADER.size + SEGMENT_HEADER.size)
        version, project = (text.split(b"\0")[0].decode("utf-8", "replace") for text in texts[:2])
        running = self._firmware.descriptor
        if project != running.project:
            words = f"OTA Image built for Project: {project}. Expected: {running.project}"
            self._reject(words, "Project Name mismatch")
        if version == running.version:
            words = "Current running version is same as the new. We will not continue the update."
            self._reject(words, "Same version received")
        # The eFuses contain the secure version of the last confirmed app: marking itself valid burns it.
        if secure_version < running.secure_version and own_state(self._firmware) == OtaState.VALID:
            words = "New secure version is lower than stored in efuse. We will not continue the update."
            self._reject(words, "Lower secure version received")

    def _reject(self, line: str, words: str) -> None:
        self._say(self._log(TAG, line, "W"))
        self._report("rejected", words)
        raise UpdateRefused(line)

    def _open_slot(self) -> None:
        """Run esp_ota_begin(). Raise _Failed if the running app is not confirmed."""
        part = otadata.partition(self._firmware.table)
        if part is None or not self._firmware.facts.rollback:
            return
        if own_state(self._firmware) == OtaState.PENDING_VERIFY:
            words = "Running app has not confirmed state (ESP_OTA_IMG_PENDING_VERIFY)"
            self._say(self._log.failure(IDF_TAG, words))
            name = "ESP_ERR_OTA_ROLLBACK_INVALID_STATE"
            self._say(self._log.failure(_IDF_HTTPS_TAG, f"esp_ota_begin failed ({name})"))
            raise _Failed(f"OTA failed: {name} (errno=0: Invalid)", words)
        pair = otadata.read(self._flash, part)
        running = self._slots.index(self._firmware.slot) if self._firmware.slot in self._slots else None
        otadata.write(self._flash, part, otadata.without_other(pair, running, len(self._slots)))

    def _check_chip(self, head: bytes) -> None:
        """Raise UpdateRefused if the image is for a different chip."""
        expected, found = self._firmware.spec.model.chip.image_id, HEADER.unpack_from(head)[7]
        if found != expected:
            words = f"Mismatch chip id, expected {expected}, found {found}"
            self._say(self._log.failure(_IDF_HTTPS_TAG, words))
            self._report("rejected", "Chip revision mismatch")
            raise UpdateRefused(words)

    def _write(self, slot: Partition, at: int, data: bytes) -> int:
        """Erase and write by sectors, as esp_ota_write() does; return the new end.

        Raise _Failed if the slot is too small.
        """
        end = at + len(data)
        if end > slot.size:
            self._say(self._log.failure(_IDF_HTTPS_TAG, "Error: esp_ota_write failed! err=0x104"))
            words = f"the image is larger than the {slot.size} bytes of {slot.label}"
            raise _Failed("OTA failed: ESP_ERR_INVALID_SIZE (errno=0: Invalid)", words)
        fresh = -(-at // SECTOR) * SECTOR
        if fresh < end:
            self._flash.erase(slot.offset + fresh, end - fresh)
        self._flash.program(slot.offset + at, data)
        self._progress.note(end)
        for read in range(at // _PROGRESS_SIZE + 1, end // _PROGRESS_SIZE + 1):
            self._say(self._log(_HTTPS_TAG, f"Image bytes read: {read * _PROGRESS_SIZE}", after=400))
        return end

    def _finish(self, slot: Partition) -> None:
        """Run esp_ota_end() and esp_ota_set_boot_partition(), which both verify the image.

        Raise _Failed if the image is not valid or there is no otadata.
        """
        try:
            image = verified(self._firmware.spec, self._flash, slot)
        except NotBootable as problem:
            for line in segment_lines(self._log, self._firmware.spec.model, slot, problem.segments, loading=False):
                self._say(line)
            self._say(self._log.failure(problem.tag, problem.line))
            self._say(self._log.failure(IDF_TAG, "New image failed verification"))
            raise _Failed("Image validation failed", problem.line) from None
        for _ in range(2):
            for line in segment_lines(self._log, self._firmware.spec.model, slot, image.segments, loading=False):
                self._say(line)
        part = otadata.partition(self._firmware.table)
        if part is None:
            raise _Failed("OTA finish failed: ESP_ERR_NOT_FOUND (errno=0: Invalid)", "the table has no otadata")
        state = OtaState.NEW if self._firmware.facts.rollback else OtaState.UNDEFINED
        pair = otadata.read(self._flash, part)
        otadata.write(self._flash, part, otadata.with_slot(pair, self._slots.index(slot), len(self._slots), state))

    def _restart(self, attempts: int) -> Iterator[Step]:
        plural = "" if attempts == 1 else "s"
        if self._firmware.facts.rollback:
            note_update(self._firmware)
            words = f"Rebooting into new firmware (after {attempts} HTTPS attempt{plural})"
            yield from report(self._firmware, "in-progress", words, self._job.id)
        else:
            words = f"HTTPS OTA Upgrade finished successfully (after {attempts} attempt{plural})"
            yield from report(self._firmware, "success", words, self._job.id)
        yield self._log(TAG, f"HTTPS OTA upgrade successful. Rebooting in {_REBOOT_SECONDS} seconds...")
        yield Pause(_REBOOT_SECONDS if self._firmware.spec.paced is not None else _UNPACED_REBOOT_SECONDS)
        yield Reset(ResetReason.CPU_SOFTWARE)

    def _say(self, line: str) -> None:
        self._board.carry_on(iter((line,)))

    def _report(self, status: str, words: str) -> None:
        self._board.carry_on(report(self._firmware, status, words, self._job.id))
