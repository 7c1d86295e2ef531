"""Any bytes in a file that people give end in a value or in rmfab's own error: product.toml, station.toml, CSVs, JSON.

    python -m fuzz.files fuzz/corpus/files -max_total_time=60

The first byte of an input selects the reader of the rest. A config and its values are separated by `NEXT_FILE`.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from pathlib import Path

from fuzz.harness import Reader, fuzz, read_one
from rmfab.identity.qr import parse_payload, same_payload
from rmfab.identity.values import open_values
from rmfab.json_text import parse_json
from rmfab.line.station import load_station
from rmfab.nvs.encoding import RowEncoder
from rmfab.nvs.grammar import Config, Source, parse_config, read_values
from rmfab.nvs.packing import pack
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import Entry, PageVersion
from rmfab.product.product_file import load_product, parse_product
from rmfab.release.sdkconfig import parse_sdkconfig

NEXT_FILE = b"\n---\n"
_SIZE = 0x3000
PRODUCT = """
[product]
name = "Fuzz"
chip = "esp32c3"
serial = "FZ-{n:06d}"
"""


@functools.cache
def _folder(process: int) -> tempfile.TemporaryDirectory[str]:  # a forked process gets a folder of its own
    return tempfile.TemporaryDirectory(prefix="rmfab-fuzz-")


def _file(name: str, data: bytes) -> Path:
    path = Path(_folder(os.getpid()).name) / name
    path.write_bytes(data)
    return path


def product(data: bytes) -> None:
    """Read a product.toml."""
    load_product(_file("product.toml", data))


def station(data: bytes) -> None:
    """Read a station.toml."""
    load_station(_file("station.toml", data))


def _pair(data: bytes) -> tuple[Path, Path]:
    config, _, values = data.partition(NEXT_FILE)
    return _file("config.csv", config), _file("values.csv", values)


def _without_files(config: Config) -> Config:
    """Return *config* without the rows that name files: the files of this host are no input."""
    return Config(config.path, tuple(row for row in config.rows if getattr(row, "source", None) is not Source.FILE))


def images(data: bytes) -> None:
    """Make an image from each row of a values CSV. Every value must be read back from it."""
    config, path = _pair(data)
    values = read_values(_without_files(parse_config(config)), path)
    encoder = RowEncoder(values.config, path)
    for row in values:
        if encoder.complaints(row):
            continue
        items = encoder.items(row)
        for version in PageVersion:
            image = read_image(pack(items, _SIZE, version))
            told = {(entry.namespace, entry.key): entry.value for entry in items if isinstance(entry, Entry)}
            if any(image.value(*name) != value for name, value in told.items()):
                raise AssertionError("a value is not what its CSV says")


def values(data: bytes) -> None:
    """Judge the values file of a product."""
    path = _file("values.csv", data)
    made = parse_product(PRODUCT, path.with_name("product.toml"))
    counted = open_values(path, made)
    if counted.count != sum(1 for _ in counted.rows()):
        raise AssertionError("a row has vanished")


def payload(data: bytes) -> None:
    """Read a QR payload."""
    text = data.decode("utf-8", "replace")
    read = parse_payload(text)
    _ = read.name, read.transport, read.username, read.pop
    if not same_payload(text, text):
        raise AssertionError("a payload differs from itself")


def json_text(data: bytes) -> None:
    """Read JSON; what is read can be written again."""
    try:
        value = parse_json(data)
    except ValueError:
        return
    json.dumps(value, ensure_ascii=False).encode()


def sdkconfig(data: bytes) -> None:
    """Read the text of an sdkconfig."""
    parse_sdkconfig(data.decode("utf-8", "replace"))


TARGETS: tuple[Reader, ...] = (product, station, images, values, payload, json_text, sdkconfig)


def one_input(data: bytes) -> None:
    """Read one input."""
    read_one(TARGETS, data)


if __name__ == "__main__":
    fuzz(one_input)
