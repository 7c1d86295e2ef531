"""The files of a Linux host, built in a folder: USB devices in sysfs, processes, groups, udev's notes.

Layout as of Linux 6.1: Documentation/ABI/testing/sysfs-bus-usb, proc(5), group(5), /run/udev/data of systemd 252.
"""

from __future__ import annotations

from pathlib import Path


class HostTree:
    """A host whose files are below *root*; each method adds something."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, path: str, text: str = "") -> Path:
        """Write a file."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def usb(self, name: str, ids: str = "10c4:ea60", speed: str = "12", tty: str | None = None, **more: str) -> None:
        """Plug in a USB device; *tty* is its serial port, *more* are further files of the device."""
        vendor, _, product = ids.partition(":")
        known = {"idVendor": vendor, "idProduct": product, "speed": speed, "bDeviceClass": "00", "bmAttributes": "80"}
        for file, text in (known | more).items():
            self.file(f"sys/bus/usb/devices/{name}/{file}", f"{text}\n")
        (self.root / f"sys/bus/usb/devices/{name}:1.0").mkdir()
        if tty is not None:
            form = f"{name}:1.0/tty/{tty}" if tty.startswith("ttyACM") else f"{name}:1.0/{tty}"
            (self.root / f"sys/bus/usb/devices/{name}" / form).mkdir(parents=True)
            self.file(f"dev/{tty}")

    def hub(self, name: str, *, speed: str = "480", protocol: str = "01", attributes: str = "e0") -> None:
        """Plug in a hub; one with the *protocol* 02 has a transaction translator for each port."""
        self.usb(
            name, "05e3:0608", speed, bDeviceClass="09", bDeviceProtocol=protocol, bmAttributes=attributes
        )  # fmt: skip

    def runs(self, *names: str) -> None:
        """Start programs."""
        for number, name in enumerate(names, 100):
            self.file(f"proc/{number}/comm", f"{name[:15]}\n")

    def noted_by_udev(self, device: str, tty: str, *notes: str) -> None:
        """Let udev note something about the port *tty*, whose device number is *device*."""
        self.file(f"sys/class/tty/{tty}/dev", f"{device}\n")
        self.file(f"run/udev/data/c{device}", "\n".join(("I:123", *notes)) + "\n")


def usb_host(root: Path) -> HostTree:
    """Return a host with a root hub and a USB 2 hub with one transaction translator, with a supply of its own."""
    tree = HostTree(root)
    tree.hub("usb1")
    tree.hub("1-1")
    return tree
