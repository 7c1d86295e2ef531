"""What esptool's errors mean to an operator at the bench."""

from __future__ import annotations

from rmfab.errors import PortError


def explained(address: str, error: Exception) -> PortError:
    """Return the PortError that explains esptool's error to an operator at the bench."""
    text = str(error).split("\nFor troubleshooting", maxsplit=1)[0].strip().replace("\n", " ")
    for phrase, what, hint, cause in _DIAGNOSES:
        if phrase in text:
            return PortError(what, where=address, hint=hint, cause=cause)
    return PortError(
        f"the loader failed: {text}",
        where=address,
        hint="check power and contact, or try a lower baud; the log of the unit contains esptool's output",
        cause="loader-failed",
    )


_DIAGNOSES = (
    (
        "Wrong boot mode detected",
        "the board restarted into its firmware, not into its loader",
        "IO0 (GPIO9 on C3/C6) is not pulled low: check the DTR line, the fixture's needle, a loaded strapping pin",
        "boot-mode",
    ),
    (
        "TX path seems to be down",
        "the board waits in its loader but receives nothing",
        "check the line from the adapter's TX to the board's RX",
        "tx-path",
    ),
    (
        "No serial data received",
        "the board does not answer",
        "check that a board is present, its power and contact, and that RX and TX are not swapped",
        "no-answer",
    ),
    (
        "Serial data stream stopped",
        "the board stopped answering",
        "check power and contact, or try a lower baud",
        "answer-stopped",
    ),
    (
        "Packet content transfer stopped",
        "the board stopped in the middle of an answer",
        "check power and contact, or try a lower baud",
        "answer-stopped",
    ),
    (
        "Invalid head of packet",
        "received garbled data",
        "try a lower baud or a shorter cable; check that nothing else transmits on the line",
        "noise",
    ),
    (
        "Failed to autodetect chip type",
        "esptool does not recognize this chip",
        "check the chip type, and the line for garbled data",
        "chip-unknown",
    ),
)
