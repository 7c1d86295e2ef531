"""What the console of a unit says about its connection to the broker while there is none.

The last line that says why counts: a unit tries again and again, and later lines are about the try that matters.
Sources: ESP-IDF components/esp-tls (esp_tls.c, esp_tls_mbedtls.c), mbedtls (x509.h, error.h), esp-mqtt (mqtt_client.c),
esp-rainmaker-common (esp_rmaker_time.c). All patterns are linear.

Why a certificate is not accepted, ESP-IDF prints only at log level debug ("verification info"), or before version 5:
otherwise a wrong clock and a wrong CA look the same.
"""

from __future__ import annotations

import re

from rmfab.board.symptoms import Symptom, SymptomRow

_NOT_YET = Symptom("mqtt-clock", "the unit's clock is wrong: for it, the broker's certificate is not yet valid")
_TOO_LATE = Symptom("mqtt-clock", "for the unit's clock, the broker's certificate has expired")
_OTHER_NAME = Symptom("mqtt-broker", "the certificate of the unit's broker is for a different name")
_UNTRUSTED = Symptom("mqtt-broker", "the unit does not trust the CA of its broker's certificate")
REFUSES_BROKER = Symptom("mqtt-broker", "the unit does not accept its broker's certificate, or its clock is wrong")
"""What the console says without the reason."""


def _row(pattern: str, told: Symptom, source: str) -> SymptomRow:
    return SymptomRow(re.compile(pattern), told.cause, told.reason, source)


_ROWS = (
    _row(
        r"couldn't get hostname for :(?P<host>[^\s:]{1,253})",
        Symptom("mqtt-dns", 'the name of the broker that the unit has, "{0}", has no address'),
        "esp_tls.c, esp_tls_hostname_to_fd",
    ),
    _row(
        r"esp-tls: \[sock=\d{1,5}\] (delayed connect error: .{1,80}|select\(\) timeout|connect\(\) error.{0,80})",
        Symptom("mqtt-away", "the unit gets no connection to its broker: {0}"),
        "esp_tls.c, tcp_connect",
    ),
    _row(r"certificate validity starts in the future", _NOT_YET, "mbedtls, mbedtls_x509_crt_verify_info"),
    _row(r"certificate validity has expired", _TOO_LATE, "mbedtls, mbedtls_x509_crt_verify_info"),
    _row(r"certificate Common Name \(CN\) does not match", _OTHER_NAME, "mbedtls, mbedtls_x509_crt_verify_info"),
    _row(
        r"certificate is not correctly signed by the trusted CA|No matching trusted root certificate found",
        _UNTRUSTED,
        "mbedtls, mbedtls_x509_crt_verify_info; esp_crt_bundle.c",
    ),
    _row(
        r"mbedtls_ssl_handshake returned -0x(?:2700|3000)",
        REFUSES_BROKER,
        "MBEDTLS_ERR_X509_CERT_VERIFY_FAILED; MBEDTLS_ERR_X509_FATAL_ERROR of the certificate bundle",
    ),
    _row(
        r"mbedtls_ssl_handshake returned -0x7780",
        Symptom("mqtt-certificate", "the broker refuses the unit's certificate: it answers with a TLS alert"),
        "MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE",
    ),
    _row(
        r"mbedtls_ssl_handshake returned -0x(?:7280|7880|0050)",
        Symptom("mqtt-certificate", "the broker closes the connection during the TLS handshake"),
        "MBEDTLS_ERR_SSL_CONN_EOF, …_PEER_CLOSE_NOTIFY, MBEDTLS_ERR_NET_CONN_RESET",
    ),
    _row(
        r"mbedtls_(?:x509_crt|pk)_parse\w{0,8}(?: of \w{1,16} \w{1,8})? returned (-0x[0-9A-Fa-f]{1,4})",
        Symptom("cloud-certificate", "the unit cannot read the certificate or the key in its factory partition: {0}"),
        "esp_tls_mbedtls.c, set_pki_context",
    ),
    _row(
        r"Connection refused, ([a-z][A-Za-z ]{1,40})",
        Symptom("mqtt-refused", "the broker refuses the unit's MQTT connection: {0}"),
        "mqtt_client.c, esp_mqtt_connect",
    ),
    _row(
        r"Waiting for time to be synchronized",
        Symptom("mqtt-clock", "the unit waits for the time before it connects: it reaches no SNTP server"),
        "esp_rmaker_time.c, esp_rmaker_time_wait_for_sync",
    ),
)


_WORDS = ("tls", "mqtt", "x509", "certificate", "time to be")
"""One of them is in every such line: most lines of a log have none, and are not compared with each row."""


def mqtt_symptom(line: str) -> Symptom | None:
    """Return why the unit is not connected to its broker, as far as *line* says it."""
    if not any(word in line for word in _WORDS):
        return None
    return next((read for row in _ROWS if (read := row.read(line))), None)
