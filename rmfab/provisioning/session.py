"""A session with one unit: the only requests that rmfab sends after the handshake."""

from __future__ import annotations

from collections.abc import Callable

from rmfab.product.vocabulary import Security
from rmfab.provisioning import challenge, wifi_messages
from rmfab.provisioning.capabilities import Capabilities, read_capabilities
from rmfab.provisioning.failures import ProtocolError
from rmfab.provisioning.security import X25519, Plain, SecurityScheme, Session, Srp6a
from rmfab.provisioning.transport import CHALLENGE, CONFIG, SCAN, ProvisioningTransport
from rmfab.secret import Secret

_NETWORKS_AT_ONCE = 4


class ProvisioningSession:
    """An open session. Each method makes one or a few round trips, and raises UnitFault or LinkError."""

    def __init__(self, transport: ProvisioningTransport, capabilities: Capabilities, session: Session) -> None:
        self.capabilities = capabilities
        self._transport = transport
        self._session = session

    def challenge(self, nonce: bytes) -> tuple[str, bytes]:
        """Return the node id, and a signature over SHA-256 of *nonce*: ECDSA in DER, or RSA-PSS."""
        return challenge.read_signature(self._ask(CHALLENGE, challenge.sign(nonce)))

    def scan(self, *, passive: bool = False, period_ms: int = 120) -> tuple[wifi_messages.HeardNetwork, ...]:
        """Return the networks that the unit receives, in its order; a network is listed once per access point."""
        request = wifi_messages.scan_start(passive=passive, period_ms=period_ms)
        wifi_messages.read_scan_started(self._ask(SCAN, request))
        finished, count = wifi_messages.read_scan_status(self._ask(SCAN, wifi_messages.scan_ask_status()))
        if not finished:
            raise ProtocolError("the unit answered a scan that it has not finished")
        heard: list[wifi_messages.HeardNetwork] = []
        while len(heard) < count:
            wanted = min(_NETWORKS_AT_ONCE, count - len(heard))
            request = wifi_messages.scan_ask_result(len(heard), wanted)
            found = wifi_messages.read_scan_result(self._ask(SCAN, request))
            if not 0 < len(found) <= wanted:
                raise ProtocolError(f"the unit sent {len(found)} networks instead of {wanted}")
            heard += found
        return tuple(heard)

    def configure(self, ssid: str, passphrase: Secret[str]) -> None:
        """Send a network's credentials. From now on the unit is no longer in its state as shipped."""
        wifi_messages.read_config_set(
            self._ask(CONFIG, wifi_messages.config_set(wifi_messages.WifiCredentials(ssid, passphrase)))
        )

    def apply(self) -> None:
        """Have the unit join that network."""
        wifi_messages.read_config_applied(self._ask(CONFIG, wifi_messages.config_apply()))

    def status(self) -> wifi_messages.Joining:
        """Return the progress of joining."""
        return wifi_messages.read_config_status(self._ask(CONFIG, wifi_messages.config_ask_status()))

    def _ask(self, endpoint: str, request: bytes) -> bytes:
        answer = self._transport.exchange(endpoint, self._session.encrypt(request))
        return self._session.decrypt(answer)


def open_session(
    transport: ProvisioningTransport,
    capabilities: Capabilities | None,
    pop: Secret[str],
    username: str,
    random: Callable[[int], bytes],
) -> ProvisioningSession:
    """Open a session in exactly one handshake, by the scheme that the unit offers.

    Read the *capabilities* if they are None. Raise what `SecurityScheme.handshake` and `read_capabilities` raise.
    """
    if capabilities is None:
        capabilities = read_capabilities(transport)
    session = scheme_for(capabilities, pop, username, random).handshake(transport)
    return ProvisioningSession(transport, capabilities, session)


def scheme_for(
    capabilities: Capabilities, pop: Secret[str], username: str, random: Callable[[int], bytes]
) -> SecurityScheme:
    """Return the scheme in *capabilities*, ready for the handshake."""
    if capabilities.sec_ver is Security.SRP6A:
        return Srp6a(username, pop, capabilities.sec_patch_ver, random)
    if capabilities.sec_ver is Security.X25519:
        return X25519(pop if capabilities.pop else Secret(""), random)
    return Plain()
