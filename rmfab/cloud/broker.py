"""The broker of a product: where it is, and the TLS context with which one connects to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from rmfab.cloud.credentials import ClientPair
from rmfab.errors import UnitFault

ALPN = "x-amzn-mqtt-ca"
ALPN_PORT = 443
"""On this port AWS IoT serves MQTT only to clients that name the protocol, as RainMaker's firmware does by default."""
CA_HINT = "set ca in [cloud] of station.toml to the CA of its certificate; `rmfab cloud check` also has --ca FILE"


@dataclass(frozen=True)
class Broker:
    """A broker at *host* and *port*.

    *ca*: PEM certificates that may sign its own, None for those that the system trusts. *tls13*: use the newest TLS
    that both have; else TLS 1.2, which reports a refused certificate in the handshake. *patience*: seconds to wait for
    each answer.
    """

    host: str
    port: int
    ca: str | None = None
    tls13: bool = False
    patience: float = 10.0

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    def context(self, pair: ClientPair | None) -> ssl.SSLContext:
        """Return a client context that verifies the broker's certificate and name, and shows *pair*.

        One context serves all connections of a unit. Raise UnitFault (cause `cloud-certificate`) if OpenSSL cannot use
        *pair*.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.tls13:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cadata=self.ca)
        if self.port == ALPN_PORT:
            context.set_alpn_protocols([ALPN])
        if pair is not None:
            self._show(context, pair)
        return context

    @staticmethod
    def _show(context: ssl.SSLContext, pair: ClientPair) -> None:
        try:
            pair.put_in(context)
        except ssl.SSLError as error:
            what = f"TLS cannot use the certificate: {(error.reason or str(error)).lower().replace('_', ' ')}"
            raise UnitFault(what, cause="cloud-certificate") from None
