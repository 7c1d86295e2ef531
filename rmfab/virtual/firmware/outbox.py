"""What a node publishes, within its budget: without one, a broken app could send messages that its owner pays for.

Source: espressif/esp-rainmaker 1.16 (esp_rmaker_mqtt_budget.c, esp_rmaker_mqtt.c); facts only.
"""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.virtual.firmware.log import Log
from rmfab.virtual.firmware.mqtt import MqttPublish, Topic

REVIVE_SECONDS = 5.0  # CONFIG_ESP_RMAKER_MQTT_BUDGET_REVIVE_PERIOD
_DEFAULT, _MOST = 100, 1024  # CONFIG_ESP_RMAKER_MQTT_{DEFAULT,MAX}_BUDGET
_TAG = "esp_rmaker_mqtt"


class Outbox:
    """The messages of the node *node_id*; a *mute* one sends none."""

    def __init__(self, node_id: str, log: Log, *, mute: bool) -> None:
        self._node_id = node_id
        self._log = log
        self._mute = mute
        self._budget = _DEFAULT

    def publish(self, topic: Topic, payload: bytes) -> Iterator[str | MqttPublish]:
        """Publish *payload*, or drop it if the budget is used up."""
        if self._mute:
            return
        if self._budget == 0:
            yield self._log.failure(_TAG, "Out of MQTT Budget. Dropping publish message.")
            return
        self._budget -= 1
        yield MqttPublish(self._node_id, topic, payload)

    def revive(self) -> None:
        """Add one message to the budget; it is due every REVIVE_SECONDS."""
        self._budget = min(self._budget + 1, _MOST)
