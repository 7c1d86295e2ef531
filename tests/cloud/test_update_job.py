"""A job over the air: its payload, and the course of it as good, bad and hostile nodes report it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.cloud.node_report import ExpectedConfig
from rmfab.cloud.node_watch import NodeMessage
from rmfab.cloud.update_job import LONGEST_JOB_ID, UpdateCourse, UpdateJob
from rmfab.errors import UnitFault

JOB = UpdateJob("job-1", "https://ota.example.com/app.bin", 1000, "0" * 32, "2.0.0")


def course() -> UpdateCourse:
    """The course of a job that a node with version 1.0.0 was told at 10.0."""
    one = UpdateCourse(JOB, ExpectedConfig("node-1", "lamp", "2.0.0", "esp32c3"), "1.0.0")
    one.told = 10.0
    return one


def message(suffix: str, value: Any, at: float = 11.0) -> NodeMessage:
    """A message with *value*, bytes or JSON."""
    return NodeMessage(suffix, value if isinstance(value, bytes) else json.dumps(value).encode(), at)


def status(word: str, info: str = "", job: str = "job-1", at: float = 11.0) -> NodeMessage:
    """A message on otastatus."""
    return message("otastatus", {"ota_job_id": job, "status": word, "additional_info": info}, at)


def config(version: str, at: float = 11.0, project: str = "lamp") -> NodeMessage:
    """A config of the node."""
    info = {"fw_version": version, "project_name": project, "platform": "esp32c3"}
    return message("config", {"node_id": "node-1", "info": info}, at)


FETCH = message("otafetch", {"node_id": "node-1"})
STARTING = status("in-progress", "Starting OTA Upgrade (HTTPS attempt 1/3)")


def cause(*messages: NodeMessage) -> str | None:
    """The cause that the last of *messages* ends the job with."""
    one = course()
    for each in messages[:-1]:
        one.take(each)
    with pytest.raises(UnitFault) as caught:
        one.take(messages[-1])
    return caught.value.cause


def test_the_payload() -> None:
    """The size is called file_size: that is what the firmware reads, whatever its comments say."""
    assert json.loads(JOB.encode()) == {
        "ota_job_id": "job-1",
        "url": "https://ota.example.com/app.bin",
        "fw_version": "2.0.0",
        "file_size": 1000,
        "file_md5": "0" * 32,
    }
    with pytest.raises(ValueError, match="63"):
        UpdateJob("x" * (LONGEST_JOB_ID + 1), "https://x", 1, "", "2")


def test_a_good_course() -> None:
    """Success and the new version, in either order, end it; each stage has its time."""
    one = course()
    for at, words in (
        (12.0, "Starting OTA Upgrade (HTTPS attempt 1/3)"),
        (13.0, "Downloading Firmware Image"),
        (14.0, "Firmware Image download complete"),
        (15.0, "Rebooting into new firmware (after 1 HTTPS attempt)"),
    ):
        one.take(status("in-progress", words, at=at))
    one.take(config("2.0.0", 16.0))
    assert not one.done
    one.take(status("success", "OTA Upgrade finished and verified successfully", at=17.0))
    assert one.done
    assert one.attempts == 1
    assert one.at == {"started": 12.0, "downloaded": 14.0, "rebooting": 15.0, "config": 16.0, "success": 17.0}
    other = course()
    other.take(status("success"))
    other.take(config("2.0.0"))
    assert other.done


def test_what_was_not_meant() -> None:
    """Messages from before the job, of other jobs, and on other topics change nothing."""
    one = course()
    for each in (config("1.0.0", 9.0), message("otafetch", {}, 9.5), status("rejected", job="other"), FETCH):
        assert one.take(each) is None
    one.take(message("params/local", b"\xff"))
    assert (one.done, one.last, one.at) == (False, None, {})


@pytest.mark.parametrize(
    ("word", "info", "expected"),
    [
        ("rejected", "Project Name mismatch", "ota-project"),
        ("rejected", "Same version received", "ota-same-version"),
        ("rejected", "Lower secure version received", "ota-secure-version"),
        ("rejected", "Chip revision mismatch", "ota-rejected"),
        ("rejected", "Firmware rolled back", "ota-rolled-back"),
        ("failed", "Firmware rolled back", "ota-rolled-back"),
        ("failed", "OTA Attempt 3/3 failed: Complete data was not received", "ota-download"),
        ("failed", "Aborted. URL not found in JSON", "ota-download"),
        ("delayed", "Outside of the time window", "ota-delayed"),
    ],
)
def test_bad_ends(word: str, info: str, expected: str) -> None:
    """Each bad end has its cause."""
    assert cause(STARTING, status(word, info)) == expected


def test_an_attempt_that_fails_is_not_the_end() -> None:
    """The firmware tries again; the attempts are counted."""
    one = course()
    one.take(STARTING)
    one.take(status("failed", "OTA Attempt 1/3 failed: OTA Begin failed"))
    one.take(status("in-progress", "Starting OTA Upgrade (HTTPS attempt 2/3)"))
    assert one.attempts == 2


def test_a_start_without_a_report() -> None:
    """A node that asks for updates again has forgotten the job: what it runs then says what happened."""
    assert cause(STARTING, config("1.0.0"), FETCH) == "ota-interrupted"
    assert cause(STARTING, config("2.0.0"), FETCH) == "ota-job-lost"
    assert cause(config("2.0.0"), FETCH) == "ota-no-status"


def test_a_config_of_something_else() -> None:
    """A new version must be the one that was offered, of the same project."""
    assert cause(config("3.0.0")) == "cloud-version"
    assert cause(config("2.0.0", project="kettle")) == "cloud-project"
    assert cause(message("config", {"node_id": "node-1"})) == "cloud-payload"


def test_silence() -> None:
    """At the end of the time, a node that never answered differs from one that did not finish."""
    one = course()
    assert one.overdue(5).cause == "ota-silent"
    one.take(STARTING)
    assert one.overdue(5).cause == "ota-unfinished"
    assert "attempt 1/3" in one.overdue(5).what


@given(st.sampled_from(["otastatus", "config", "otafetch"]), st.binary(max_size=200))
def test_hostile_payloads(suffix: str, payload: bytes) -> None:
    """Whatever comes is taken or is the unit's fault."""
    with contextlib.suppress(UnitFault):
        course().take(message(suffix, payload))
