"""How long each step may take in all, however promptly a board answers each of its commands. Pure.

The limits are several times what a good board needs over a slow link. They end a board that holds its slot by being
just in time again and again.
"""

from __future__ import annotations

from rmfab.board.port import ROM_BAUD
from rmfab.errors import StationError
from rmfab.line.events import Step
from rmfab.line.job import Job
from rmfab.release.plan import erased_partitions

_LOADER_SECONDS = 90.0  # two restarts, five bauds, and a ledger that a different station has locked for half a minute
_IDENTIFY_SECONDS = 60.0  # two commands, each asked twice with 5 s for an answer, and again if one was garbled
_BROKER_SECONDS = 30.0  # twice an answer of the broker to the witness, which has 10 s each
_MB_SECONDS = 40.0  # the longest that esptool 5.6 gives a chip to erase and write 1 MB (ERASE_WRITE_TIMEOUT_PER_MB)
_BITS_PER_BYTE = 10  # with start and stop bit


class StepOverdue(StationError):
    """The step took too long in all; a board, a link or a fixture is too slow."""

    cause = "step-timeout"

    def __init__(self, step: Step, seconds: float, where: str) -> None:
        super().__init__(
            f"the step {step} took more than {seconds:.0f} s",
            where=where,
            hint="check power, contact and baud; if only this board is so slow, set it aside",
        )


def limit_of(step: Step, job: Job) -> float | None:
    """Return the limit of *step* in seconds.

    None if the step keeps its own (`provision` and `recheck`, whose radio is shared, and `cloud`), waits for the
    operator (`claim`, for a code; `label`, for the printer and a scan).
    """
    policy = job.product.verify
    boots = 2 * (policy.boot_timeout + policy.settle)
    match step:
        case Step.CLAIM if job.codes is not None:
            return None
        case Step.DETECT | Step.CLAIM:
            return _LOADER_SECONDS
        case Step.FLASH | Step.READBACK:
            return _LOADER_SECONDS + _sending(job) + _handling(job)
        case Step.BOOT:
            return _LOADER_SECONDS + boots
        case Step.IDENTIFY:
            return _IDENTIFY_SECONDS
        case Step.CLOUD:
            return policy.cloud_timeout + _BROKER_SECONDS
        case Step.RESET:
            return _LOADER_SECONDS + boots + _handling(job)
        case Step.UPDATE | Step.BACK if job.update is not None:
            return job.update.timeout + 2 * (_LOADER_SECONDS + boots) + _handling(job)
        case _:
            return None


def _sending(job: Job) -> float:
    """Return the time for all parts at the slowest baud, twice: a lost block starts a part again."""
    parts = job.firmware.regions if job.firmware else ()
    return 2 * sum(part.compressed for part in parts) * _BITS_PER_BYTE / ROM_BAUD


def _handling(job: Job) -> float:
    """Return the time that the chip may take for everything that is written, erased or compared."""
    if job.firmware is None:
        return 0.0
    erased = erased_partitions(job.firmware.release, job.product.factory)
    octets = sum(part.size for part in job.firmware.release.parts) + sum(row.size for row in erased)
    return _MB_SECONDS * octets / (1 << 20)
