"""The endpoint `cloud_user_assoc` of firmware without challenge-response: a phone names the user that owns the node.

Source: esp-rainmaker, src/core/esp_rmaker_user_mapping.c and esp_rmaker_user_mapping.proto; facts only.
"""

from __future__ import annotations

from rmfab.virtual.firmware.protocomm.scheme import SchemeFailure
from rmfab.virtual.firmware.protocomm.wire import decode, integer, message, octets, put, scalar
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Step
from rmfab.virtual.firmware.user_mapping import TAG

_SET, _WAS_SET = 0, 1  # RMakerConfigMsgType
_INVALID_PARAMETER = 1  # RMakerConfigStatus


def map_user(firmware: RunningFirmware, request: bytes) -> tuple[bytes, tuple[Step, ...]]:
    """Answer an RMakerConfigPayload and keep its user for the cloud. Return the reply and what the console prints.

    Raise SchemeFailure or WireError if it is malformed.
    """
    fields = decode(request)
    if (kind := integer(fields, 1)) != _SET:
        raise SchemeFailure(TAG, f"Received invalid message type: {kind}")
    log = firmware.log
    command = message(fields, 10)
    if command is None:
        return _reply(_INVALID_PARAMETER, ""), (log.failure(TAG, "Invalid payload type in the message: 0"),)
    user_id, secret_key = (octets(command, number).decode("utf-8", "replace") for number in (1, 2))
    firmware.user = user_id, secret_key
    lines = (
        log(TAG, "Received request for node details"),
        log(TAG, f"Got user_id = {user_id}, secret_key = {secret_key}", after=0),
        log(TAG, "Sending status SUCCESS", after=0),
    )
    return _reply(0, firmware.node_id or ""), lines


def _reply(status: int, node_id: str) -> bytes:
    return put(1, _WAS_SET) + put(11, scalar(1, status) + scalar(2, node_id))
