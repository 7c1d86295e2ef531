"""The pictures of README and docs: what a terminal shows when real commands run. `./dev pictures` renders them.

Every command runs in a pseudo-terminal of its own; pyte keeps its screen, rich draws the screen as SVG. Nothing is
retouched, except that long digests are cut so that lines fit.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardHandle, BoardSpec, serve
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.virtual.faults import FaultCall

DOCS = Path(__file__).parent
_COLUMNS, _ROWS = 118, 60
_SECONDS = 120.0
_HALF_FLASHED_SECONDS = 5.0
_FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_BRIGHT = {"brown": "yellow", "brightblack": "bright_black"}
_CELL = 12.2  # of a character in rich's drawing
_INDENTED = re.compile(
    r'x="(?P<x>[\d.]+)" (?P<y>y="[\d.]+") textLength="(?P<length>[\d.]+)" (?P<clip>clip-path="[^"]*")'
    r">(?P<blanks>(?:&#160;)+)"
)
_PRINTER_DOTS = {203: 3, 300: 2}  # dots per inch, and how much larger the picture is
_LINER, _LINER_GREY = 24, 190
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{40,}")


class Shell:
    """A reader's terminal in *home*: runs commands, and keeps what they show, line by line."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.lines: list[Text] = []
        tools = home / ".bin"
        tools.mkdir()
        (tools / "rmfab").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rmfab "$@"\n')
        (tools / "rmfab").chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RMFAB_")}
        self._variables = kept | {
            "HOME": str(home),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(DOCS.parent),
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
        }

    def silently(self, command: str) -> str:
        """Runs what the reader did earlier; returns its output."""
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self._home,
            env=self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            text=True,
        )
        return done.stdout

    def started(self, command: str) -> subprocess.Popen[str]:
        """Starts a command that goes on; its stdout is a pipe."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self._home,
            env=self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def type(self, command: str, *, really: str | None = None, until: Callable[[str], bool] | None = None) -> None:
        """Types *command* and keeps what it shows; *really* is what runs. With *until* the picture is taken earlier."""
        screen = pyte.Screen(_COLUMNS, _ROWS)
        code = self._run(really or command, screen, until)
        self.lines.append(Text.from_markup(f"[bold green]$ {command.replace('[', chr(92) + '[')}"))
        self.lines += _lines(screen)
        if code:
            self.lines.append(Text(f"(exit code {code})", style="bright_black"))

    def _run(self, command: str, screen: pyte.Screen, until: Callable[[str], bool] | None) -> int:
        main, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=self._home, env=self._variables, stdin=end, stdout=end, stderr=end
        )
        os.close(end)
        stream = pyte.ByteStream(screen)
        try:
            for data in _output(main):
                stream.feed(data)
                if until is not None and until("\n".join(screen.display)):
                    process.terminate()
                    return 0
            return process.wait(_SECONDS)
        finally:
            os.close(main)
            process.wait(_SECONDS)


def _output(descriptor: int) -> Iterator[bytes]:
    """What comes out of a pseudo-terminal until its command ends."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if not select.select([descriptor], [], [], 0.05)[0]:
            continue
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # Linux: the last process at the other end has closed it
            return
        if not data:
            return
        yield data


def _lines(screen: pyte.Screen) -> list[Text]:
    """The screen's lines with their colours, without what is blank at its end."""
    rows = [_line(screen, row) for row in range(screen.lines)]
    while rows and not rows[-1].plain.strip():
        rows.pop()
    return rows


def _line(screen: pyte.Screen, row: int) -> Text:
    cells = (screen.buffer[row][column] for column in range(screen.columns))
    text = Text()
    for style, run in groupby(cells, _style):
        text.append(_DIGEST.sub(r"\1…", "".join(cell.data for cell in run)), style=style)
    text.rstrip()
    return text


def _style(cell: pyte.screens.Char) -> str:
    colour = _BRIGHT.get(cell.fg, cell.fg)
    if re.fullmatch(r"[0-9a-f]{6}", colour):
        colour = f"#{colour}"
    return f"bold {colour}" if cell.bold else colour


def picture(lines: Sequence[Text], title: str) -> str:
    """The lines as a terminal window in SVG, which loads nothing from elsewhere."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=_COLUMNS, file=nowhere)
        for line in lines:
            console.print(line, highlight=False)
        drawn = console.export_svg(title=title, unique_id=f"rmfab-{title.replace(' ', '-')}")
    drawn = re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r"\s*<!--.*?-->", "", drawn)
    drawn = _INDENTED.sub(_moved, drawn)
    drawn = drawn.replace("Fira Code, monospace", _FONT).replace("font-family: arial", "font-family: sans-serif")
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


def _moved(text: re.Match[str]) -> str:
    """A text without the blanks at its start, drawn further to the right: not every viewer keeps them."""
    blanks = len(text["blanks"]) // len("&#160;")
    x = float(text["x"]) + blanks * _CELL
    length = float(text["length"]) - blanks * _CELL
    return f'x="{x:.1f}" {text["y"]} textLength="{length:.1f}" {text["clip"]}>'


def render_demo(home: Path) -> None:
    """demo.svg and labels.png."""
    shell = Shell(home)
    shell.type("rmfab demo")
    _write("demo.svg", picture(shell.lines, "rmfab demo"))
    _write_labels(home / "rmfab-demo" / "labels.pdf")


def _write_labels(sheet: Path) -> None:
    """The labels on the first row of the finished sheet, as a phone would see them."""
    from PIL import ImageChops
    from pypdfium2 import PdfDocument

    page = PdfDocument(sheet)[0].render(scale=300 / 72).to_pil().convert("RGB")
    left, top, right, bottom = ImageChops.invert(page).getbbox() or (0, 0, *page.size)
    margin = 20
    row = page.crop((left - margin, top - margin, right + margin, bottom + margin))
    row.quantize(8).save(DOCS / "labels.png", optimize=True)


def render_live(home: Path) -> None:
    """live.svg: a shift, at a moment when one unit has passed, one has failed, and two are being flashed."""
    shell = Shell(home)
    make_build_folder(home / "build", _lamp("1.4.0", app_size=1 << 20))
    _workspace(shell)
    shell.silently("rmfab ca create --no-passphrase; rmfab generate --count 20")
    shell.silently(
        "rmfab release build build -o lamp-1.4.0.rmfab --seq 14; rmfab release sign lamp-1.4.0.rmfab --key release.key"
    )
    faults = {1: "flash-encryption"}
    specs = [
        BoardSpec(
            chip=Chip.ESP32C3,
            index=index,
            paced=None if index == 0 else 0,  # the first is not held to a UART's pace: it has passed already
            faults=(FaultCall.parse(faults[index]),) if index in faults else (),
        )
        for index in range(4)
    ]
    with serve(specs) as boards:
        (home / "station.toml").write_text(_station(boards), encoding="utf-8")
        shell.type("rmfab run --loop --release lamp-1.4.0.rmfab", until=_half_flashed())
    _write("live.svg", picture(shell.lines, "rmfab run"))


def _half_flashed() -> Callable[[str], bool]:
    """Whether a screen shows two boards that have been at `flash` for some seconds."""
    since: list[float] = []

    def seen(screen: str) -> bool:
        rows = [line for line in screen.splitlines() if re.match(r"A\d +\S+ +flash ", line)]
        if len(rows) == 2:
            since.append(time.monotonic())
        return len(rows) == 2 and time.monotonic() - since[0] > _HALF_FLASHED_SECONDS

    return seen


def _station(boards: Sequence[BoardHandle]) -> str:
    slots = "".join(
        f'[[slot]]\nname = "A{number}"\nport = "{board.url}"\nunit = "{board.provisioning_url}"\n'
        f"baud = {921600 if number < 4 else 460800}\n"
        for number, board in enumerate(boards, 1)
    )
    return f'[station]\nname = "bench-1"\n{slots}'


def render_release(home: Path) -> None:
    """release.svg: a release from build to station, and what stations reject."""
    shell = Shell(home)
    make_build_folder(home / "build", _lamp("1.4.0"))
    _workspace(shell)
    shell.type("rmfab release build build -o lamp-1.4.0.rmfab --seq 14")
    shell.type("rmfab release sign lamp-1.4.0.rmfab --key release.key")
    shell.type("rmfab release verify lamp-1.4.0.rmfab --trust trust.json")
    shell.silently(
        "cp lamp-1.4.0.rmfab altered.rmfab; printf x | dd of=altered.rmfab bs=1 seek=60000 conv=notrunc status=none"
    )
    shell.type("rmfab release verify altered.rmfab --trust trust.json")
    shell.silently("rmfab release keygen -o stranger.key --no-passphrase; cp lamp-1.4.0.rmfab strangers.rmfab")
    shell.silently("rmfab release sign strangers.rmfab --key stranger.key --replace")
    shell.type("rmfab run --port /dev/ttyUSB0 --release strangers.rmfab")
    shell.type("rmfab run --port /dev/ttyUSB0 --release build")
    _write("release.svg", picture(shell.lines, "signed releases"))


def render_ota(home: Path) -> None:
    """ota.svg: one update may go out, a different one may not; the shelf is served over HTTPS."""
    shell = Shell(home)
    _workspace(shell)
    for version, seq, flash_size in (("1.4.0", 14, 4 << 20), ("1.5.0", 15, 4 << 20), ("1.6.0", 16, 8 << 20)):
        make_build_folder(home / version, _lamp(version, flash_size=flash_size))
        name = f"lamp-{version}.rmfab"
        shell.silently(
            f"rmfab release build {version} -o {name} --seq {seq}; rmfab release sign {name} --key release.key"
        )
    shell.type("rmfab ota check lamp-1.5.0.rmfab --from lamp-1.4.0.rmfab")
    shell.type("rmfab ota check lamp-1.6.0.rmfab --from lamp-1.4.0.rmfab")
    shell.type("rmfab ota export lamp-1.5.0.rmfab -o shelf --trust trust.json --from lamp-1.4.0.rmfab")
    shell.silently(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout server.key -out server.pem 2>/dev/null"
    )
    with _served(shell, "rmfab ota serve shelf --cert server.pem --key server.key --tcp-port 0") as url:
        get = "curl -s --cacert server.pem https://localhost:8443"
        image = shell.silently("grep -o 'images/[0-9a-f]*.bin' shelf/latest.json").strip()
        for path, then in (("latest.json", 'grep -o \'"version":"[^"]*"\''), (image, "sha256sum")):
            typed = f"{get}/{path} | {then}"
            shell.type(_DIGEST.sub(r"\1…", typed), really=typed.replace("https://localhost:8443", url))
    _write("ota.svg", picture(shell.lines, "updates over the air"))


def render_cloud(home: Path) -> None:
    """cloud.svg: the demo with its cloud, and what the ledger then knows of a unit."""
    shell = Shell(home)
    shell.type("rmfab demo --cloud --units 3")
    shell.type("rmfab -C rmfab-demo trace LMP-000001 | head -8")
    _write("cloud.svg", picture(shell.lines, "rmfab demo --cloud"))


def render_styles(home: Path) -> None:
    """label-NAME.png: each label style as printers of 203 and 300 dpi print it, with the sample of a preview."""
    shell = Shell(home)
    shell.silently("rmfab init . --name 'Desk Lamp' --serial 'LMP-{n:06d}' --cloud-claim")
    styles = json.loads(shell.silently("rmfab label --styles --json"))["styles"]
    for name in (style["name"] for style in styles):
        form = "compact" if name == "minimal-10" else "json"
        shell.silently(f'sed -i \'s/^qr = "[a-z]*"/qr = "{form}"/\' product.toml')
        for dpi in _PRINTER_DOTS:
            shell.silently(f"rmfab label --style {name} --preview {name}-{dpi}.png --dpi {dpi}")
        _write_style(name, [home / f"{name}-{dpi}.png" for dpi in _PRINTER_DOTS])


def _write_style(name: str, previews: Sequence[Path]) -> None:
    """The previews side by side on grey, each enlarged by a whole number, so that both labels are equally large."""
    from PIL import Image

    labels = []
    for path, scale in zip(previews, _PRINTER_DOTS.values(), strict=True):
        with Image.open(path) as image:
            labels.append(
                image.convert("L").resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
            )
    width = sum(label.width for label in labels) + _LINER * (len(labels) + 1)
    height = max(label.height for label in labels) + 2 * _LINER
    liner = Image.new("L", (width, height), _LINER_GREY)
    left = _LINER
    for label in labels:
        liner.paste(label, (left, (height - label.height) // 2))
        left += label.width + _LINER
    liner.quantize(4).save(DOCS / f"label-{name}.png", optimize=True)


@contextlib.contextmanager
def _served(shell: Shell, command: str) -> Iterator[str]:
    """A server at work; yields the first line that it prints."""
    with shell.started(command) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def _workspace(shell: Shell) -> None:
    """A workspace with a release key that it trusts, and no unsigned releases."""
    shell.silently(
        "rmfab init . --name lamp --mqtt-host mqtt.example.com; rmfab release keygen -o release.key --no-passphrase;"
        "sed -i /allow_unsigned/d product.toml;"
        "rmfab trust add release.pub --role release; rmfab trust export -o trust.json"
    )


def _lamp(version: str, app_size: int = 0x20000, flash_size: int = 4 << 20) -> FirmwareRecipe:
    return FirmwareRecipe(Chip.ESP32C3, project="lamp", version=version, app_size=app_size, flash_size=flash_size)


def _write(name: str, text: str) -> None:
    (DOCS / name).write_text(text, encoding="utf-8")


PICTURES = {
    "demo": render_demo,
    "live": render_live,
    "release": render_release,
    "ota": render_ota,
    "cloud": render_cloud,
    "styles": render_styles,
}


def main(names: Sequence[str]) -> None:
    """Renders the pictures of these names, all without a name."""
    for name in names or PICTURES:
        with tempfile.TemporaryDirectory(prefix="rmfab-picture-") as home:
            PICTURES[name](Path(home))


if __name__ == "__main__":
    main(sys.argv[1:])
