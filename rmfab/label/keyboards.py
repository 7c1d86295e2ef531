"""Keyboards that a hand scanner may be taken for: what its keys become if the host has a different layout.

A scanner types as a keyboard with the US layout. If the host expects a different one, it shows the characters of that
one for the same keys. Each layout is the keys of the US layout in order, without Shift and then with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

_US = r"""`1234567890-=qwertyuiop[]\asdfghjkl;'zxcvbnm,./""" + r"""~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:"ZXCVBNM<>?"""


@dataclass(frozen=True)
class Keyboard:
    """A keyboard layout: *keys* in the order of `_US`. *dead* are keys that print nothing until the next one."""

    name: str
    keys: str
    dead: str = ""

    def __post_init__(self) -> None:
        if len(self.keys) != len(_US):
            raise ValueError(f"the layout {self.name} has {len(self.keys)} keys, not {len(_US)}")

    def typed(self, text: str) -> str:
        """Return what this layout shows for a *text* typed as on a US keyboard; dead keys show nothing."""
        shown = text.translate(self._shown)
        return "".join(letter for letter in shown if letter not in self.dead)

    def meant(self, text: str) -> str:
        """Return what was typed if this layout shows *text*."""
        return text.translate(self._meant)

    @cached_property
    def _shown(self) -> dict[int, str]:
        return str.maketrans(dict(zip(_US, self.keys, strict=True)))

    @cached_property
    def _meant(self) -> dict[int, str]:
        return str.maketrans(dict(zip(reversed(self.keys), reversed(_US), strict=True)))


KEYBOARDS = (
    Keyboard(
        "German",
        "^1234567890ß´qwertzuiopü+#asdfghjklöäyxcvbnm,.-" + "°!\"§$%&/()=?`QWERTZUIOPÜ*'ASDFGHJKLÖÄYXCVBNM;:_",  # noqa: RUF001
        dead="^´`",  # noqa: RUF001
    ),
    Keyboard(
        "French",
        "²&é\"'(-è_çà)=azertyuiop^$*qsdfghjklmùwxcvbn,;:!" + "³1234567890°+AZERTYUIOP¨£µQSDFGHJKLM%WXCVBN?./§",
        dead="^¨",
    ),
    Keyboard(
        "British",
        "`1234567890-=qwertyuiop[]#asdfghjkl;'zxcvbnm,./" + '¬!"£$%^&*()_+QWERTYUIOP{}~ASDFGHJKL:@ZXCVBNM<>?',
    ),
    Keyboard(
        "Spanish",
        "º1234567890'¡qwertyuiop`+çasdfghjklñ´zxcvbnm,.-" + 'ª!"·$%&/()=?¿QWERTYUIOP^*ÇASDFGHJKLÑ¨ZXCVBNM;:_',  # noqa: RUF001
        dead="`´^¨",  # noqa: RUF001
    ),
    Keyboard(
        "Italian",
        "\\1234567890'ìqwertyuiopè+ùasdfghjklòàzxcvbnm,.-" + '|!"£$%&/()=?^QWERTYUIOPé*§ASDFGHJKLç°ZXCVBNM;:_',
    ),
)


def with_caps_lock(text: str) -> str:
    """Return *text* with the cases of its letters swapped; a letter without two cases stays."""
    return "".join(letter.swapcase() if len(letter.swapcase()) == 1 else letter for letter in text)


def from_input_method(text: str) -> bool:
    """Return whether *text* has letters that only an input method for Chinese, Japanese or Korean types."""
    return any("\u2e80" <= letter <= "\uffef" or letter in "“”‘’…—、。" for letter in text)  # noqa: RUF001
