"""A job over the air: what a cloud sends to a node on `otaurl`, and the course of it as the node reports it.

Source: esp-rainmaker, esp_rmaker_ota_using_topics.c, esp_rmaker_ota.c. A node names its running version in its config,
and asks for updates (`otafetch`) once after each start. Judges of payloads, which may be hostile.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from rmfab.cloud.node_report import ExpectedConfig, judge_config, read_object, read_version
from rmfab.cloud.node_watch import NodeMessage
from rmfab.errors import UnitFault, one_line

OTA_URL, OTA_FETCH, OTA_STATUS = "otaurl", "otafetch", "otastatus"
LONGEST_JOB_ID = 63
"""Characters. The firmware reads the id back from NVS into a buffer of 64 bytes."""
_CONFIG = "config"
_LONGEST_INFO = 120
_ATTEMPT = re.compile(r"attempt (\d{1,3})/(\d{1,3})", re.IGNORECASE)
_STAGES = (("starting ota", "started"), ("image download complete", "downloaded"), ("rebooting", "rebooting"))
"""How additional_info begins or goes on, and the name of the measurement."""
_REJECTIONS = (
    ("project name mismatch", "ota-project"),
    ("same version received", "ota-same-version"),
    ("lower secure version received", "ota-secure-version"),
)


@dataclass(frozen=True)
class UpdateJob:
    """A job *id* for the image of *size* bytes at *url*; *md5* lets a broken download go on where it was."""

    id: str
    url: str
    size: int
    md5: str
    version: str

    def __post_init__(self) -> None:
        if len(self.id) > LONGEST_JOB_ID:
            raise ValueError(f"a job id has at most {LONGEST_JOB_ID} characters")

    def encode(self) -> bytes:
        """Return the payload for `otaurl`."""
        values = {
            "ota_job_id": self.id,
            "url": self.url,
            "fw_version": self.version,
            "file_size": self.size,
            "file_md5": self.md5,
        }
        return json.dumps(values, separators=(",", ":")).encode()


@dataclass(frozen=True)
class UpdateStatus:
    """What a node reports of a job: its *status* and the *info* that it adds, both printable."""

    status: str
    info: str

    def __str__(self) -> str:
        return f"{self.status}: {self.info}" if self.info else self.status


def read_status(message: NodeMessage, job: str) -> UpdateStatus | None:
    """Return the status of *job* in *message*, None if it is of a different job. Raise UnitFault (`cloud-payload`)."""
    values = read_object(message)
    if values.get("ota_job_id") != job:
        return None
    status, info = (one_line(str(values.get(key, "")), _LONGEST_INFO) for key in ("status", "additional_info"))
    return UpdateStatus(status, info)


class UpdateCourse:
    """The course of *job*: fed with what the node publishes after it was told, until it is *done*.

    *expected* is the config of the new version, *before* the version that runs. *told* is when the job was sent
    (monotonic): what came before that says nothing of it. *attempts* counts the downloads that started, *at* has the
    times of what was reached. *last* is the last status.
    """

    def __init__(self, job: UpdateJob, expected: ExpectedConfig, before: str) -> None:
        self.job = job
        self.told = 0.0
        self.attempts = 0
        self.at: dict[str, float] = {}
        self.last: UpdateStatus | None = None
        self._expected = expected
        self._before = before
        self._version: str | None = None
        self._succeeded = False

    @property
    def done(self) -> bool:
        """Whether the node has reported success, and runs the new version."""
        return self._succeeded and self._version == self.job.version

    def take(self, message: NodeMessage) -> UpdateStatus | None:
        """Judge a message; return the status that it reports. Raise UnitFault with the cause of a failed update."""
        if message.at < self.told:
            return None
        if message.suffix == OTA_STATUS:
            return self._take_status(message)
        if message.suffix == _CONFIG:
            self._take_config(message)
        elif message.suffix == OTA_FETCH and self._version is not None and not self.done:
            raise self._ended_without_report()
        return None

    def overdue(self, seconds: float) -> UnitFault:
        """Return the error of a node that has not finished within *seconds*."""
        if self.last is None and self._version is None:
            return UnitFault(f"the unit did not answer its job within {seconds:g} s", cause="ota-silent")
        last = f'its last status is "{self.last}"' if self.last is not None else "it has reported no status"
        return UnitFault(f"the unit did not finish the update within {seconds:g} s: {last}", cause="ota-unfinished")

    def _take_status(self, message: NodeMessage) -> UpdateStatus | None:
        status = read_status(message, self.job.id)
        if status is None:
            return None
        self.last = status
        match status.status:
            case "success":
                self._succeeded = True
                self.at.setdefault("success", message.at)
            case "rejected" | "failed" | "delayed":
                self._judge(status)
            case _:
                self._note(status, message.at)
        return status

    def _note(self, status: UpdateStatus, at: float) -> None:
        told = status.info.lower()
        for words, name in _STAGES:
            if words in told:
                self.at[name] = at
        if "starting ota" in told:
            self.attempts += 1

    def _judge(self, status: UpdateStatus) -> None:
        """Raise UnitFault if the job has ended with *status*; a download that failed may be tried again."""
        told = status.info.lower()
        if "rolled back" in told:
            raise UnitFault("the unit went back to the version before: it rolled back", cause="ota-rolled-back")
        if status.status == "rejected":
            raise _rejected(status)
        if status.status == "delayed":
            raise UnitFault(f'the unit delays the update: "{status.info}"', cause="ota-delayed")
        attempt = _ATTEMPT.search(told)
        if attempt is None or int(attempt[1]) >= int(attempt[2]):
            raise UnitFault(f'the download failed: "{status.info}"', cause="ota-download")

    def _take_config(self, message: NodeMessage) -> None:
        version = read_version(message)
        if version != self._before:
            judge_config(message, self._expected)
            self.at.setdefault("config", message.at)
        self._version = version

    def _ended_without_report(self) -> UnitFault:
        """Return the error of a node that has started again, and asks for updates, without a final report."""
        if self._version == self._before:
            what = "the unit started again during the update, and still runs the version before"
            return UnitFault(what, cause="ota-interrupted")
        if self.last is None:
            return UnitFault("the unit runs the new version, and reported no status of its job", cause="ota-no-status")
        what = f'the unit runs the new version, and lost its job: its last status is "{self.last}"'
        return UnitFault(what, cause="ota-job-lost")


def _rejected(status: UpdateStatus) -> UnitFault:
    what = f'the unit rejects the update: "{status.info}"'
    for words, cause in _REJECTIONS:
        if words == status.info.lower():
            return UnitFault(what, cause=cause)
    return UnitFault(what, cause="ota-rejected")
