"""The rule for scanned codes: prefix, number of digits, and check digit. Pure.

`[product] scan = { prefix = "X", digits = 9, check = "luhn" }`; each is optional. The code is the prefix, then *digits*
decimal digits, the check digit among them; without `digits`, any characters of a serial. The check:

| check | over | check digit |
|---|---|---|
| luhn | the digits after the prefix | the last one; ISO/IEC 7812-1 annex B, as on cards and in an IMEI |
| mod10 | the digits after the prefix | the last one, weights 3 and 1 from the right; GS1 General Specifications 7.9 |
| mod43 | all characters, also the prefix | the last one; Code 39, ISO/IEC 16388 annex A |

The check character of mod43 may be one that no serial has, such as a space or `$`, so it is checked and left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, unique

from rmfab.errors import InputError

_CODE_39 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%"
"""The characters of Code 39 in the order of their values."""
_DIGITS = re.compile("[0-9]+")
_SHOWN = 64


@unique
class CodeCheck(Enum):
    """How the last character of a code checks the others."""

    LUHN = "luhn"
    MOD_10 = "mod10"
    MOD_43 = "mod43"


@dataclass(frozen=True)
class ScanRule:
    """The *prefix* of every code, the number of *digits* after it (None: other characters, too), and the *check*."""

    prefix: str = ""
    digits: int | None = None
    check: CodeCheck | None = None

    def code(self, scanned: str) -> str:
        """Return the code in what a scanner sent, without white space around it, and without a mod43 check character.

        Raise InputError (cause `bad-code`) if it breaks the rule.
        """
        code = scanned.strip("\r\n\t" if self.check is CodeCheck.MOD_43 else None)
        if not code:
            raise _bad("the code is empty")
        if self.check is CodeCheck.MOD_43:
            self._judge_check(code, _mod_43(code))
            code = code[:-1]
        self.judge(code)
        return code

    def judge(self, code: str) -> None:
        """Raise InputError (cause `bad-code`) if *code*, without a mod43 check character, breaks the rule."""
        if not code.startswith(self.prefix):
            raise _bad(f'the code "{code[:_SHOWN]}" does not begin with "{self.prefix}"')
        rest = code.removeprefix(self.prefix)
        if self.digits is not None and (len(rest) != self.digits or _DIGITS.fullmatch(rest) is None):
            what = f'the code "{code[:_SHOWN]}" does not have {self.digits} digits'
            raise _bad(f'{what} after "{self.prefix}"' if self.prefix else what)
        if self.check in (CodeCheck.LUHN, CodeCheck.MOD_10):
            if _DIGITS.fullmatch(rest) is None or len(rest) < 2:
                raise _bad(f'the code "{code[:_SHOWN]}" has more than digits to check')
            self._judge_check(code, _luhn(rest) if self.check is CodeCheck.LUHN else _mod_10(rest))

    def _judge_check(self, code: str, good: bool) -> None:
        if not good and self.check is not None:
            what = f'the check digit of the code "{code[:_SHOWN]}" is wrong ({self.check.value})'
            raise _bad(what, "scan it again; if it was typed, compare every character")


def _bad(what: str, hint: str = "scan the code on the board") -> InputError:
    return InputError(what, hint=hint, cause="bad-code")


def _luhn(digits: str) -> bool:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _mod_10(digits: str) -> bool:
    return sum(int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(reversed(digits))) % 10 == 0


def _mod_43(code: str) -> bool:
    values = [_CODE_39.find(character) for character in code]
    return len(values) > 1 and -1 not in values and sum(values[:-1]) % 43 == values[-1]
