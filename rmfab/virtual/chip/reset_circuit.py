"""The auto-reset circuit of a development board: DTR and RTS, two transistors, EN and the boot pin.

EN is low while RTS is asserted and DTR is not. A capacitor holds EN, so the boot pin counts at the moment RTS is
released: a host on a network changes DTR and RTS tens of milliseconds apart. Source of the sequences: esptool 5.6
`reset.py`, ClassicReset and HardReset.
"""

from __future__ import annotations

from collections.abc import Callable

from rmfab.virtual.chip.uart import Cancellable, Timeline

# While both lines are asserted after a pulse, EN rises slowly: longer than the 50 ms and more between DTR and RTS of
# the classic sequence over RFC 2217, so that the chip samples the boot pin only after RTS is released.
_EN_RISE_SECONDS = 0.4


class ResetCircuit:
    """The circuit between the host's lines and the chip.

    *on_hold* is called when EN goes low, *on_release* when it rises, with whether the boot pin is pulled low.
    """

    def __init__(self, timeline: Timeline, on_hold: Callable[[], None], on_release: Callable[[bool], None]) -> None:
        self._timeline = timeline
        self._on_hold = on_hold
        self._on_release = on_release
        self._rising: Cancellable | None = None
        self.dtr = False
        self.rts = False
        self.held = False

    @property
    def boot_pin_low(self) -> bool:
        """Whether the host pulls the boot pin low: DTR asserted, RTS not."""
        return self.dtr and not self.rts

    def set_dtr(self, asserted: bool) -> None:
        """Drive DTR as the host does."""
        self.dtr = asserted
        self._settle()

    def set_rts(self, asserted: bool) -> None:
        """Drive RTS as the host does."""
        self.rts = asserted
        self._settle()

    def drop(self) -> None:
        """Release both lines at once, as a host does that closes its port."""
        self.dtr = self.rts = False
        self._settle()

    def _settle(self) -> None:
        self._stop_rising()
        if self.rts and not self.dtr:
            if not self.held:
                self.held = True
                self._on_hold()
        elif self.held and not self.rts:
            self._release()
        elif self.held:
            self._rising = self._timeline.call_at(self._timeline.time() + _EN_RISE_SECONDS, self._release)

    def _release(self) -> None:
        self._stop_rising()
        self.held = False
        self._on_release(self.boot_pin_low)

    def _stop_rising(self) -> None:
        if self._rising is not None:
            self._rising.cancel()
            self._rising = None
