"""The configuration of a firmware, as far as the line needs it: the values of `rmfab.release.fact_table`.

They are read from `config/sdkconfig.json`, then from `sdkconfig`, then from the app itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, Self

from rmfab.product.product import Product
from rmfab.product.vocabulary import ConsolePort, DownloadMode, QrForm, Security, Transport
from rmfab.release.app_strings import AppStrings
from rmfab.release.fact_table import FACTS, Fact

_KINDS: Mapping[str, type[Enum]] = {
    "security": Security,
    "transport": Transport,
    "qr": QrForm,
    "download_mode": DownloadMode,
    "console": ConsolePort,
}
_TEXTS = ("name_prefix", "factory_partition", "factory_namespace")
_NUMBERS = ("console_baud", "log_level")
_INFO = 3  # ESP_LOG_INFO: the level of every line that the line reads


@dataclass(frozen=True)
class BuildConfig:
    """Facts about the configuration of a build, None for each that the build does not contain.

    *security*, *transport*, *qr* and *name_prefix* are how the firmware offers provisioning. *factory_partition* and
    *factory_namespace*: where it looks for its identity; *factory_encrypted*: it expects that encrypted. *nvs_hmac*: it
    burns an eFuse key for its NVS. *console*, *console_baud* and *log_level*: where and how much it prints;
    *get_node_id* and *sign_data*: its console has these commands. *secure_boot* and *flash_encryption*: the build
    enables them. *download_mode*: what remains of the ROM's download mode then. *rollback*: an update that is not
    confirmed is rolled back.
    """

    security: Security | None = None
    transport: Transport | None = None
    qr: QrForm | None = None
    name_prefix: str | None = None
    secure_boot: bool | None = None
    flash_encryption: bool | None = None
    rollback: bool | None = None
    anti_rollback: bool | None = None
    download_mode: DownloadMode | None = None
    factory_partition: str | None = None
    factory_namespace: str | None = None
    factory_encrypted: bool | None = None
    nvs_hmac: bool | None = None
    console: ConsolePort | None = None
    console_baud: int | None = None
    log_level: int | None = None
    get_node_id: bool | None = None
    sign_data: bool | None = None

    @classmethod
    def from_sdkconfig(cls, values: Mapping[str, object]) -> Self:
        """Return the facts of an ESP-IDF configuration."""
        found: dict[str, Any] = {fact.name: fact.read(values) for fact in FACTS}
        return cls(**found)

    def with_app(self, app: bytes) -> Self:
        """Return these facts, and what the strings of the image *app* show of the missing ones."""
        shown = AppStrings.find(app)
        security = shown.security if self.security is None else self.security
        return replace(self, security=security, get_node_id=shown.get_node_id, sign_data=shown.sign_data)

    def to_json(self) -> dict[str, Any]:
        """Return the known facts, as JSON values."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: value.value if isinstance(value, Enum) else value
            for name, value in found.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the inverse of `to_json`. Raise ValueError or TypeError for anything else."""
        known: dict[str, Any] = {name: _KINDS[name](value) for name, value in values.items() if name in _KINDS}
        rest = {name: value for name, value in values.items() if name not in _KINDS}
        for name, value in rest.items():
            kind = str if name in _TEXTS else int if name in _NUMBERS else bool
            if type(value) is not kind:
                raise TypeError("configured")
        return cls(**known, **rest)

    @property
    def closes_download_mode(self) -> bool:
        """Whether the ROM can no longer read or write a board after its first boot."""
        closed = self.download_mode in (DownloadMode.SECURE, DownloadMode.OFF)
        return closed and bool(self.secure_boot or self.flash_encryption)

    @property
    def prints_log(self) -> bool | None:
        """Whether the firmware prints the lines that the line reads, None if the build does not show it."""
        if self.console in (ConsolePort.NONE, ConsolePort.OTHER_UART):
            return False
        if self.log_level is not None and self.log_level < _INFO:
            return False
        return None if self.console is None and self.log_level is None else True

    def differences(self, product: Product) -> list[tuple[Fact, object, object]]:
        """Return what *product* contradicts: the fact, the value of the build, and that of the product."""
        compared = [(fact, getattr(self, fact.name), fact.wanted(product)) for fact in FACTS if fact.wanted is not None]
        return [
            (fact, _plain(built), _plain(said)) for fact, built, said in compared if built is not None and built != said
        ]

    @property
    def unsaid(self) -> list[Fact]:
        """The facts that a product states and the build does not show."""
        return [fact for fact in FACTS if fact.wanted is not None and getattr(self, fact.name) is None]


UNKNOWN = BuildConfig()
"""The configuration of a build that does not include it."""


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value
