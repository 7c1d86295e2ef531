"""The review of a whole source before anything is written: which of its units can be imported, and why not the others.

Names and secrets must be unique in the source and in the ledger. A temporary database on disk records those of the
source; of a PoP it has only the keyed digest that the ledger keeps as well.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence

from rmfab.errors import InputError, printable
from rmfab.exchange.found_unit import BatchSource, FoundUnit
from rmfab.exchange.judge_unit import JudgedUnit, UnitJudge
from rmfab.identity import sec2_verifier
from rmfab.identity.sealed_record import pop_tag
from rmfab.ledger.batches import Taken
from rmfab.product.product import Product
from rmfab.product.vocabulary import Security
from rmfab.secret import Secret

MOST_REFUSED = 10_000
"""A source with more is of the wrong product, or damaged: its review ends there."""
_AT_ONCE = 500
_SHOWN = {
    "serial": "serial",
    "node_id": "node id",
    "certificate_serial": "certificate serial number",
    "pop_tag": "PoP",
    "random_sha256": "`random`",
    "service_name": "service name",
}
_SECRET = ("pop_tag", "random_sha256")
FindTaken = Callable[[Mapping[str, Sequence[str]]], Sequence[Taken]]


class Review:
    """The review of the units of *source* by *judge*. *find_taken* asks the ledger, None if there is none yet; what the
    batch *own* has is that of this import, which continues.

    *refused*: the complaints so far, each with its place. *accepted*: how many units can be imported; *unpaired* of
    them need a sec2 pair, and *awkward* have a PoP that Espressif's Python clients cannot verify.
    """

    def __init__(
        self,
        judge: UnitJudge,
        product: Product,
        unique_key: Secret[bytes],
        find_taken: FindTaken | None,
        own: str | None,
    ) -> None:
        self._judge = judge
        self._provisioning = product.provisioning
        self._unique_key = unique_key
        self._find_taken = find_taken
        self._own = own
        self._seen = sqlite3.connect("")
        self._seen.execute("CREATE TABLE seen (name TEXT, value TEXT, place TEXT, PRIMARY KEY (name, value))")
        self._waiting: dict[int, tuple[str, dict[str, str]]] = {}
        self._left_out: set[int] = set()
        self.refused: list[InputError] = []
        self.accepted = self.unpaired = self.awkward = 0

    def close(self) -> None:
        """Remove the database."""
        self._seen.close()

    def look_through(self, source: BatchSource) -> Iterator[int]:
        """Judge every unit; yield how many were judged so far. Raise InputError as `BatchSource.units`."""
        number = -1
        for number, unit in enumerate(source.units()):
            try:
                self._take(number, unit)
            except InputError as error:
                self._refuse(number, error)
            if len(self._waiting) >= _AT_ONCE:
                self._ask_ledger()
                yield number + 1
            if len(self.refused) >= MOST_REFUSED:
                break
        self._ask_ledger()
        yield number + 1

    def accepted_units(self, source: BatchSource) -> Iterator[FoundUnit]:
        """Yield again the units of *source* that were accepted. Raise InputError if one has changed since."""
        for number, unit in enumerate(source.units()):
            if number in self._left_out:
                continue
            if isinstance(unit, InputError):
                raise unit
            yield unit

    def _take(self, number: int, unit: FoundUnit | InputError) -> None:
        """Judge a unit alone and among those before it. Raise InputError."""
        if isinstance(unit, InputError):
            raise unit
        judged = judged_at(self._judge, unit)
        names = self._names(judged)
        self._refuse_twice(names, unit.where)
        self._waiting[number] = unit.where, names
        self.accepted += 1
        drawn = judged.drawn
        self.unpaired += self._provisioning.security is Security.SRP6A and drawn.sec2_salt is None
        self.awkward += not sec2_verifier.is_usable(self._provisioning.username, drawn.pop)

    def _names(self, unit: JudgedUnit) -> dict[str, str]:
        certified, drawn = unit.certified, unit.drawn
        names = {} if unit.serial is None else {"serial": unit.serial}
        return names | {
            "node_id": certified.node_id,
            "certificate_serial": f"{certified.serial_number:x}",
            "pop_tag": pop_tag(self._unique_key, drawn.pop),
            "random_sha256": hashlib.sha256(drawn.random.reveal()).hexdigest(),
            "service_name": drawn.service_name,
        }

    def _refuse_twice(self, names: Mapping[str, str], where: str) -> None:
        """Record *names*. Raise InputError, and record nothing, if an earlier unit has one of them."""
        for name, value in names.items():
            query = "SELECT place FROM seen WHERE name = ? AND value = ?"
            earlier = self._seen.execute(query, (name, value)).fetchone()
            if earlier is not None:
                raise InputError(
                    f"{_quoted(name, value)} is already that of {earlier[0]}",
                    where=where,
                    hint="import one of the two as a batch of its own" if name == "service_name" else None,
                    cause="taken",
                )
        rows = ((name, value, printable(where)) for name, value in names.items())
        self._seen.executemany("INSERT INTO seen VALUES (?, ?, ?)", rows)

    def _ask_ledger(self) -> None:
        """Refuse those of the waiting units of which the ledger has a name or secret already."""
        waiting, self._waiting = self._waiting, {}
        if self._find_taken is None or not waiting:
            return
        columns: dict[str, dict[str, int]] = {}
        for number, (_, names) in waiting.items():
            for name, value in names.items():
                if name != "service_name":  # unique only within a batch
                    columns.setdefault(name, {})[value] = number
        asked = {name: list(values) for name, values in columns.items()}
        for taken in self._find_taken(asked):
            number = columns[taken.column][taken.value]
            if taken.batch == self._own or number in self._left_out:
                continue
            what = f"{_quoted(taken.column, taken.value)} is already in batch {taken.batch}"
            self._refuse(number, InputError(what, where=waiting[number][0], cause="taken"))
            self.accepted -= 1

    def _refuse(self, number: int, error: InputError) -> None:
        self._left_out.add(number)
        self.refused.append(error)


def judged_at(judge: UnitJudge, unit: FoundUnit) -> JudgedUnit:
    """Return *unit* as *judge* judges it. Raise InputError with its place."""
    try:
        return judge.judge(unit)
    except InputError as error:
        raise InputError(error.what, where=unit.where, hint=error.hint, cause=error.cause) from None


def _quoted(name: str, value: str) -> str:
    return f"the {_SHOWN[name]}" if name in _SECRET else f'{_SHOWN[name]} "{value}"'
