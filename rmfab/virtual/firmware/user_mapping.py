"""The mapping of user and node of firmware without challenge-response: published once the broker is reached.

Source: esp-rainmaker, src/core/esp_rmaker_user_mapping.c.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Step

TAG = "esp_rmaker_user_mapping"


def publish_mapping(firmware: RunningFirmware) -> Iterator[Step]:
    """Publish the mapping that a phone has asked for, if any, and forget it."""
    if firmware.user is None:
        return
    user_id, secret_key = firmware.user
    firmware.user = None
    message = {"node_id": firmware.node_id, "user_id": user_id, "secret_key": secret_key}
    yield firmware.log(TAG, f"MQTT Publish: {json.dumps(message, separators=(',', ':'))}")
    yield firmware.log(TAG, "User Node association message published successfully.", after=300)
