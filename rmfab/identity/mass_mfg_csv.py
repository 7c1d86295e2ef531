"""Factory images as mass_mfg CSVs: the config and the values from which `rmfab nvs generate` makes the same bytes.

Binary values, including PEM, are `hex2bin`, so that each cell is one line. The first column is the serial, which no key
uses: `--fileid serial`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from rmfab.identity.extra_keys import RAINMAKER_KEYS, as_data, load_extra
from rmfab.identity.factory_image import extra_cells, rainmaker_values
from rmfab.identity.identity import Identity
from rmfab.nvs.grammar import NAMESPACE, REPEAT, Column, Config, Source
from rmfab.product.product import Product
from rmfab.product.vocabulary import Credentials, Security

_ID_NAMES = ("serial", "id", "unit", "file_id")


def config_csv(product: Product) -> bytes:
    """Return the config of the product's factory images."""
    rows = [[product.factory.namespace, NAMESPACE, ""]]
    rows += [[key, Source.DATA.value, "hex2bin"] for key in _rainmaker_keys(product)]
    extra = _extra(product)
    if extra is not None:
        for row in extra.rows:
            rows.append(_config_row(row) if isinstance(row, Column) else [row.name, NAMESPACE, ""])
    return b"".join(map(_line, rows))


def values_csv(identities: Iterable[Identity], product: Product) -> Iterator[bytes]:
    """Yield the values of *identities*: the header, then one line each. All lines but the first are secret."""
    extra = _extra(product)
    names = [column.key for column in extra.columns] if extra is not None else []
    yield _line([id_column(product), *_rainmaker_keys(product), *names])
    for identity in identities:
        cells = [value.hex() for _, value in rainmaker_values(identity, product)]
        yield _line([identity.serial, *cells, *(extra_cells(identity, extra) if extra is not None else ())])


def id_column(product: Product) -> str:
    """Return the name of the serial column, for `--fileid`: `serial` unless the extra config has such a key."""
    extra = _extra(product)
    taken = {column.key for column in extra.columns} if extra is not None else set()
    return next(name for name in _ID_NAMES if name not in taken)


def _rainmaker_keys(product: Product) -> Sequence[str]:
    lacking: set[str] = set()
    if product.identity.credentials is Credentials.CLOUD_CLAIM:
        lacking.update(RAINMAKER_KEYS[:5])
    if product.provisioning.security is not Security.SRP6A:
        lacking.update(RAINMAKER_KEYS[6:])
    return [key for key in RAINMAKER_KEYS if key not in lacking]


def _extra(product: Product) -> Config | None:
    config = load_extra(product.factory)
    return None if config is None else as_data(config)


def _config_row(column: Column) -> list[str]:
    row = [column.key, column.source.value, column.encoding.value]
    return [*row, REPEAT] if column.repeat else row


def _line(cells: Sequence[str]) -> bytes:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue().encode()
