"""What the firmware of a release allows the line to prove of a unit, on one slot.

Quiet firmware is normal in production. A unit is never failed for what its firmware cannot do: what cannot be proven is
skipped with its reason, and identity then rests on provisioning.

Sources: ESP-IDF Kconfig (ESP_CONSOLE_UART, ESP_CONSOLE_SECONDARY, LOG_DEFAULT_LEVEL); esp-rainmaker
`esp_rmaker_commands.c`: `get-node-id` answers by printf, at any log level, `sign-data` by ESP_LOGI.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, unique

from rmfab.board.port import ROM_BAUD
from rmfab.errors import InputError
from rmfab.product.product import VerifyPolicy
from rmfab.product.vocabulary import CloudProof, ConsoleMode, ConsolePort
from rmfab.release.build_config import BuildConfig

_INFO = 3  # ESP_LOG_INFO, the level of every line that the line reads
_BESIDE_USB = "the firmware's console is not on the chip's USB, which the slot is connected to"
_COMMAND = "the firmware has no console command {}"


@unique
class Ability(IntEnum):
    """Whether the firmware can give a proof; MAYBE: the build does not show it. A missing proof is a fault if YES."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True)
class Proof:
    """Whether a unit can give one proof, and if not for certain, *why*."""

    ability: Ability = Ability.YES
    why: str = ""

    @property
    def tried(self) -> bool:
        """Whether the line tries to get this proof."""
        return self.ability is not Ability.NO

    @property
    def required(self) -> bool:
        """Whether its absence is the unit's fault."""
        return self.ability is Ability.YES


@dataclass(frozen=True)
class Proofs:
    """The proofs that a unit can give: the *log* of its app, the *qr* payload in it, the answers of its console to
    `get-node-id` and `sign-data`, and its signature over a challenge while it is provisioned.

    *commands*: the console receives commands at all. *listens*: the console is read, for symptoms too if the app has no
    log. *warning*: the slot is not connected to the port that the console is on, which is not a limit of the firmware.
    """

    log: Proof
    qr: Proof
    node_id: Proof
    signature: Proof
    challenge: Proof
    commands: Proof
    listens: bool
    warning: str = ""

    @property
    def unclaimed(self) -> Proofs:
        """The proofs of units whose node id and key are made later, by claiming."""
        none = Proof(Ability.NO, "a unit has no node id and key before it is claimed")
        return replace(self, node_id=none, signature=none, challenge=none)

    def lines(self, *, provision: bool, cloud: CloudProof = CloudProof.OFF) -> Iterator[str]:
        """Yield for the operator what is proven, tried and skipped; *provision*: the run has the step; *cloud*: what
        its step `cloud` demands, if it has one."""
        session = Proof() if provision else Proof(Ability.NO, "no step provision")
        named = {
            "boot log": self.log,
            "QR payload": self.qr,
            "console node id": self.node_id,
            "console signature": self.signature,
            "provisioning session": session,
            "challenge": min(session, self.challenge, key=lambda proof: proof.ability),
        }
        if cloud is not CloudProof.OFF:
            named["connection to the broker"] = Proof() if cloud is CloudProof.WITNESS else self.log
        by_ability = {one: [name for name, proof in named.items() if proof.ability is one] for one in Ability}
        yield f"each unit proves: {', '.join(by_ability[Ability.YES]) or 'nothing for certain'}"
        if tried := by_ability[Ability.MAYBE]:
            yield f"tried, since the build does not show it: {', '.join(tried)}"
        skipped: dict[str, list[str]] = {}
        for name in by_ability[Ability.NO]:
            skipped.setdefault(named[name].why, []).append(name)
        for why, names in skipped.items():
            yield f"skipped: {', '.join(names)} ({why})"


def proofs_of(policy: VerifyPolicy, built: BuildConfig, own_usb: bool | None) -> Proofs:
    """Return what the product's *policy* and the facts of the release allow.

    *own_usb*: the slot's port is the chip's own USB; None if the host cannot know, as of a port on the network. Raise
    InputError if the policy requires what the firmware cannot do.
    """
    able, mode = _able(built, own_usb), policy.console
    off = Proof(Ability.NO, f'[verify] console = "{mode.value}"')
    match mode:
        case ConsoleMode.AUTO:
            return able
        case ConsoleMode.NONE:
            return replace(able, log=off, qr=off, node_id=off, signature=off, commands=off, listens=False, warning="")
        case ConsoleMode.LOG:
            return replace(able, log=_required(mode, able.log), node_id=off, signature=off)
        case ConsoleMode.FULL:
            log, node_id, signature = (_required(mode, proof) for proof in (able.log, able.node_id, able.signature))
            return replace(able, log=log, node_id=node_id, signature=signature)


def console_baud(policy: VerifyPolicy, built: BuildConfig) -> int:
    """Return the rate of the console in bits per second; if the firmware does not print there, that of the ROM."""
    told = None if built.console in (ConsolePort.NONE, ConsolePort.OTHER_UART) else built.console_baud
    return policy.console_baud or told or ROM_BAUD


def _required(mode: ConsoleMode, proof: Proof) -> Proof:
    """Return the certain proof. Raise InputError if the firmware cannot give it."""
    if not proof.tried:
        raise InputError(
            f'the product has console = "{mode.value}", but {proof.why}',
            where="product.toml: [verify] console",
            hint='set console = "auto", or build the firmware with it',
            cause="config-mismatch",
        )
    return Proof()


def _able(built: BuildConfig, own_usb: bool | None) -> Proofs:
    """Return what the firmware can do."""
    output, level = _output(built, own_usb), _level(built.log_level)
    commands = _weakest(output, _input(built, own_usb))
    log = _weakest(output, level)
    return Proofs(
        log=log,
        qr=_weakest(log, _has(built.prints_qr, "the firmware does not print its QR payload")),
        node_id=_weakest(commands, _has(built.get_node_id, _COMMAND.format("get-node-id"))),
        signature=_weakest(commands, _has(built.sign_data, _COMMAND.format("sign-data")), level),
        challenge=_has(built.challenge_response, "the firmware has no challenge-response"),
        commands=commands,
        listens=True,
        warning=output.why if _miswired(built.console, own_usb) else "",
    )


def _weakest(*proofs: Proof) -> Proof:
    return min(proofs, key=lambda proof: proof.ability)


def _has(fact: bool | None, why_not: str) -> Proof:
    if fact is None:
        return Proof(Ability.MAYBE, "the build does not show it")
    return Proof() if fact else Proof(Ability.NO, why_not)


def _level(level: int | None) -> Proof:
    if level is None:
        return Proof(Ability.MAYBE, "the build does not show its log level")
    return Proof() if level >= _INFO else Proof(Ability.NO, f"the firmware has CONFIG_LOG_DEFAULT_LEVEL {level}")


def _output(built: BuildConfig, own_usb: bool | None) -> Proof:
    """Return whether what the firmware prints reaches a slot."""
    match built.console:
        case None:
            return Proof(Ability.MAYBE, "the build does not show its console")
        case ConsolePort.USB if own_usb is None:
            return Proof(Ability.MAYBE, "the firmware's console is on the chip's USB, and the slot may not be")
        case ConsolePort.USB if not own_usb:
            return Proof(Ability.NO, "the firmware's console is on the chip's USB, not on this slot's port")
        case ConsolePort.USB:
            return Proof()
        case _ if own_usb:  # ESP_CONSOLE_SECONDARY copies the output there, unless it is off
            return Proof(Ability.MAYBE, _BESIDE_USB)
        case ConsolePort.NONE:
            return Proof(Ability.NO, "the firmware has no console (CONFIG_ESP_CONSOLE_NONE)")
        case ConsolePort.OTHER_UART:
            return Proof(Ability.NO, "the firmware's console is not on UART0")
    return Proof()


def _miswired(console: ConsolePort | None, own_usb: bool | None) -> bool:
    on_uart = console in (ConsolePort.UART0, ConsolePort.OTHER_UART)
    return not own_usb if console is ConsolePort.USB else bool(own_usb) and on_uart


def _input(built: BuildConfig, own_usb: bool | None) -> Proof:
    """Return whether a slot's commands reach a console: the secondary one has no input, and an app may have none."""
    if own_usb and built.console not in (None, ConsolePort.USB):
        return Proof(Ability.NO, _BESIDE_USB)
    if built.get_node_id is False and built.sign_data is False:
        return Proof(Ability.NO, "the firmware has no console commands")
    return Proof()


def refuse_without_proof(proofs: Proofs, *, provisioning: bool) -> None:
    """Raise InputError if nothing would prove which unit it is; *provisioning*: the step `provision` would."""
    console = (proofs.log, proofs.qr, proofs.node_id, proofs.signature)
    if not provisioning and not any(proof.tried for proof in console):
        raise no_proof(proofs.log.why)


def no_proof(why: str) -> InputError:
    """Return the error of a product and a release that leave the identity of a unit unproven."""
    return InputError(
        f"nothing proves which unit it is: {why}, and provisioning does not prove it either",
        where="product.toml: [verify] provision",
        hint="set provision = true, with a security that has a PoP",
        cause="no-proof",
    )
