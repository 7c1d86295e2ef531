"""An update over the air as a cloud asks for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OtaJob:
    """A job of the cloud: the image is at *url*.

    *md5* decides only whether a broken download is continued; nobody compares the image with it, or with *file_size*.
    """

    id: str
    url: str
    file_size: int = 0
    md5: str = ""
    version: str = ""
