"""The product's own mass_mfg columns: what a factory image contains besides RainMaker's keys.

`[factory] config` names a mass_mfg config. The files in its `file` rows, relative to the folder of the config, are read
when identities are generated, so that an identity in the ledger is complete and no longer needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from rmfab.errors import ComplaintsError, InputError
from rmfab.nvs.grammar import Column, Config, Encoding, Source, parse_config
from rmfab.nvs.named_files import NamedFiles
from rmfab.product.product import Factory
from rmfab.secret import Secret

RAINMAKER_KEYS = (
    "node_id",
    "mqtt_host",
    "mqtt_cred_host",
    "client_cert",
    "client_key",
    "random",
    "sec2_salt",
    "sec2_verifier",
)

Extra = Mapping[tuple[str, str], Secret[str]]
"""The cell of each column of the extra config, by namespace and key."""


@lru_cache(maxsize=8)
def load_extra(factory: Factory) -> Config | None:
    """Return the extra config of a product, None if it has none.

    Raise InputError if it cannot be read, or ComplaintsError with everything that is wrong, including a key that
    belongs to RainMaker.
    """
    if factory.config is None:
        return None
    config = parse_config(factory.config)
    complaints = [
        InputError(
            f'"{column.key}" in namespace "{column.namespace}" is a RainMaker key, which rmfab writes itself',
            where=f"{config.path}:{column.line}",
            hint="remove this line",
        )
        for column in config.columns
        if column.namespace == factory.namespace and column.key in RAINMAKER_KEYS
    ]
    if complaints:
        raise ComplaintsError(complaints)
    return config


def as_data(config: Config) -> Config:
    """Return *config* for cells that `inline` made: without `file` rows."""
    rows = tuple(_data_column(row) if isinstance(row, Column) else row for row in config.rows)
    return Config(config.path, rows)


def inline(column: Column, cell: str, files: NamedFiles) -> str:
    """Return the *cell* itself, or the content of the file that it names: as text, `binary` as hex digits.

    Raise InputError if the file cannot be read, or if its encoding requires text that a mass_mfg CSV cannot contain.
    """
    if column.source is Source.DATA:
        return cell
    data = files.read(cell)
    if column.encoding is Encoding.BINARY:
        return data.hex()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InputError(f'"{cell}" is not UTF-8 text', hint=_AS_BINARY) from None
    if column.encoding is not Encoding.STRING:
        return "".join(text.split())
    if "\r" in text:
        raise InputError(f'"{cell}" has CR line ends, which a mass_mfg CSV cannot contain', hint=_AS_BINARY)
    return text


_AS_BINARY = 'set its encoding in the config to "binary"'


def _data_column(column: Column) -> Column:
    if column.source is Source.DATA:
        return column
    encoding = Encoding.HEX2BIN if column.encoding is Encoding.BINARY else column.encoding
    return replace(column, source=Source.DATA, encoding=encoding)
