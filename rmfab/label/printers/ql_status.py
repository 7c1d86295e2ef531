"""The status of a Brother QL: packets of 32 bytes, answers and reports alike.

Source: Brother, "Software Developer's Manual: Raster Command Reference", chapter "Status".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique

from rmfab.causes import Cause
from rmfab.label.printers.ql_media import MODELS, UNKNOWN_MODEL, QlModel, is_continuous

_LENGTH = 32
_MARK = b"\x80\x20\x42"
_NO_MEDIA_KINDS = (0x00, 0xFF)
_ERROR_1 = (
    (0x10, Cause.PRINTER_BUSY),
    (0x20, Cause.PRINTER_GONE),
    (0x01, Cause.PRINTER_PAPER),
    (0x02, Cause.PRINTER_PAPER),
    (0x04, Cause.PRINTER_CUTTER),
    (0x80, Cause.PRINTER_HARDWARE),
)
_ERROR_2 = (
    (0x10, Cause.PRINTER_COVER_OPEN),
    (0x01, Cause.PRINTER_MEDIA),
    (0x40, Cause.PRINTER_JAM),
    (0x02, Cause.PRINTER_BUFFER),
    (0x04, Cause.PRINTER_LINK),
    (0x20, Cause.PRINTER_HOT),
    (0x80, Cause.PRINTER_HARDWARE),
)
_COOLING = 0x03


@unique
class Report(IntEnum):
    """Why a packet is sent."""

    REPLY = 0
    COMPLETED = 1
    ERROR = 2
    TURNED_OFF = 4
    NOTIFICATION = 5
    PHASE_CHANGE = 6


@dataclass(frozen=True)
class QlPacket:
    """One packet. *report* is None if its type is unknown. *width* and *length* are those of the roll in mm, *length*
    0 if it is continuous; both are 0 without a roll."""

    report: Report | None
    model: QlModel
    faults: tuple[Cause, ...]
    width: int
    length: int
    printing: bool


def take_packets(answer: bytes) -> tuple[tuple[QlPacket, ...], bytes]:
    """Return all whole packets in *answer*, and the start of one at its end; other bytes are skipped."""
    packets, at = [], answer.find(_MARK)
    while at >= 0 and len(answer) - at >= _LENGTH:
        packets.append(_packet(answer[at : at + _LENGTH]))
        answer = answer[at + _LENGTH :]
        at = answer.find(_MARK)
    return tuple(packets), answer[at:] if at >= 0 else answer[-len(_MARK) + 1 :]


def _packet(data: bytes) -> QlPacket:
    has_roll = data[10] != 0 and data[11] not in _NO_MEDIA_KINDS
    return QlPacket(
        next((one for one in Report if one == data[18]), None),
        MODELS.get((data[3], data[4]), UNKNOWN_MODEL),
        tuple(_faults(data)),
        data[10] if has_roll else 0,
        0 if not has_roll or is_continuous(data[11]) else data[17],
        data[19] == 1,
    )


def _faults(data: bytes) -> list[Cause]:
    faults = [cause for bit, cause in _ERROR_2 if data[9] & bit] + [cause for bit, cause in _ERROR_1 if data[8] & bit]
    if data[11] == 0 and Cause.PRINTER_PAPER not in faults:
        faults.append(Cause.PRINTER_PAPER)
    if data[18] == Report.NOTIFICATION and data[22] == _COOLING:
        faults.append(Cause.PRINTER_HOT)
    return sorted(set(faults), key=faults.index)
