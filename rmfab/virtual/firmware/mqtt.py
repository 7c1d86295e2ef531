"""MQTT as RainMaker firmware uses it: what its library needs for a connection, why there is none, topics, messages.

Sources: espressif/esp-rainmaker 1.16 (esp_rmaker_mqtt.c, esp_rmaker_mqtt_topics.h), esp-rainmaker-common
(esp-mqtt-glue.c); facts only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto, unique

KEEP_ALIVE_SECONDS = 120


@dataclass(frozen=True)
class MqttSettings:
    """A connection over TLS with a client certificate.

    - *roots*: the certificates (PEM) that a server's must lead to; None: the public CAs.
    - *will*: topic and payload of what the broker publishes if the connection ends without a farewell.
    - *clock*: the time in seconds since 1970 at which certificates must be valid; None if the firmware does not check.
    """

    host: str
    client_id: str
    username: str
    certificate: bytes
    key: bytes = field(repr=False)
    roots: str | None = None
    will: tuple[str, bytes] | None = None
    clock: float | None = None


@unique
class MqttFailure(Enum):
    """Why a client is not connected."""

    NO_LIBRARY = auto()
    NO_ADDRESS = auto()
    UNREACHABLE = auto()
    BAD_CREDENTIALS = auto()
    UNTRUSTED = auto()
    ALERT = auto()
    CLOSED = auto()
    NOT_AUTHORIZED = auto()
    LOST = auto()


@unique
class Topic(Enum):
    """What a node publishes: the end of the topic, and the rule of the cloud that receives it (basic ingest)."""

    CONFIG = "config", "esp_node_config"
    PARAMS_INIT = "params/local/init", "esp_init_params"
    PARAMS = "params/local", "esp_set_params"
    USER_MAPPING = "user/mapping", "esp_user_node_mapping"
    OTA_FETCH = "otafetch", "esp_node_otafetch"
    OTA_STATUS = "otastatus", "esp_node_otastatus"

    def __init__(self, suffix: str, rule: str) -> None:
        self.suffix = suffix
        self.rule = rule


@dataclass(frozen=True)
class MqttPublish:
    """Publish a message with QoS 1."""

    node_id: str
    topic: Topic
    payload: bytes

    @property
    def path(self) -> str:
        """The whole topic."""
        return f"$aws/rules/{self.topic.rule}/node/{self.node_id}/{self.topic.suffix}"


@dataclass(frozen=True)
class MqttSubscribe:
    """Subscribe to a topic with QoS 1."""

    path: str
