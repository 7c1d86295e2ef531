"""Handshakes of security 2 against their three modular exponentiations alone, and the whole check of a unit.

    python -m benchmarks.handshakes [--count N]

One core, only the client's side: a recording answers for the unit. The floor is g^a (256 bits), g^x (512 bits) and (B -
kv)^(a + ux) (768 to 1,024 bits) modulo the 3072-bit prime with gmpy2, without hashes or messages. The check is session,
key and wrong PoP; its target is half a second of computing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec
from gmpy2 import powmod

from rmfab.identity.sec2_verifier import GENERATOR, PRIME
from rmfab.identity.unit_signature import signed_by
from rmfab.product.product import Provisioning
from rmfab.product.vocabulary import Credentials
from rmfab.provisioning.check import check_key, check_session, check_wrong_pop
from rmfab.provisioning.failures import RequestRefused
from rmfab.provisioning.security import Srp6a
from rmfab.secret import Secret
from tests.provisioning.device import Device
from tests.provisioning.test_check import certificate

ROUNDS = 5
TARGET = 1.25
STEP_SECONDS = 0.5
POP = Secret("abcd1234")


class Recording:
    """A unit's answers, obtained once from the unit and after that from memory."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._answers: list[bytes | None] = []
        self._next = 0

    def exchange(self, endpoint: str, data: bytes) -> bytes:
        """Return the next answer. Raise RequestRefused if the unit refused."""
        if self._next == len(self._answers):
            self._answers.append(self._device.post(endpoint, data))
        answer = self._answers[self._next]
        self._next += 1
        if answer is None:
            raise RequestRefused("closed")
        return answer

    def close(self) -> None:
        """Start again from the first answer."""
        self._next = 0


def main(argv: list[str] | None = None) -> int:
    """Print floor, handshake, ratio and the whole check; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="handshakes for each side (200)")
    part = max(1, parser.parse_args(argv).count // ROUNDS)
    link = Recording(Device())
    scheme = Srp6a("wifiprov", POP, 1, fixed)
    handshake(scheme, link)
    floors, ours = [], []
    for _ in range(ROUNDS):
        floors.append(timed(exponentiations, part))
        ours.append(timed(lambda: handshake(scheme, link), part))
    floor, mine = statistics.median(floors), statistics.median(ours)
    print(f"floor: three exponentiations by gmpy2   {floor * 1e3:7.3f} ms  {1 / floor:7.0f} per second and core")
    print(f"the same with Python's pow              {timed(plain_exponentiations, 3) * 1e3:7.3f} ms")
    print(f"rmfab handshake, security 2             {mine * 1e3:7.3f} ms  {1 / mine:7.0f} per second and core")
    print(f"ratio                                   {mine / floor:7.2f}x (target {TARGET}x)")
    step = check_seconds()
    print(
        f"session, key and wrong PoP of a unit    {step * 1e3:7.3f} ms of computing (target {STEP_SECONDS * 1e3:g} ms)"
    )
    return int(mine / floor > TARGET or step > STEP_SECONDS)


def handshake(scheme: Srp6a, link: Recording) -> None:
    """Run one handshake, from the first byte to the session key."""
    scheme.handshake(link)
    link.close()


def exponentiations() -> None:
    """Compute the exponentiations that every client of SRP6a needs."""
    for base, exponent in _POWERS:
        powmod(base, exponent, PRIME)


def plain_exponentiations() -> None:
    """Compute the same without gmpy2."""
    for base, exponent in _POWERS:
        pow(base, exponent, PRIME)


def check_seconds() -> float:
    """Return the CPU seconds of this process for one check of a unit, without the unit's own computing."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = certificate(key)
    good, other = Recording(Device(key=key)), Recording(Device(key=key))

    def check() -> None:
        session = check_session(good, Provisioning(), Credentials.CERTIFICATE, POP, fixed)
        check_key(session, "node-1", pem, fixed)
        check_wrong_pop(other, Provisioning(), POP, fixed)
        good.close()
        other.close()

    signed_by(pem, b"", b"")
    check()
    before = time.process_time()
    for _ in range(ROUNDS):
        check()
    return (time.process_time() - before) / ROUNDS


def fixed(size: int) -> bytes:
    """Return the same bytes each time, so that a recording can answer them."""
    return hashlib.shake_128(b"benchmark").digest(size)


def timed(work: Callable[[], object], times: int) -> float:
    """Return the seconds per call."""
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times


def _number(size: int) -> int:
    return int.from_bytes(os.urandom(size), "big")


_POWERS = ((GENERATOR, _number(32)), (GENERATOR, _number(64)), (_number(384) % PRIME, _number(64) * _number(64)))

if __name__ == "__main__":
    sys.exit(main())
