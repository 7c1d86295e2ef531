"""Checks of a unit's provisioning: what its owner's phone would do, and what must not work without the label.

Judges take values and raise UnitFault. The `check_…` functions talk to one unit and pass the result to the judges. A
UnitFault is the unit's (its step FAILs), a LinkError the station's. The checks do not change the unit, but a wrong PoP
counts in it until it is restarted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rmfab.errors import InputError, UnitFault, printable
from rmfab.identity.node_id import judge_same_node
from rmfab.identity.unit_signature import signed_by
from rmfab.product.product import Provisioning, ScanPolicy
from rmfab.product.vocabulary import Credentials, Security
from rmfab.provisioning.capabilities import Capabilities, read_capabilities
from rmfab.provisioning.failures import RequestRefused, WrongPop
from rmfab.provisioning.session import ProvisioningSession, open_session
from rmfab.provisioning.transport import ProvisioningTransport
from rmfab.provisioning.wifi_messages import HeardNetwork, Joining, JoinState, unproven
from rmfab.secret import Secret

NONCE_BYTES = 32
_LETTERS = "0123456789abcdef"


@dataclass(frozen=True)
class Heard:
    """The factory's network as the unit receives it: the best *rssi* in dBm, the number of all *networks*."""

    ssid: str
    rssi: int
    channel: int
    networks: int
    marginal: bool


class WeakSignal(UnitFault):
    """The unit receives the network at *rssi* dBm, which is too weak."""

    cause = "weak-signal"

    def __init__(self, ssid: str, rssi: int, limit: int) -> None:
        super().__init__(
            f'the unit receives "{ssid}" at {rssi} dBm, below the limit of {limit} dBm',
            hint="check the antenna and its connector",
        )
        self.rssi = rssi


def check_session(
    transport: ProvisioningTransport,
    provisioning: Provisioning,
    credentials: Credentials,
    pop: Secret[str],
    random: Callable[[int], bytes],
) -> ProvisioningSession:
    """Open a session with the unit's own PoP, in one attempt; with security 2 this also proves its verifier.

    Raise UnitFault (`wrong-pop-in-unit`, `proof-mismatch`, `sec0-offered`, `security-mismatch`, `no-pop-offered`,
    `claiming`, `no-claims`, `session-refused`, `stalled`, `protocol` …) or LinkError.
    """
    capabilities = read_capabilities(transport)
    judge_capabilities(capabilities, provisioning.security, credentials)
    try:
        return open_session(transport, capabilities, pop, provisioning.username, random)
    except WrongPop as refusal:
        raise UnitFault(
            "the unit rejected the PoP of its label",
            where=refusal.where,
            hint="its flash holds the wrong unit's `random`, or a sec2 verifier for a different PoP; "
            "if you gave its URL, check that it is this unit's",
            cause="wrong-pop-in-unit",
        ) from refusal
    except RequestRefused as refusal:
        raise _refused_early(refusal) from refusal


def _refused_early(refusal: RequestRefused) -> UnitFault:
    return UnitFault(
        "the unit rejected the session before any proof was sent",
        where=refusal.where,
        hint="check [provisioning] username, or restart the unit if five wrong PoPs have locked it",
        cause="session-refused",
    )


def judge_capabilities(capabilities: Capabilities, security: Security, credentials: Credentials) -> None:
    """Raise UnitFault if the unit offers the wrong security, or assisted claiming contrary to *credentials*."""
    judge_security(capabilities, security)
    _judge_claims(claims=capabilities.claims, expected=credentials is Credentials.CLOUD_CLAIM)


def judge_security(capabilities: Capabilities, security: Security) -> None:
    """Raise UnitFault (`sec0-offered`, `security-mismatch`, `no-pop-offered`) unless the unit offers *security*."""
    offered = capabilities.sec_ver
    if offered is Security.PLAIN and security is not Security.PLAIN:
        raise UnitFault("the firmware offers no security: anyone can provision the unit", cause="sec0-offered")
    if offered is not security:
        raise UnitFault(
            f"the firmware offers security {offered.value}, but the product requires {security.value}",
            hint="set [provisioning] security in product.toml to the firmware's",
            cause="security-mismatch",
        )
    if security is not Security.PLAIN and not capabilities.pop:
        raise UnitFault("the firmware requires no PoP: anyone nearby can provision the unit", cause="no-pop-offered")


def _judge_claims(*, claims: bool, expected: bool) -> None:
    if claims and not expected:
        raise UnitFault(
            "the unit starts assisted claiming: it ignores the credentials in its factory partition", cause="claiming"
        )
    if expected and not claims:
        raise UnitFault(
            "the unit does not offer assisted claiming",
            hint="check that the firmware has assisted claiming, and that the unit has not already done it",
            cause="no-claims",
        )


def check_key(
    session: ProvisioningSession, node_id: str, certificate_pem: bytes, random: Callable[[int], bytes]
) -> None:
    """Check that the unit reports *node_id* and holds the key of its certificate, with a fresh random challenge.

    Raise UnitFault (`no-challenge-response`, `other-identity`, `key-mismatch` …) or LinkError.
    """
    if not session.capabilities.challenge_response:
        raise UnitFault(
            "the firmware does not offer challenge-response",
            hint="set CONFIG_ESP_RMAKER_ENABLE_CHALLENGE_RESPONSE (default: y); a unit waiting for claiming has none",
            cause="no-challenge-response",
        )
    nonce = random(NONCE_BYTES)
    told, signature = session.challenge(nonce)
    judge_same_node(told, node_id)
    judge_signature(certificate_pem, nonce, signature)


def judge_signature(certificate_pem: bytes, nonce: bytes, signature: bytes) -> None:
    """Raise UnitFault (`key-mismatch`) unless the certificate's key signed SHA-256 of *nonce* with *signature*."""
    if not signed_by(certificate_pem, nonce, signature):
        raise UnitFault(
            "the key in the unit does not belong to its certificate",
            hint="void the unit; its factory partition holds the wrong key",
            cause="key-mismatch",
        )


def check_scan(session: ProvisioningSession, policy: ScanPolicy) -> Heard:
    """Return how well the unit receives the network in *policy*.

    Raise UnitFault (`no-scan`, `not-heard`, `weak-signal` …) or LinkError.
    """
    if not session.capabilities.wifi_scan:
        raise UnitFault("the firmware does not offer a Wi-Fi scan", cause="no-scan")
    return judge_networks(session.scan(), policy)


def judge_networks(networks: Iterable[HeardNetwork], policy: ScanPolicy) -> Heard:
    """Return the best access point of the network in *policy*.

    Raise UnitFault if none is received (`not-heard`) or only weakly (`weak-signal`).
    """
    heard, ssid = tuple(networks), policy.ssid
    own = [network for network in heard if network.ssid == ssid.encode()]
    if not own:
        raise UnitFault(
            f'the unit does not receive "{ssid}" among {len(heard)} networks',
            hint="check the antenna, its connector, and the factory's access point",
            cause="not-heard",
        )
    best = max(own, key=lambda network: network.rssi)
    if best.rssi < policy.fail:
        raise WeakSignal(ssid, best.rssi, policy.fail)
    return Heard(ssid, best.rssi, best.channel, len(heard), best.rssi < policy.marginal)


def judge_joined(joining: Joining, ssid: str) -> None:
    """Raise UnitFault (`join-unproven`) unless the unit has joined the network *ssid*, with an address there."""
    if joining.state is not JoinState.CONNECTED or joining.ip4 is None:
        raise unproven("without an IPv4 address")
    if joining.ssid != ssid.encode():
        told = printable(joining.ssid.decode("utf-8", "replace"))
        raise unproven(f'with the network "{told}" instead of "{ssid}"')


def check_wrong_pop(
    transport: ProvisioningTransport, provisioning: Provisioning, pop: Secret[str], random: Callable[[int], bytes]
) -> None:
    """Check that the unit rejects a wrong PoP, in one attempt on a separate *transport*.

    The attempt counts in the unit until the caller restarts it. Raise UnitFault (`wrong-pop-accepted`, or how the
    session ended), LinkError, or InputError for a product without security.
    """
    if not provisioning.has_pop:
        raise InputError("security 0 does not use a PoP", cause="no-pop")
    capabilities = read_capabilities(transport)
    judge_security(capabilities, provisioning.security)
    try:
        open_session(transport, capabilities, another_pop(pop, random), provisioning.username, random)
    except WrongPop:
        return
    except RequestRefused as refusal:
        raise _refused_early(refusal) from refusal
    except UnitFault as error:
        if error.cause != "proof-mismatch":
            raise
    raise UnitFault("the unit accepted a wrong PoP", cause="wrong-pop-accepted")


def another_pop(pop: Secret[str], random: Callable[[int], bytes]) -> Secret[str]:
    """Return a PoP of the same form that differs from *pop* in every character."""
    return Secret(
        "".join(_other(own, drawn) for own, drawn in zip(pop.reveal(), random(len(pop.reveal())), strict=True))
    )


def _other(own: str, drawn: int) -> str:
    letters = _LETTERS.replace(own, "")
    return letters[drawn % len(letters)]
