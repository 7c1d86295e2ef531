"""The mapping of user and node: what is published once the broker is reached, and what is kept of it in `nvs`.

Firmware without challenge-response publishes the user that a phone has named. Firmware with it publishes once that the
node belongs to nobody: its owner proves to the cloud by a challenge that the node is his. Source: esp-rainmaker,
src/core/esp_rmaker_user_mapping.c; facts only.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from rmfab.virtual.firmware.mqtt import Topic
from rmfab.virtual.firmware.nvs_writer import NvsFull
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Step

TAG = "esp_rmaker_user_mapping"
NOBODY = "esp-rmaker", "failed"  # USER_RESET_ID, USER_RESET_KEY
_NAMESPACE, _KEY = "user_mapping", "user_id"


def publish_mapping(firmware: RunningFirmware) -> Iterator[Step]:
    """Publish the mapping that is asked for, if any, and forget it. Without a broker it counts as published."""
    if firmware.user is None:
        return
    user_id, secret_key = firmware.user
    reset = firmware.user == NOBODY
    firmware.user = None
    values: dict[str, object] = {"node_id": firmware.node_id, "user_id": user_id, "secret_key": secret_key}
    message = json.dumps(values | ({"reset": True} if reset else {}), separators=(",", ":"))
    if firmware.outbox is not None:
        yield from firmware.outbox.publish(Topic.USER_MAPPING, message.encode())
    yield firmware.log(TAG, f"MQTT Publish: {message}")
    if firmware.outbox is None:
        yield from mapped(firmware, message.encode())


def mapped(firmware: RunningFirmware, message: bytes) -> Iterator[Step]:
    """The cloud has received *message*: keep its user, so that it is not published again."""
    nvs = firmware.nvs("nvs")
    if nvs is not None:
        with contextlib.suppress(NvsFull):
            nvs.set_blob(_NAMESPACE, _KEY, json.loads(message)["user_id"].encode())
    yield firmware.log(TAG, "User Node association message published successfully.", after=300)


def is_mapped(firmware: RunningFirmware) -> bool:
    """Whether a mapping was published since the last factory reset."""
    return firmware.nvs_values(_NAMESPACE, _KEY) != (None,)
