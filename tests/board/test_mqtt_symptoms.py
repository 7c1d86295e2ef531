"""What a unit's console says about a broker that it does not reach."""

from __future__ import annotations

import pytest

from rmfab.board.bootlog import BootLog
from rmfab.board.mqtt_symptoms import mqtt_symptom

TLS = "E (5912) esp-tls-mbedtls: "
LINES = {
    "E (5310) esp-tls: couldn't get hostname for :mqtt.exampel.com: getaddrinfo() returns 202": "mqtt-dns",
    "E (5310) esp-tls: [sock=54] delayed connect error: Connection reset by peer": "mqtt-away",
    "E (15310) esp-tls: [sock=54] select() timeout": "mqtt-away",
    TLS + "mbedtls_ssl_handshake returned -0x2700": "mqtt-broker",
    TLS + "mbedtls_ssl_handshake returned -0x3000": "mqtt-broker",
    TLS + "mbedtls_ssl_handshake returned -0x7780": "mqtt-certificate",
    TLS + "mbedtls_ssl_handshake returned -0x7280": "mqtt-certificate",
    "I (5912) esp-tls-mbedtls: verification info:   ! The certificate validity starts in the future": "mqtt-clock",
    "I (5912) esp-tls-mbedtls: verification info:   ! The certificate validity has expired": "mqtt-clock",
    "  ! The certificate Common Name (CN) does not match with the expected CN": "mqtt-broker",
    "  ! The certificate is not correctly signed by the trusted CA": "mqtt-broker",
    "E (5912) esp-x509-crt-bundle: No matching trusted root certificate found": "mqtt-broker",
    TLS + "mbedtls_x509_crt_parse of client cert returned -0x2180": "cloud-certificate",
    TLS + "mbedtls_pk_parse_keyfile returned -0x3D00": "cloud-certificate",
    "W (6021) mqtt_client: Connection refused, not authorized": "mqtt-refused",
    "I (4021) esp_rmaker_time: Waiting for time to be synchronized. This may take time.": "mqtt-clock",
}


@pytest.mark.parametrize(("line", "cause"), LINES.items())
def test_lines(line: str, cause: str) -> None:
    """Each line has its cause, and a reason without a place left open."""
    told = mqtt_symptom(line)
    assert told is not None
    assert told.cause == cause
    assert "{" not in told.reason


@pytest.mark.parametrize(
    "line",
    [
        "E (5912) esp-tls: Failed to open new connection",
        "E (5912) mqtt_client: Error transport connect",
        "I (5912) esp_mqtt_glue: MQTT Connected",
        "I (1) wifi:mode : sta (24:0a:c4:00:00:01)",
    ],
)
def test_lines_that_say_nothing(line: str) -> None:
    """What follows each failure, or says no reason, is none."""
    assert mqtt_symptom(line) is None


def test_the_last_one_counts() -> None:
    """A log keeps the last reason; a line of a boot that has none leaves it."""
    log = BootLog()
    for line in (*LINES, "E (5912) mqtt_client: Error transport connect"):
        log.feed(line)
    assert log.mqtt_trouble is not None
    assert "SNTP" in log.mqtt_trouble.reason
    assert not log.failed
