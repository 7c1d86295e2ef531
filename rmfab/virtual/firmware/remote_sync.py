"""Remote sync: the conversation of RainMaker firmware with its cloud over MQTT.

Order after each connection: node config; the mapping of user and node; all parameters, once the node is mapped; then
updates. Firmware with challenge-response does not take part in the mapping: it tells the cloud once to forget earlier
users, and goes on as if it were mapped. Sources: espressif/esp-rainmaker 1.16 (esp_rmaker_core.c, esp_rmaker_param.c,
esp_rmaker_ota_using_topics.c), esp-rainmaker-common (esp-mqtt-glue.c), ESP-IDF esp-tls and esp-mqtt; facts only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rmfab.virtual.faults import BoardFault
from rmfab.virtual.firmware import user_mapping
from rmfab.virtual.firmware.mqtt import MqttFailure, MqttPublish, MqttSettings, MqttSubscribe, Topic
from rmfab.virtual.firmware.node_config import CONNECTIVITY, Params, compact, node_config, read_object
from rmfab.virtual.firmware.ota_topics import fetch_soon, take_job
from rmfab.virtual.firmware.outbox import REVIVE_SECONDS, Outbox
from rmfab.virtual.firmware.rollback import TOPICS_TAG, broker_reached
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Alarm, Dial, Step
from rmfab.virtual.network import AccessPoint, Route

_GLUE, _TLS, _MBEDTLS, _CLIENT = "esp_mqtt_glue", "esp-tls", "esp-tls-mbedtls", "mqtt_client"
_CONNECTED_SECONDS, _UNPACED_CONNECTED_SECONDS = 5.0, 0.05  # CONFIG_ESP_RMAKER_CONNECTIVITY_REPORT_DELAY
_RETRY_SECONDS, _UNPACED_RETRY_SECONDS = 10.0, 0.5  # MQTT_RECON_DEFAULT_MS
_REASONS = {
    MqttFailure.ALERT: (_MBEDTLS, "mbedtls_ssl_handshake returned -0x7780"),
    MqttFailure.CLOSED: (_MBEDTLS, "mbedtls_ssl_handshake returned -0x7280"),
    MqttFailure.UNTRUSTED: (_MBEDTLS, "mbedtls_ssl_handshake returned -0x2700"),
    MqttFailure.BAD_CREDENTIALS: (_MBEDTLS, "mbedtls_x509_crt_parse of client cert returned -0x2180"),
    MqttFailure.UNREACHABLE: (_TLS, "[sock=54] delayed connect error: Connection reset by peer"),
}


class RemoteSync:
    """The client of one start of *firmware*, whose broker is *host*; *network* returns the network it is in, if any."""

    def __init__(self, firmware: RunningFirmware, host: str, network: Callable[[], AccessPoint | None]) -> None:
        self._firmware = firmware
        self._log = firmware.log
        self._node_id = firmware.node_id or ""
        self._params = Params()
        self._loses_param = firmware.spec.has(BoardFault.LOSES_PARAM)
        self._in_sync = False
        self._fetched = False
        self.settings = self._settings(host)
        self._network = network

    @property
    def route(self) -> Route | None:
        """Where the broker is now; None if its name cannot be resolved."""
        network = self._network()
        return None if network is None else network.route(self.settings.host)

    def start(self) -> Iterator[Step]:
        """Connect, from now on again and again."""
        self._firmware.outbox = Outbox(self._node_id, self._log, mute=self._firmware.spec.has(BoardFault.MUTE_ONLINE))
        yield Alarm(REVIVE_SECONDS, self._revive(self._firmware.outbox))
        yield self._log(_GLUE, f"Connecting to {self.settings.host}", after=40)
        yield self._log("esp_rmaker_core", "Waiting for MQTT connection")
        yield Dial(self)

    def connected(self) -> Iterator[Step]:
        """The broker has accepted the connection."""
        yield self._log(_GLUE, "MQTT Connected", after=700)
        config = compact(node_config(self._firmware))
        yield self._log("esp_rmaker_node_config", f"Generated Node config of length {len(config) + 1}")
        yield from self._publish(Topic.CONFIG, config)
        yield from self._associate()
        if self._firmware.facts.connectivity:
            yield self._soon(self._publish(Topic.PARAMS, _connected(True)))
        yield from broker_reached(self._firmware)
        if self._firmware.facts.confirms:
            yield from self._offer_updates()

    def ended(self, failure: MqttFailure) -> Iterator[Step]:
        """There is no connection, or no longer; try again later."""
        if failure is MqttFailure.NO_LIBRARY:
            yield self._log.failure(_GLUE, "This virtual board has no MQTT: paho-mqtt is not installed")
            return
        yield from self._complaint(failure)
        yield self._log(_GLUE, "MQTT Disconnected. Will try reconnecting in a while...", "W")
        paced = self._firmware.spec.paced is not None
        yield Alarm(_RETRY_SECONDS if paced else _UNPACED_RETRY_SECONDS, iter((Dial(self),)))

    def received(self, path: str, payload: bytes) -> Iterator[Step]:
        """A message has arrived on a topic of this node."""
        if path.endswith("/params/remote"):
            yield from self._set_params(payload)
        elif path.endswith("/otaurl"):
            yield from take_job(self._firmware, path, payload)

    def acknowledged(self, message: MqttPublish) -> Iterator[Step]:
        """The broker has received a message."""
        self._fetched = self._fetched or message.topic is Topic.OTA_FETCH
        if message.topic is Topic.USER_MAPPING:
            yield from user_mapping.mapped(self._firmware, message.payload)
            yield from self._take_part()

    def _settings(self, host: str) -> MqttSettings:
        firmware = self._firmware
        return MqttSettings(
            host=f"elsewhere.{host}" if firmware.spec.has(BoardFault.WRONG_HOST) else host,
            client_id=self._node_id,
            username=f"?Platform=APN3|A0|RM|EX00|RMDev|1x0|{firmware.spec.base_mac.hex().upper()}",
            certificate=firmware.factory_value("client_cert") or b"",
            key=firmware.factory_value("client_key") or b"",
            roots=firmware.roots,
            will=(f"node/{self._node_id}/params/local", _connected(False)) if firmware.facts.connectivity else None,
            clock=0.0 if firmware.spec.has(BoardFault.EARLY_CLOCK) else None,
        )

    def _soon(self, steps: Iterator[Step]) -> Alarm:
        paced = self._firmware.spec.paced is not None
        return Alarm(_CONNECTED_SECONDS if paced else _UNPACED_CONNECTED_SECONDS, steps)

    def _publish(self, topic: Topic, payload: bytes) -> Iterator[Step]:
        if self._firmware.outbox is not None:
            yield from self._firmware.outbox.publish(topic, payload)

    def _associate(self) -> Iterator[Step]:
        """Publish the mapping of user and node if there is one to publish, or go on if that was done before."""
        asked = self._firmware.user is not None
        if not asked and user_mapping.is_mapped(self._firmware):
            yield from self._take_part()
            return
        if not asked and self._firmware.facts.ch_resp:
            self._firmware.user = user_mapping.NOBODY
        yield self._log("esp_rmaker_core", "Waiting for User Node Association.")
        yield from user_mapping.publish_mapping(self._firmware)

    def _take_part(self) -> Iterator[Step]:
        """Report all parameters, once per start, and listen to changes."""
        yield MqttSubscribe(f"node/{self._node_id}/params/remote")
        if not self._in_sync:
            self._in_sync = True
            yield from self._publish(Topic.PARAMS_INIT, compact(self._params.all))

    def _offer_updates(self) -> Iterator[Step]:
        path = f"node/{self._node_id}/otaurl"
        yield self._log(TOPICS_TAG, f"Subscribing to: {path}")
        yield MqttSubscribe(path)
        if not self._fetched:
            yield fetch_soon(self._firmware)

    def _set_params(self, payload: bytes) -> Iterator[Step]:
        if self._loses_param:
            self._loses_param = False
            return
        yield self._log("esp_rmaker_param", f"Received params: {payload.decode('utf-8', 'replace')}")
        if self._firmware.spec.has(BoardFault.IGNORES_PARAMS):
            return
        if changed := self._params.set(read_object(payload) or {}):
            yield self._log("app_main", "Received write request via : Cloud")
            yield from self._publish(Topic.PARAMS, compact(changed))

    def _revive(self, outbox: Outbox) -> Iterator[Step]:
        outbox.revive()
        yield Alarm(REVIVE_SECONDS, self._revive(outbox))

    def _complaint(self, failure: MqttFailure) -> Iterator[Step]:
        """Print what esp-tls and esp-mqtt report."""
        if failure is MqttFailure.LOST:
            return
        if failure is MqttFailure.NOT_AUTHORIZED:
            yield self._log.failure(_CLIENT, "Connection refused, not authorized")
            return
        if failure is MqttFailure.NO_ADDRESS:
            host = self.settings.host
            yield self._log.failure(_TLS, f"couldn't get hostname for :{host}: getaddrinfo() returns 202, addrinfo=0x0")
        elif failure is MqttFailure.UNTRUSTED and self.settings.roots is None:
            yield self._log.failure("esp-x509-crt-bundle", "Failed to verify certificate")
            yield self._log.failure(_MBEDTLS, "mbedtls_ssl_handshake returned -0x3000")
        else:
            yield self._log.failure(*_REASONS[failure])
        yield self._log.failure(_TLS, "Failed to open new connection")
        yield self._log.failure(_CLIENT, "Error transport connect")


def _connected(value: bool) -> bytes:
    return compact({CONNECTIVITY: {"Connected": value}})
