"""What each key, scan and answer does at the operator's desk."""

from __future__ import annotations

from dataclasses import replace

from rmfab.language.speech import marked
from rmfab.operations.terminal import Scan
from rmfab.screen.desk import Body, Desk, Panel
from rmfab.screen.draw_wall import wall_grid
from rmfab.screen.scans import BadgeScan, Code, CodeScan, NameScan, PayloadScan, Scanned, parse_scan
from rmfab.screen.screen_terminal import Answers
from rmfab.screen.tile import Look, Tile

_BODIES = {"f1": Body.HELP, "f2": Body.DETAIL, "f3": Body.NUMBERS}
_MOVES = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_YES, _NO = ("y", "yes", "是"), ("n", "no", "否")
_SAME_ORDER_SECONDS = 2.0
"""The same order within this time is the same one: a key that is held repeats itself, and so may a scanner."""
_NOT_HERE = marked("{name} is no unit or slot of this station")
_MEANT = marked("there is no {name} here; did you mean {meant}?")


class Keys:
    """The keys of *desk*."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._now = 0.0
        self._reprinted = ("", "", 0.0)

    def press(self, key: str, letter: str | None, now: float, panel: Panel) -> bool:
        """Do what *key* asks for; *letter* is what it types. Return whether the screen ends."""
        desk, self._now = self._desk, now
        if key == "f10" or (desk.over is not None and key == "enter"):
            return self._end()
        if key == "enter":
            self._enter(panel)
        elif key == "backspace":
            desk.scan.erase()
        elif key == "escape":
            self._back()
        elif key == "space" and not desk.scan.text and not desk.questions:
            self._acknowledge()
        elif letter is not None:
            desk.scan.type(letter, now)
        else:
            self._command(key, panel)
        return False

    def rested(self, now: float, panel: Panel) -> None:
        """Note that no key has come for a moment: a scan without Enter is complete, and a single `y` was an answer."""
        desk, self._now = self._desk, now
        if not desk.scan.rested(now):
            return
        asked = desk.questions[0] if desk.questions else None
        single = asked is not None and asked.kind is Answers.YES_OR_NO and desk.scan.text.lower() in (*_YES, *_NO)
        if single or (asked is None and desk.scan.scanned):
            self._enter(panel)

    def _enter(self, panel: Panel) -> None:
        desk = self._desk
        text = desk.scan.take()
        if desk.questions:
            self._answer(text)
        elif text.strip():
            self._scanned(text, parse_scan(text))
        else:
            self._command("f2", panel)

    def _answer(self, text: str) -> None:
        """Answer the question in front with *text*; a yes-or-no question waits for one of them."""
        desk = self._desk
        asked = desk.questions[0]
        if asked.kind is Answers.YES_OR_NO:
            word = text.strip().lower()
            if word not in (*_YES, *_NO):
                return
            text = "y" if word in _YES else "n"
        desk.questions.popleft()
        asked.answer(text)

    def _back(self) -> None:
        desk = self._desk
        if desk.scan.text:
            desk.scan.take()
        elif desk.questions and desk.questions[0].kind is Answers.YES_OR_NO:
            self._answer("n")
        else:
            desk.body = Body.WALL

    def _command(self, key: str, panel: Panel) -> None:
        desk = self._desk
        match key:
            case "f1" | "f2" | "f3":
                desk.body = Body.WALL if desk.body is _BODIES[key] else _BODIES[key]
                desk.offset = 0
            case "f4" if not desk.only_ascii:
                desk.language = desk.language.next
            case "f4":
                desk.note(marked("--ascii has no other language than English"))
            case "f5":
                self._acknowledge()
            case "f6":
                self._code(Code.ABORT, desk.chosen)
            case "f7":
                self._unlock(desk.chosen)
            case "f8":
                self._code(Code.START, desk.chosen)
            case "f9":
                self._code(Code.REPRINT, desk.chosen)
            case _:
                self._move(key, panel)

    def _move(self, key: str, panel: Panel) -> None:
        """Choose a different slot, or scroll what is shown instead of the slots."""
        desk = self._desk
        if desk.body is not Body.WALL and key in ("up", "down", "pageup", "pagedown"):
            step = 1 if key in ("up", "down") else panel.body - 1
            desk.offset = max(0, desk.offset + (step if key in ("down", "pagedown") else -step))
            return
        slots = list(desk.wall.tiles)
        grid = wall_grid(len(slots), panel.width, panel.body)
        across, down = _MOVES.get(key, (0, 0))
        pages = {"pagedown": grid.tiles, "pageup": -grid.tiles, "tab": 1, "shift+tab": -1}.get(key, 0)
        at = slots.index(desk.chosen) + across + down * grid.columns + pages
        if key in ("home", "end"):
            at = 0 if key == "home" else len(slots) - 1
        desk.chosen = slots[at % len(slots) if "tab" in key else max(0, min(at, len(slots) - 1))]

    def _acknowledge(self, slot: str | None = None) -> None:
        """Acknowledge the FAIL of *slot*, else of the chosen one, else of the first that waits for it."""
        desk = self._desk
        waiting = desk.wall.waiting_for_operator
        slot = slot or (desk.chosen if desk.chosen in waiting else next(iter(waiting), None))
        if slot is None:
            desk.note(marked("no unit waits to be acknowledged"))
            return
        desk.chosen = slot
        if desk.wall.acknowledge(slot):
            desk.hands.acknowledge(slot)

    def _end(self) -> bool:
        """End: at once if nothing is at work, else when the units are done; the second time, abort them."""
        desk = self._desk
        if desk.over is not None:
            return True
        desk.ending += 1
        if desk.ending == 1 and (count := desk.wall.at_work):
            desk.note(marked("ends when {count} units are done; F10 again aborts them"), "warning", count=count)
            desk.hands.finish()
        elif desk.ending == 1:
            desk.hands.finish()
        else:
            desk.hands.stop()
        return False

    # Scans

    def _scanned(self, text: str, scanned: Scanned) -> None:
        desk = self._desk
        match scanned:
            case CodeScan():
                slot = desk.chosen if scanned.slot is None else desk.wall.slot_of(scanned.slot)
                if slot is None:
                    self._not_here(scanned.slot)
                else:
                    self._code(scanned.code, slot)
            case BadgeScan():
                self._change_operator(scanned.operator)
            case PayloadScan():
                self._named(text, desk.hands.unit_of(scanned.text), None)
            case NameScan():
                self._named(text, scanned.name, scanned.name)

    def _unlock(self, slot: str) -> None:
        text = marked("{slot} is in service again") if self._desk.hands.unlock(slot) else marked("{slot} is not locked")
        if self._desk.wall.tiles[slot].disabled:
            text = marked("{slot} is disabled, not locked: use `rmfab slot enable {slot}`")
        self._desk.note(text, slot=slot)

    def _change_operator(self, operator: str) -> None:
        desk = self._desk
        if why := desk.hands.enter(operator):
            desk.note(why, "warning")
            return
        desk.around = replace(desk.around, operator=operator)
        desk.note(marked("{name} works here now"), name=operator)

    def _named(self, text: str, name: str | None, shown: str | None) -> None:
        """Go to the slot that *name* names. A code that the line waits for is for the line, unless it acknowledges."""
        desk = self._desk
        slot = None if name is None else desk.wall.slot_of(name)
        is_unit = slot is not None and name is not None and desk.wall.tiles[slot].is_unit(name)
        if is_unit and slot in desk.wall.waiting_for_operator:
            self._acknowledge(slot)
        elif desk.terminal.wants_input:
            desk.terminal.feed(Scan(text))
            desk.chosen = slot or desk.chosen
        elif slot is None:
            self._not_here(shown)
        else:
            desk.chosen = slot

    def _not_here(self, name: str | None) -> None:
        """Say that nothing here is called *name*, and which slot may be meant; None: a code that is not shown."""
        desk = self._desk
        if name is not None and (meant := desk.wall.nearest(name)):
            desk.note(_MEANT, "warning", name=name, meant=meant)
        else:
            desk.note(_NOT_HERE, "warning", name=name or desk.speech.tr("this code"))

    def _code(self, code: Code, slot: str) -> None:
        desk = self._desk
        desk.chosen = slot
        tile = desk.wall.tiles[slot]
        match code:
            case Code.OK:
                self._acknowledge(slot)
            case Code.ABORT if not desk.hands.abort(slot):
                desk.note(marked("{slot}: no unit is at work"), slot=slot)
            case Code.START | Code.RETRY if tile.look is Look.LOCKED:
                why = desk.speech.said(tile.locked or "")
                text = marked("{slot} is disabled: {why}") if tile.disabled else marked("{slot} is locked: {why}")
                desk.note(text, "warning", slot=slot, why=why)
            case Code.START | Code.RETRY if tile.look is Look.WORKING:
                desk.note(marked("{slot}: a unit is at work already"), slot=slot)
            case Code.START | Code.RETRY:
                desk.wall.acknowledge(slot)
                desk.hands.start(slot)
                desk.note(marked("{slot} starts as soon as its board answers"), slot=slot)
            case Code.REPRINT:
                self._reprint(slot, tile)

    def _reprint(self, slot: str, tile: Tile) -> None:
        """Print the label of the unit on *slot* again: once for a key that is held, or a code that is read twice."""
        desk, now = self._desk, self._now
        last, self._reprinted = self._reprinted, (slot, tile.unit, now)
        if last[:2] == (slot, tile.unit) and now - last[2] < _SAME_ORDER_SECONDS:
            return
        if tile.look is Look.WORKING:
            desk.note(marked("{slot}: a unit is at work already"), slot=slot)
        elif not tile.unit or tile.serial is None:
            desk.note(marked("{slot}: no unit here, so no label is printed"), "warning", slot=slot)
        elif why := desk.hands.reprint(slot, tile.serial):
            desk.note(why, "warning", serial=tile.serial)
        else:
            desk.note(marked("{serial}: its label is printed again"), serial=tile.serial)
