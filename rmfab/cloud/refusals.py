"""What an error of a connection means: the broker is bad, or it refuses the unit.

A pure judge of the exceptions of `socket` and `ssl`. OpenSSL names an alert of the peer `…_ALERT_NAME`; the names are
those of RFC 8446, section 6.2, and RFC 5246, section 7.2.2.
"""

from __future__ import annotations

import socket
import ssl
from enum import Enum

from rmfab.cloud.broker import CA_HINT, Broker
from rmfab.errors import RmfabError, StationError, UnitFault


class BrokerRefusal(UnitFault):
    """The broker refuses the client. *closed*: without a reason, it just closed the connection."""

    def __init__(self, what: str, *, cause: str, closed: bool = False) -> None:
        super().__init__(what, cause=cause)
        self.closed = closed


_UNIT_ALERTS = (
    ("UNKNOWN_CA", "cloud-ca", "the broker does not know the CA of the certificate"),
    ("CERTIFICATE_EXPIRED", "cloud-expired", "the broker considers the certificate expired"),
    ("CERTIFICATE_REVOKED", "cloud-revoked", "the certificate is revoked"),
    ("BAD_CERTIFICATE", "cloud-refused", "the broker refuses the certificate: bad certificate"),
    ("CERTIFICATE_UNKNOWN", "cloud-refused", "the broker refuses the certificate: certificate unknown"),
    ("UNSUPPORTED_CERTIFICATE", "cloud-refused", "the broker does not support this kind of certificate"),
    ("HANDSHAKE_FAILURE", "cloud-refused", "the broker refuses the handshake"),
    ("CERTIFICATE_REQUIRED", "cloud-refused", "the broker requires a certificate"),
    ("ACCESS_DENIED", "cloud-refused", "the broker denies access"),
    ("DECRYPT_ERROR", "cloud-refused", "the broker cannot verify the unit's signature"),
)
_STRANGERS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG")
_AWAY = "is the broker running, and does a firewall let it pass?"
_OTHER = "check the port, and whether a proxy answers"
_VERIFY = (
    (62, "broker-name", "the broker's certificate is for a different name"),
    (64, "broker-name", "the broker's certificate is for a different address"),
    (9, "broker-certificate", "the broker's certificate is not yet valid"),
    (10, "broker-certificate", "the broker's certificate has expired"),
)
"""Results of OpenSSL's verification (openssl-verification-options(1), X509_V_ERR_…)."""


def needs_tls13(error: BaseException | None) -> bool:
    """Return whether *error* says that the broker does not speak TLS 1.2."""
    return isinstance(error, ssl.SSLError) and (error.reason or "").endswith("ALERT_PROTOCOL_VERSION")


class Stage(Enum):
    """How far a connection has come: the server has an address, accepted TCP, or has begun to speak TLS."""

    DIALLING = 1
    ACCEPTED = 2
    GREETED = 3


def judged(error: Exception, broker: Broker, stage: Stage) -> RmfabError:
    """Return the error to raise for *error* of a connection to *broker* at *stage*.

    A connection that is lost is the server's fault, and once it has begun to speak TLS a refusal.
    """
    match error:
        case socket.gaierror():
            hint = "check the name ([cloud] host in station.toml, else mqtt_host in product.toml), and DNS"
            return _bad(broker, f"the name has no address: {error.strerror}", "broker-dns", hint)
        case ssl.SSLCertVerificationError():
            return _unverified(error, broker)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionError() if stage is Stage.GREETED:
            return BrokerRefusal("the broker closed the connection without a reason", cause="cloud-closed", closed=True)
        case ssl.SSLEOFError() | ConnectionError() if stage is Stage.ACCEPTED:
            return _bad(broker, "the server closed the connection before it spoke TLS", "broker-not-tls", _OTHER)
        case ssl.SSLError():
            return _alert(error.reason or "", broker)
        case TimeoutError() if stage is not Stage.DIALLING:
            return _bad(broker, f"the server did not answer within {broker.patience:g} s", "broker-silent")
    reason = getattr(error, "strerror", None) or str(error)
    return _bad(broker, f"cannot connect: {reason}", "broker-away", _AWAY)


def not_mqtt(broker: Broker, why: str) -> StationError:
    """Return the error for a server that answers with something else than MQTT."""
    return _bad(broker, f"the server does not speak MQTT 3.1.1: {why}", "broker-not-mqtt")


def _alert(reason: str, broker: Broker) -> RmfabError:
    name = reason.rpartition("_ALERT_")[2] if "_ALERT_" in reason else ""
    for alert, cause, what in _UNIT_ALERTS:
        if alert == name:
            return BrokerRefusal(what, cause=cause)
    if name == "NO_APPLICATION_PROTOCOL":
        return _bad(broker, "the broker does not offer MQTT by ALPN on this port", "broker-alpn", "try port 8883")
    if name == "UNRECOGNIZED_NAME":
        return _bad(broker, "the broker is not responsible for this name", "broker-name")
    if reason in _STRANGERS:
        return _bad(broker, "the server does not speak TLS", "broker-not-tls", _OTHER)
    return _bad(broker, f"TLS fails: {reason.lower().replace('_', ' ') or 'no reason given'}", "broker-tls")


def _unverified(error: ssl.SSLCertVerificationError, broker: Broker) -> StationError:
    for code, cause, what in _VERIFY:
        if code == error.verify_code:
            return _bad(broker, what, cause)
    what = f"the broker's certificate is not trusted: {error.verify_message}"
    return _bad(broker, what, "broker-ca", CA_HINT)


def _bad(broker: Broker, what: str, cause: str, hint: str | None = None) -> StationError:
    return StationError(what, where=broker.place, hint=hint, cause=cause)
