"""Printing as others do it, each in a folder and on ports of its own: CUPS, and IPP printers of ippeveprinter.

ippeveprinter insists on announcing itself: it gets a D-Bus of its own with a stand-in for Avahi, so nothing is
announced and no daemon of the system is touched. Tests that use this are marked (`pytest.mark.peers`).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rmfab.label.printers.open_printer import open_printer
from rmfab.listening import free_port
from tests.patience import PATIENCE, until

_CONFIGURATION = """\
Listen 127.0.0.1:{port}
Listen {root}/sock
Browsing No
WebInterface No
DefaultShared No
<Location />
Order allow,deny
Allow localhost
</Location>
<Policy default>
<Limit All>
Order deny,allow
</Limit>
</Policy>
"""
_FILES = """\
ServerRoot {root}/root
RequestRoot {root}/spool
TempDir {root}/spool/tmp
CacheDir {root}/cache
StateDir {root}/state
ErrorLog {root}/error_log
AccessLog {root}/access_log
PageLog {root}/page_log
FileDevice No
SystemGroup root
"""
_BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/>
<allow receive_sender="*"/><allow eavesdrop="true"/></policy></busconfig>
"""
_SCRIPT = """\
#!/bin/sh
cd '{root}'
n=$(ls got-* 2>/dev/null | wc -l)
if [ -e paper ] && [ "$n" -ge "$(cat paper)" ]; then
    [ -e half ] && : > "half-$n" || cp "$1" "got-$n"
    echo "STATE: +media-empty" >&2
    while [ -e paper ]; do sleep 0.05; done
    echo "STATE: -media-empty" >&2
    exit 0
fi
cp "$1" "got-$n"
for reason in media-empty cover-open marker-supply-empty media-jam; do
    [ -e "$reason" ] && echo "STATE: +$reason" >&2 || echo "STATE: -$reason" >&2
done
[ -e abort ] && exit 1
while [ -e stuck ]; do sleep 0.05; done
exit 0
"""


@contextmanager
def cups() -> Iterator[tuple[str, Path]]:
    """Run CUPS; yield `HOST:PORT` and its folder, which has the socket `sock`.

    CUPS prints as a different user, so its folder is one that all may enter.
    """
    root = Path(tempfile.mkdtemp(prefix="rmfab-cups-"))
    root.chmod(0o755)
    for name in ("root", "spool/tmp", "cache", "state"):
        (root / name).mkdir(parents=True)
    (root / "cache").chmod(0o777)
    port = free_port("127.0.0.1")
    (root / "cupsd.conf").write_text(_CONFIGURATION.format(port=port, root=root))
    (root / "cups-files.conf").write_text(_FILES.format(root=root))
    cupsd = shutil.which("cupsd") or "/usr/sbin/cupsd"
    command = [cupsd, "-f", "-c", str(root / "cupsd.conf"), "-s", str(root / "cups-files.conf")]
    with _running(command, root / "out"):
        until(lambda: _accepts(port), "CUPS does not listen")
        yield f"127.0.0.1:{port}", root
    shutil.rmtree(root, ignore_errors=True)


def add_queue(server: str, name: str, device: str, model: str) -> None:
    """Add a queue; a job that cannot be printed is aborted. CUPS makes the driver `everywhere` in the background."""
    command = [
        "lpadmin",
        "-h",
        server,
        "-p",
        name,
        "-E",
        "-v",
        device,
        "-m",
        model,
        "-o",
        "printer-error-policy=abort-job",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    queue = open_printer(f"cups://{server}/{name}")
    until(lambda: model == "raw" or "Raw" not in (queue.status().model or ""), "the queue gets no driver")


@contextmanager
def ipp_printer(folder: Path) -> Iterator[str]:
    """Run ippeveprinter; yield its address.

    It keeps what it prints as got-0, got-1 … in *folder*. A file there with the name of a reason sets that; `abort`
    makes jobs fail, `stuck` keeps them from ending. `paper` contains how many labels come out before the one with which
    the roll ends; with `half`, only half of that one comes out. Remove it to load labels.
    """
    bus, script, port = folder / "bus", folder / "print.sh", free_port("127.0.0.1")
    (folder / "bus.conf").write_text(_BUS.format(socket=bus))
    script.write_text(_SCRIPT.format(root=folder))
    script.chmod(0o755)
    command = ["ippeveprinter", "-p", f"{port}", "-d", f"{folder}/spool", "-f", "application/pdf,image/png",
               "-c", str(script), "-n", "localhost", "-r", "off", "Label Printer"]  # fmt: skip
    (folder / "spool").mkdir()
    with (
        _running(
            ["dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork", "--nopidfile"], folder / "bus.out"
        ),
        _running(
            [sys.executable, str(Path(__file__).with_name("no_avahi.py")), f"unix:path={bus}"], folder / "avahi.out"
        ),
    ):
        until(lambda: (folder / "avahi.out").read_text().startswith("ready"), "the bus does not start")
        with _running(command, folder / "ipp.out", DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={bus}"):
            until(lambda: _accepts(port), "ippeveprinter does not listen")
            yield f"ipp://localhost:{port}/ipp/print"


@contextmanager
def _running(command: list[str], output: Path, **environment: str) -> Iterator[None]:
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=dict(os.environ) | environment,
        )
        try:
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
