"""The printers that this host can see: USB device files, and the queues of its CUPS."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import one_line
from rmfab.label.printers.address import IPP_PORT, IppPlace, PrinterLanguage
from rmfab.label.printers.ipp import Operation, Tag
from rmfab.label.printers.ipp_client import IppClient
from rmfab.label.printers.patience import PrinterPatience
from rmfab.label.printers.printer import PrinterFault

_USB_CLASS = Path("/sys/class/usbmisc")
_USB_FOLDER = Path("/dev/usb")
_DEVICE = re.compile(r"lp[0-9]{1,3}")
_MOST_ID = 2048
_QUEUES = IppPlace(None, IPP_PORT, "/")
_SPOOL_SETTING = re.compile(r"^[ \t]*PreserveJobFiles[ \t]+(\S{1,20})", re.IGNORECASE | re.MULTILINE)
_CUPS_FILE = Path("/etc/cups/cupsd.conf")


@dataclass(frozen=True)
class FoundPrinter:
    """A printer: the *address* to configure, *model*, and whether this user may open it (None: not a file).

    The address of a USB printer whose language is unknown starts with `LANGUAGE+`.
    """

    address: str
    model: str | None
    accessible: bool | None = None


def usb_printers(usb_class: Path = _USB_CLASS, folder: Path = _USB_FOLDER) -> list[FoundPrinter]:
    """Return the USB printers that the kernel's driver usblp has, by what they say about themselves.

    Source: Linux, Documentation/ABI/testing/sysfs-class-usbmisc and usblp.c, ieee1284_id.
    """
    try:
        names = sorted(path.name for path in usb_class.iterdir() if _DEVICE.fullmatch(path.name))
    except OSError:
        return []
    found = []
    for name in names:
        device, about = folder / name, _device_id(usb_class / name / "device" / "ieee1284_id")
        model = " ".join(filter(None, (about.get("MFG"), about.get("MDL")))) or None
        language = _language(about) or "LANGUAGE"
        found.append(FoundPrinter(f"{language}+usb://{device}", model, os.access(device, os.R_OK | os.W_OK)))
    return found


def _device_id(path: Path) -> dict[str, str]:
    """Return the fields of an IEEE 1284 id, with short keys."""
    try:
        text = path.read_bytes()[:_MOST_ID].decode("latin-1")
    except OSError:
        return {}
    short = {"MANUFACTURER": "MFG", "MODEL": "MDL", "COMMAND SET": "CMD"}
    pairs = (part.partition(":") for part in text.split(";"))
    return {short.get(key.strip().upper(), key.strip().upper()): one_line(value.strip(), 80) for key, _, value in pairs}


def _language(about: dict[str, str]) -> PrinterLanguage | None:
    """Return the language of a printer by its command set, or its name."""
    commands, name = about.get("CMD", "").upper(), f"{about.get('MFG', '')} {about.get('MDL', '')}".upper()
    if "ZPL" in commands or "ZEBRA" in name:
        return PrinterLanguage.ZPL
    if "TSPL" in commands or name.startswith("TSC"):
        return PrinterLanguage.TSPL
    return PrinterLanguage.QL if "QL-" in name else None


def cups_queues(patience: PrinterPatience) -> list[FoundPrinter]:
    """Return the queues of this host's CUPS, none if it does not run."""
    names = ("printer-name", "printer-make-and-model")
    try:
        answer = IppClient(_QUEUES, "cups://", patience).ask(
            Operation.GET_QUEUES, {"requested-attributes": (Tag.KEYWORD, names)}
        )
    except PrinterFault:
        return []
    found = []
    for group in answer.groups:
        name, model = (next((str(value) for value in group.get(key, ())), None) for key in names)
        if name is not None:
            raw = model is not None and "raw printer" in model.lower()
            found.append(FoundPrinter(f"{'LANGUAGE+' if raw else ''}cups://{name}", model))
    return found


def cups_keeps_files(path: Path = _CUPS_FILE) -> bool | None:
    """Return whether this host's CUPS keeps what it printed (by default for a day); None if that cannot be read.

    Source: cupsd.conf(5), PreserveJobFiles.
    """
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return None
    settings = _SPOOL_SETTING.findall(text)
    return not settings or settings[-1].lower() not in ("no", "off", "false", "0")
