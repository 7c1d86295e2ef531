"""Pages of the documentation as values: their fenced blocks, the commands in them, and what a test does with each.

A comment directly above a block says what the test does with it:

<!-- run -->            run the commands in order, in the page's scratch folder, and compare the output that is shown
<!-- serve -->          start the command, compare, and leave it running until the page ends
<!-- screen -->         start the command on a terminal, and leave it running until the page ends
<!-- file: NAME -->     write the block to the file NAME
<!-- hardware -->       nothing: it needs a board, a radio or an HSM
<!-- network -->        nothing: it installs something, or needs a service

Two comments say what happens meanwhile, at the last screen:

<!-- until: WORDS -->   wait until these words are on the screen
<!-- keys: F5 F10 -->   press these keys

Three comments prepare what a reader has at that point:

<!-- firmware: ~/build lamp 1.4.0 -->   the build folder of a firmware: path, project, version
<!-- boards: --count 2 -->              virtual boards (options of `rmfab board`) on /dev/ttyUSB0, /dev/ttyUSB1 …
<!-- already: COMMAND -->               what was done before, perhaps by someone else, in the reader's home folder
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.terminal import ROOT

DOCS = ROOT / "docs"
REFERENCE = "commands.md"
PAGES = (ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if path.name != REFERENCE))

_COMMENT = re.compile(
    r"\s*<!-- (?P<word>run|serve|screen|file|hardware|network|boards|firmware|already|until|keys)"
    r"(?:: (?P<rest>.*?))? -->\s*"
)
_FENCE = re.compile(r"(?P<indent>\s*)```(?P<language>\w*)\s*")
_STAGES = ("boards", "firmware", "already", "until", "keys")


@dataclass(frozen=True)
class Stage:
    """Something that the reader has, waits for or does: *word* is one of those above, *rest* its arguments."""

    word: str
    rest: str


@dataclass(frozen=True)
class Command:
    """A `$ ` line and the output shown below it. *line* is its number in the page."""

    line: int
    text: str
    output: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A fenced block that starts at *line*. *mark* is the comment above it, empty if there is none."""

    line: int
    language: str
    mark: str
    rest: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """What stands between the fences."""
        return "\n".join(self.lines) + "\n"

    @property
    def commands(self) -> tuple[Command, ...]:
        """Its `$ ` lines, continued while a line ends with a backslash, each with its output."""
        found: list[Command] = []
        continued = False
        for number, line in enumerate(self.lines, self.line + 1):
            last = found[-1] if found else None
            if line.startswith("$ "):
                found.append(Command(number, line[2:], ()))
            elif last is not None and continued:
                found[-1] = Command(last.line, f"{last.text}\n{line}", ())
            elif last is not None:
                found[-1] = Command(last.line, last.text, (*last.output, line))
            continued = line.endswith("\\") and (continued or line.startswith("$ "))
        return tuple(found)


def read_page(path: Path) -> tuple[Stage | Block, ...]:
    """The stages and blocks of a page, in order."""
    return tuple(_items(path.read_text(encoding="utf-8").splitlines()))


def _items(lines: list[str]) -> Iterator[Stage | Block]:
    mark, rest = "", ""
    numbered = iter(enumerate(lines, 1))
    for number, line in numbered:
        if comment := _COMMENT.fullmatch(line):
            word, argument = comment["word"], comment["rest"] or ""
            if word in _STAGES:
                yield Stage(word, argument)
            else:
                mark, rest = word, argument
        elif fence := _FENCE.fullmatch(line):
            inside = _until_fence(numbered, len(fence["indent"]))
            yield Block(number, fence["language"], mark, rest, tuple(inside))
            mark, rest = "", ""
        elif line.strip():
            assert not mark, f"line {number}: the comment `{mark}` has no block below it"


def _until_fence(numbered: Iterator[tuple[int, str]], indent: int) -> Iterator[str]:
    for _, line in numbered:
        if line.strip() == "```":
            return
        yield line[indent:] if not line[:indent].strip() else line
