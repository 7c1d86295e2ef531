"""A fault of virtual hardware by its stable name, with the nearest name as a hint."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from rmfab.errors import InputError, one_line

E = TypeVar("E", bound=Enum)


def named_fault(faults: type[E], name: str, whose: str = "") -> E:
    """Return the member of *faults* with the value *name*. *whose* is for the message: " of a printer".

    Raise InputError with all names.
    """
    names = [str(one.value) for one in faults]
    if name in names:
        return faults(name)
    from difflib import get_close_matches

    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}? The faults are" if close else "use one of"
    raise InputError(f'"{one_line(name)}" is not a fault{whose}', hint=f"{hint} {', '.join(names)}", cause="fault")
