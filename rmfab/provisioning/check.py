"""The check of a unit's provisioning: what its owner's phone would do, and what nobody without the label may.

Judges take values and raise Fault; the `check_…` functions talk to one unit and let them judge. A Fault is the unit's
(its step FAILs), a StationError the link's. Nothing here changes the unit, except that a refused PoP counts in it until
it is restarted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rmfab.errors import InputError, UnitFault
from rmfab.identity.node_id import judge_same_node
from rmfab.identity.unit_signature import signed_by
from rmfab.product.product import Provisioning, ScanPolicy
from rmfab.product.vocabulary import Credentials, Security
from rmfab.provisioning.capabilities import Capabilities, read_capabilities
from rmfab.provisioning.failures import RequestRefused, WrongPop
from rmfab.provisioning.session import ProvisioningSession, open_session
from rmfab.provisioning.transport import ProvisioningTransport
from rmfab.provisioning.wifi_messages import HeardNetwork
from rmfab.secret import Secret

NONCE_BYTES = 32
_LETTERS = "0123456789abcdef"


@dataclass(frozen=True)
class Heard:
    """The factory's network as the unit hears it: the best *rssi* in dBm, the number of *networks* in all."""

    ssid: str
    rssi: int
    channel: int
    networks: int
    marginal: bool


class WeakSignal(UnitFault):
    """The unit hears the network, at *rssi* dBm, but not loud enough."""

    cause = "weak-signal"

    def __init__(self, ssid: str, rssi: int, limit: int) -> None:
        super().__init__(
            f'the unit hears "{ssid}" at {rssi} dBm, under the limit of {limit} dBm', hint="antenna and its connector"
        )
        self.rssi = rssi


def check_session(
    transport: ProvisioningTransport,
    provisioning: Provisioning,
    credentials: Credentials,
    pop: Secret[str],
    random: Callable[[int], bytes],
) -> ProvisioningSession:
    """Opens a session with the unit's own PoP, in one attempt; with security 2 its verifier is proven thereby.

    Raises Fault (`wrong-pop-in-unit`, `proof-mismatch`, `sec0-offered`, `security-mismatch`, `no-pop-offered`,
    `claiming`, `no-claims`, `session-refused`, `stalled`, `protocol` …) and LinkError.
    """
    capabilities = read_capabilities(transport)
    judge_capabilities(capabilities, provisioning.security, credentials)
    try:
        return open_session(transport, capabilities, pop, provisioning.username, random)
    except WrongPop as refusal:
        raise UnitFault(
            "the unit refuses the PoP of its label",
            where=refusal.where,
            hint="its flash holds another unit's `random`, or a sec2 verifier that was made for another PoP; "
            "where its URL was given, does that lead to this unit?",
            cause="wrong-pop-in-unit",
        ) from refusal
    except RequestRefused as refusal:
        raise _refused_early(refusal) from refusal


def _refused_early(refusal: RequestRefused) -> UnitFault:
    return UnitFault(
        "the unit refuses a session before it has seen any proof",
        where=refusal.where,
        hint="[provisioning] username is not the firmware's, or five wrong PoPs have stopped it until it is restarted",
        cause="session-refused",
    )


def judge_capabilities(capabilities: Capabilities, security: Security, credentials: Credentials) -> None:
    """Raises Fault where the unit offers another security than the product's, or claims where it should not."""
    judge_security(capabilities, security)
    _judge_claims(claims=capabilities.claims, expected=credentials is Credentials.CLAIM)


def judge_security(capabilities: Capabilities, security: Security) -> None:
    """Raises Fault (`sec0-offered`, `security-mismatch`, `no-pop-offered`) unless the unit offers *security*."""
    offered = capabilities.sec_ver
    if offered is Security.PLAIN and security is not Security.PLAIN:
        raise UnitFault("the firmware offers no security: anybody may provision the unit", cause="sec0-offered")
    if offered is not security:
        raise UnitFault(
            f"the firmware offers security {offered.value}, the product says {security.value}",
            hint="[provisioning] security in product.toml must be what the firmware was built with",
            cause="security-mismatch",
        )
    if security is not Security.PLAIN and not capabilities.pop:
        raise UnitFault("the firmware asks for no PoP: anybody near it may provision the unit", cause="no-pop-offered")


def _judge_claims(*, claims: bool, expected: bool) -> None:
    if claims and not expected:
        raise UnitFault(
            "the unit wants to be claimed: it does not use the credentials in its factory partition", cause="claiming"
        )
    if expected and not claims:
        raise UnitFault(
            "the unit does not offer claiming",
            hint="is the firmware built with assisted claiming, or has the unit been claimed already?",
            cause="no-claims",
        )


def check_key(
    session: ProvisioningSession, node_id: str, certificate_pem: bytes, random: Callable[[int], bytes]
) -> None:
    """Proves that the unit names *node_id* and holds the key of its certificate, by a fresh random challenge.

    Raises Fault (`no-challenge-response`, `other-identity`, `key-mismatch` …) and LinkError.
    """
    if not session.capabilities.challenge_response:
        raise UnitFault(
            "the firmware offers no challenge and response",
            hint="CONFIG_ESP_RMAKER_ENABLE_CHALLENGE_RESPONSE, which is on by default; a unit to be claimed has none",
            cause="no-challenge-response",
        )
    judge_same_node(session.node_id(), node_id)
    nonce = random(NONCE_BYTES)
    told, signature = session.challenge(nonce)
    judge_same_node(told, node_id)
    judge_signature(certificate_pem, nonce, signature)


def judge_signature(certificate_pem: bytes, nonce: bytes, signature: bytes) -> None:
    """Raises Fault (`key-mismatch`) unless *signature* over SHA-256 of *nonce* was made with the certificate's key."""
    if not signed_by(certificate_pem, nonce, signature):
        raise UnitFault(
            "the key in the unit does not belong to its certificate",
            hint="void the unit; its factory partition holds another key",
            cause="key-mismatch",
        )


def check_scan(session: ProvisioningSession, policy: ScanPolicy) -> Heard:
    """How well the unit hears the network that *policy* names.

    Raises Fault (`no-scan`, `not-heard`, `weak-signal` …) and LinkError.
    """
    if not session.capabilities.wifi_scan:
        raise UnitFault("the firmware offers no Wi-Fi scan", cause="no-scan")
    return judge_networks(session.scan(), policy)


def judge_networks(networks: Iterable[HeardNetwork], policy: ScanPolicy) -> Heard:
    """The best access point of the network that *policy* names.

    Raises Fault where none is heard (`not-heard`) or weakly (`weak-signal`).
    """
    heard, ssid = tuple(networks), policy.ssid
    own = [network for network in heard if network.ssid == ssid.encode()]
    if not own:
        raise UnitFault(
            f'the unit does not hear "{ssid}" among {len(heard)} networks',
            hint="antenna and its connector, or the factory's access point is off",
            cause="not-heard",
        )
    best = max(own, key=lambda network: network.rssi)
    if best.rssi < policy.fail:
        raise WeakSignal(ssid, best.rssi, policy.fail)
    return Heard(ssid, best.rssi, best.channel, len(heard), best.rssi < policy.marginal)


def check_wrong_pop(
    transport: ProvisioningTransport, provisioning: Provisioning, pop: Secret[str], random: Callable[[int], bytes]
) -> None:
    """Proves that the unit refuses another PoP, in one attempt on a *transport* of its own.

    The attempt counts in the unit until it is restarted, which is the caller's to do. Raises Fault
    (`wrong-pop-accepted`, or what the session ended with), LinkError, and InputError for a product without security.
    """
    if not provisioning.has_pop:
        raise InputError("security 0 has no PoP that could be wrong", cause="no-pop")
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
    raise UnitFault("the unit opens a session with a wrong PoP", cause="wrong-pop-accepted")


def another_pop(pop: Secret[str], random: Callable[[int], bytes]) -> Secret[str]:
    """A PoP of the same form that differs from *pop* in every character."""
    return Secret(
        "".join(_other(own, drawn) for own, drawn in zip(pop.reveal(), random(len(pop.reveal())), strict=True))
    )


def _other(own: str, drawn: int) -> str:
    letters = _LETTERS.replace(own, "")
    return letters[drawn % len(letters)]
