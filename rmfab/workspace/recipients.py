"""The table `[recipients]` of product.toml: the stations that can open identities, edited in place."""

from __future__ import annotations

import re
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import read_input, write_file
from rmfab.product.product_file import FILE_NAME, load_product, parse_product


def bare_key(text: str) -> str:
    """Return *text* as a bare TOML key; `station` if it is empty."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", text) or "station"


def add_recipient(product_toml: Path, name: str, recipient: str) -> None:
    """Add *recipient* to the table `[recipients]` of *product_toml*; keep every other byte. Raise InputError."""
    known = load_product(product_toml).recipients
    key = bare_key(name)
    if key in known:
        raise InputError(
            f'a different recipient is already called "{key}"',
            where=f"{FILE_NAME}: [recipients]",
            hint="pass --name NAME",
        )
    lines = read_input(product_toml, "product").splitlines(keepends=True)
    end = b"\r\n" if lines[0].endswith(b"\r\n") else b"\n"
    line = f'{key} = "{recipient}"'.encode() + end
    at = next((i for i, row in enumerate(lines) if row.split(b"#")[0].strip() == b"[recipients]"), None)
    if not lines[-1].endswith(b"\n"):
        lines[-1] += end
    if at is None:
        lines += [end, b"[recipients]" + end, line]
    else:
        lines.insert(at + 1, line)
    changed = b"".join(lines)
    parse_product(changed.decode("utf-8-sig"), product_toml)
    write_file(product_toml, changed, force=True)
