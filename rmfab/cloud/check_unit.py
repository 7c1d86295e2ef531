"""The check of a unit's credentials: what its broker must let it do, and what it must refuse.

    probe         once: DNS, TCP, TLS, the broker's certificate and name; and a client without a certificate
    check_broker  once: a forged certificate, and those that the operator gives, must be refused
    check_unit    per unit: its own certificate, mutual TLS, CONNACK; with a witness also its own topic and a foreign
                  one; a foreign client id

A unit's fault ends as a failed attempt, the broker's or the host's as StationError. Without a witness nothing is
published: on a real cloud every message could act. Foreign names are invented, so that no real unit loses its
connection.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from rmfab.cloud.attempt import AttemptEnding, BrokerAttempt, Trial
from rmfab.cloud.broker import Broker
from rmfab.cloud.broker_link import BrokerLink, open_link
from rmfab.cloud.credentials import ClientPair, CloudUnit, forged, judge_own
from rmfab.cloud.refusals import BrokerRefusal, needs_tls13
from rmfab.cloud.witness import Witness, drawn, topic_of
from rmfab.errors import StationError, UnitFault


@dataclass(frozen=True)
class Gate:
    """A *broker* that was probed, with the *witness*, if there is one. *keep_going* raises to give up."""

    broker: Broker
    witness: Witness | None = None
    keep_going: Callable[[], None] = lambda: None

    def open(self, context: ssl.SSLContext, client_id: str, stack: ExitStack) -> BrokerLink:
        """Return a connection that is closed with *stack*."""
        return stack.enter_context(open_link(self.broker, context, client_id, self.keep_going))

    def prove(self) -> None:
        """Return if the broker is there. Raise StationError if it is not."""
        if self.witness is not None:
            self.witness.settle()
        else:
            probe(self.broker, self.keep_going)


def stranger() -> str:
    """Return an invented node id."""
    return f"rmfab-{secrets.token_hex(8)}"


def probe(broker: Broker, keep_going: Callable[[], None] = lambda: None) -> tuple[Broker, BrokerAttempt]:
    """Return *broker* with the TLS that it speaks, and how a client without a certificate ended.

    Raise StationError if it is not reachable, is not trusted, or does not speak MQTT over TLS.
    """
    try:
        return broker, _refused(
            Gate(broker, keep_going=keep_going), broker.context(None), stranger(), Trial.NO_CERTIFICATE
        )
    except StationError as error:
        if broker.tls13 or not needs_tls13(error.__cause__):
            raise
    return probe(replace(broker, tls13=True), keep_going)


def check_broker(gate: Gate, node_id: str, now: datetime, given: dict[str, ClientPair]) -> Iterator[BrokerAttempt]:
    """Yield how a forged certificate for *node_id* ended, and each of those *given* by file name.

    The client ids are invented: a broker that accepts one must not throw a real unit out.
    """
    yield _refused(gate, gate.broker.context(forged(node_id, now)), stranger(), Trial.FORGED_CERTIFICATE)
    for name, pair in given.items():
        yield replace(_refused(gate, gate.broker.context(pair), stranger(), Trial.GIVEN_CERTIFICATE), subject=name)


def check_unit(gate: Gate, unit: CloudUnit, now: datetime) -> tuple[BrokerAttempt, ...]:
    """Return the attempts with the credentials of *unit*, in order; none after one that fails. Raise StationError.

    A connection that ends without a reason may be the broker's end: the unit is blamed only if the broker is there, and
    does it again.
    """
    attempts = _tried(gate, unit, now)
    if (attempts[-1].ending, attempts[-1].cause) == (AttemptEnding.FAILED, "cloud-closed"):
        gate.prove()
        attempts = _tried(gate, unit, now)
    return attempts


def _tried(gate: Gate, unit: CloudUnit, now: datetime) -> tuple[BrokerAttempt, ...]:
    attempts: list[BrokerAttempt] = []
    trial = Trial.CONNECT
    try:
        judge_own(unit, now)
        context = gate.broker.context(unit.pair)
        with ExitStack() as stack:
            link = gate.open(context, unit.node_id, stack)
            attempts.append(_passed(trial))
            if gate.witness is not None:
                trial = Trial.SUBSCRIBE
                _subscribe_own(link, unit)
                attempts.append(_passed(trial))
                trial = Trial.PUBLISH
                _publish_own(link, unit, gate.witness)
                attempts.append(_passed(trial))
    except UnitFault as fault:
        return (*attempts, BrokerAttempt(trial, AttemptEnding.FAILED, fault.cause, fault.what))
    if gate.witness is not None:
        attempts.append(_foreign_subscribe(gate, context, unit, gate.witness))
        attempts.append(_foreign_publish(gate, context, unit, gate.witness))
    attempts.append(_refused(gate, context, stranger(), Trial.FOREIGN_CLIENT_ID))
    if gate.witness is not None and attempts[-1].ending is AttemptEnding.CLOSED:
        gate.prove()
    return tuple(attempts)


def _passed(trial: Trial) -> BrokerAttempt:
    return BrokerAttempt(trial, AttemptEnding.PASSED)


def _subscribe_own(link: BrokerLink, unit: CloudUnit) -> None:
    if not link.subscribe(topic_of(unit.node_id)):
        raise UnitFault(f"the broker refuses a subscription to {topic_of(unit.node_id)}", cause="cloud-subscribe")


def _publish_own(link: BrokerLink, unit: CloudUnit, witness: Witness) -> None:
    """Publish to the unit's own topic: the witness must see it, and the unit itself, which is subscribed to it."""
    topic, payload = topic_of(unit.node_id), drawn()
    link.publish(topic, payload)
    witness.settle()
    if witness.saw(payload) != topic:
        raise UnitFault(
            f"the broker acknowledges what the unit publishes to {topic}, and drops it", cause="cloud-publish"
        )
    try:
        link.delivered(payload)
    except StationError as error:
        if error.cause != "broker-silent":
            raise
        raise UnitFault(
            f"the broker grants a subscription to {topic}, and delivers nothing", cause="cloud-subscribe"
        ) from None


def _foreign_subscribe(gate: Gate, context: ssl.SSLContext, unit: CloudUnit, witness: Witness) -> BrokerAttempt:
    """Subscribe to a foreign topic. If that is granted, the witness publishes there, then on the unit's own topic: what
    came on the foreign one until the second message is there was delivered."""
    trial, foreign, own = Trial.FOREIGN_SUBSCRIBE, topic_of(stranger()), topic_of(unit.node_id)
    try:
        with ExitStack() as stack:
            link = gate.open(context, unit.node_id, stack)
            link.subscribe(own)
            if not link.subscribe(foreign):
                return BrokerAttempt(trial, AttemptEnding.REFUSED)
            witness.publish(foreign, drawn())
            mark = drawn()
            witness.publish(own, mark)
            came = {message.topic for message in link.delivered(mark)}
    except BrokerRefusal as refusal:
        witness.settle()  # the broker is there, so this was its answer
        return _turned_away(trial, refusal)
    return BrokerAttempt(trial, AttemptEnding.NOT_ENFORCED if foreign in came else AttemptEnding.NOT_DELIVERED)


def _foreign_publish(gate: Gate, context: ssl.SSLContext, unit: CloudUnit, witness: Witness) -> BrokerAttempt:
    """Publish to a foreign topic. The witness sees whether it is delivered, also if the broker then closes."""
    trial, foreign, payload = Trial.FOREIGN_PUBLISH, topic_of(stranger()), drawn()
    turned_away: BrokerAttempt | None = None
    try:
        with ExitStack() as stack:
            gate.open(context, unit.node_id, stack).publish(foreign, payload)
    except BrokerRefusal as refusal:
        turned_away = _turned_away(trial, refusal)
    witness.settle()
    if witness.saw(payload) is not None:
        return BrokerAttempt(trial, AttemptEnding.NOT_ENFORCED)
    return turned_away or BrokerAttempt(trial, AttemptEnding.NOT_DELIVERED)


def _refused(gate: Gate, context: ssl.SSLContext, client_id: str, trial: Trial) -> BrokerAttempt:
    """Connect as *client_id* with *context*, which the broker must refuse."""
    try:
        with ExitStack() as stack:
            gate.open(context, client_id, stack)
    except BrokerRefusal as refusal:
        return _turned_away(trial, refusal)
    return BrokerAttempt(trial, AttemptEnding.NOT_ENFORCED)


def _turned_away(trial: Trial, refusal: BrokerRefusal) -> BrokerAttempt:
    ending = AttemptEnding.CLOSED if refusal.closed else AttemptEnding.REFUSED
    return BrokerAttempt(trial, ending, refusal.cause, refusal.what)
