"""Addresses of printers, and every way to write one wrongly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError, printable
from rmfab.label.printers.address import DevicePlace, FolderPlace, IppPlace, PrinterAddress, PrinterLanguage, TcpPlace

GOOD = {
    "zpl+tcp://10.0.0.9:9100": (PrinterLanguage.ZPL, TcpPlace("10.0.0.9", 9100)),
    "zpl+tcp://zebra.factory.example": (PrinterLanguage.ZPL, TcpPlace("zebra.factory.example", 9100)),
    "zpl+tcp://zebra.factory.example./": (PrinterLanguage.ZPL, TcpPlace("zebra.factory.example.", 9100)),
    "tspl+tcp://[fd00::9]": (PrinterLanguage.TSPL, TcpPlace("fd00::9", 9100)),
    "ql+tcp://[fe80::1%eth0]:9101": (PrinterLanguage.QL, TcpPlace("fe80::1%eth0", 9101)),
    "zpl+usb:///dev/usb/lp0": (PrinterLanguage.ZPL, DevicePlace(Path("/dev/usb/lp0"))),
    "ql+usb:///dev/my label printer": (PrinterLanguage.QL, DevicePlace(Path("/dev/my label printer"))),
    "cups://LABELS": (None, IppPlace(None, 631, "/printers/LABELS")),
    "cups://bench-7:8631/LABELS": (None, IppPlace("bench-7", 8631, "/printers/LABELS")),
    "cups://bench-7/printers/LABELS": (None, IppPlace("bench-7", 631, "/printers/LABELS")),
    "zpl+cups://LABELS": (PrinterLanguage.ZPL, IppPlace(None, 631, "/printers/LABELS")),
    "ipp://localhost:8631/ipp/print": (None, IppPlace("localhost", 8631, "/ipp/print")),
    "ipp://[::1]": (None, IppPlace("::1", 631, "/ipp/print")),
    "file:///srv/my%20labels": (None, FolderPlace(Path("/srv/my labels"))),
}
BAD = {
    "": "such as zpl+tcp://",
    "zpl://10.0.0.9": "did you mean zpl+tcp://10.0.0.9?",
    "zpl:///dev/usb/lp1": "did you mean zpl+usb:///dev/usb/lp1?",
    "brother://10.0.0.9": "did you mean ql+tcp://10.0.0.9?",
    "ZPL+TCP://10.0.0.9": "lower case: zpl+tcp://10.0.0.9",
    "zpl+tpc://10.0.0.9": "did you mean zpl+tcp://10.0.0.9?",
    "http://10.0.0.9/": "zpl+tcp://10.0.0.9:9100",
    "https://10.0.0.9:443/ipp/print": "ipp://10.0.0.9:443/ipp/print",
    "socket://10.0.0.9:9100": "zpl+tcp://10.0.0.9:9100",
    "usb://Zebra/ZD420?serial=1": "zpl+usb:///dev/usb/lp0",
    "10.0.0.9": "zpl+tcp://10.0.0.9",
    "10.0.0.9:9100": "zpl+tcp://10.0.0.9:9100",
    "zebra.factory.example": "zpl+tcp://zebra.factory.example",
    "LABELS": "cups://LABELS",
    "/dev/usb/lp0": "zpl+usb:///dev/usb/lp0",
    "lp0": "zpl+usb:///dev/usb/lp0",
    "./labels": "file:///",
    "zpl+usb://dev/usb/lp0": "zpl+usb:///dev/usb/lp0",
    "zpl+usb://": "zpl+usb:///dev/usb/lp0",
    "file://labels": "file:///labels",
    "file:///srv/%00": "three slashes",
    "zpl+tcp://": "a host name or an IP address",
    "zpl+tcp://10.0.0.9:0": "from 1 to 65535",
    "zpl+tcp://10.0.0.9:65536": "from 1 to 65535",
    "zpl+tcp://10.0.0.9:99999999999999": "from 1 to 65535",
    "zpl+tcp://10.0.0.9:٩١": "from 1 to 65535",
    "zpl+tcp://10.0.0.9:raw": "from 1 to 65535",
    "zpl+tcp://10.0.0.9/queue": "write zpl+tcp://10.0.0.9",
    "zpl+tcp://fd00::9": "[fd00::9]",
    "zpl+tcp://[fd00::9": "brackets",
    "zpl+tcp://[zebra]": "brackets",
    "zpl+tcp://admin:1234@10.0.0.9": "no authentication",
    "zpl+tcp://ho st": "a host name",
    " zpl+tcp://10.0.0.9": "such as",
    "zpl+tcp://10.0.0.9\n": "such as",
    "zpl+tcp://\x1b[31m": "such as",
    "cups://": "lpstat -e",
    "cups://LABELS?raw": "lpstat -e",
    "cups://../../admin": "a host name",
    "zpl+tcp://" + "a" * 2000: "such as",
}


@pytest.mark.parametrize("text", GOOD)
def test_good(text):
    """Each form has its language and place, with the usual port."""
    found = PrinterAddress.parse(text)
    assert (found.language, found.place) == GOOD[text]
    assert str(found) == text


@pytest.mark.parametrize("text", BAD)
def test_bad(text):
    """A mistyped address is quoted on one line, with the address that was probably meant."""
    with pytest.raises(InputError) as caught:
        PrinterAddress.parse(text)
    assert BAD[text] in caught.value.hint
    assert caught.value.cause == "printer-address"
    assert (caught.value.what + caught.value.hint).isprintable()


@given(st.text(max_size=60), st.sampled_from(["", "zpl+tcp://", "cups://", "file://", "zpl+usb://", "ipp://["]))
def test_any_text(rest, scheme):
    """Any text is an address or an InputError that can be printed."""
    wrong = ""
    try:
        PrinterAddress.parse(scheme + rest)
    except InputError as error:
        wrong = f"{error.what} {error.hint}"
    assert printable(wrong) == wrong
