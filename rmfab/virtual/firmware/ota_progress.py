"""How far a download has come, kept in `nvs`, so that the next attempt for the same file goes on from there.

Source: espressif/esp-rainmaker 1.16 (esp_rmaker_https_ota.c, HTTP OTA resumption); facts only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rmfab.nvs.table import EntryKind
from rmfab.virtual.firmware.nvs_writer import NvsFull
from rmfab.virtual.firmware.rollback import NAMESPACE
from rmfab.virtual.firmware.running import RunningFirmware

_TAG = "esp_rmaker_https_ota"
_WRITTEN, _MD5 = "ota_writen", "ota_file_md5"  # the first is spelled so
_NO_MD5 = (
    "File MD5 not present, not resuming OTA because can not verify the already downloaded firmware is the same as the "
    "new firmware, please upgrade the backend to support it"
)


class OtaProgress:
    """The progress of the file whose digest the cloud gives as *md5*, "" if it gives none."""

    def __init__(self, firmware: RunningFirmware, md5: str) -> None:
        self._firmware = firmware
        self._md5 = md5
        self.written = 0

    def begin(self) -> Iterator[str]:
        """Read how much of the file is written already; afterwards *written* is that."""
        log = self._firmware.log
        self.written = 0
        if not self._md5:
            yield log(_TAG, _NO_MD5, "W")
            return
        written, md5 = self._firmware.nvs_values(NAMESPACE, _WRITTEN, _MD5)
        if isinstance(written, int) and isinstance(md5, str):
            if md5.startswith(self._md5):
                self.written = written
                return
            yield log(_TAG, "File MD5 mismatch, seems a new firmware, not resuming OTA", "W")
        self.note(0)
        nvs = self._firmware.nvs("nvs")
        if nvs is not None:
            with contextlib.suppress(NvsFull):
                nvs.set_string(NAMESPACE, _MD5, self._md5)

    def note(self, written: int) -> None:
        """Keep that so many bytes are written."""
        nvs = self._firmware.nvs("nvs")
        if self._md5 and nvs is not None:
            with contextlib.suppress(NvsFull):
                nvs.set_integer(NAMESPACE, _WRITTEN, EntryKind.U32, written)

    def forget(self) -> None:
        """The whole file has arrived."""
        nvs = self._firmware.nvs("nvs")
        if nvs is not None:
            with contextlib.suppress(NvsFull):
                nvs.erase(NAMESPACE, _WRITTEN)
                nvs.erase(NAMESPACE, _MD5)
