"""How long a printer may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PrinterPatience:
    """Limits in seconds.

    *connect*: until it accepts a connection; *busy*: while a different client uses it, or older labels are printed;
    *answer*: for the answer to a question; *send*: until it has accepted the bytes of a label; *label*: for
    each label to come out. It is asked every *poll* seconds, and must stay idle for *settle* seconds to be done.
    """

    connect: float = 5.0
    busy: float = 10.0
    answer: float = 4.0
    send: float = 20.0
    label: float = 30.0
    poll: float = 0.1
    settle: float = 0.2
