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
from rmfab.release.fact_table import FACTS, Fact, inferred_security

_KINDS: Mapping[str, type[Enum]] = {
    "security": Security,
    "transport": Transport,
    "qr": QrForm,
    "download_mode": DownloadMode,
    "console": ConsolePort,
}
_TEXTS = ("name_prefix", "factory_partition", "factory_namespace")
_NUMBERS = ("console_baud", "log_level")


@dataclass(frozen=True)
class BuildConfig:
    """Facts about the configuration of a build, None for each that the build does not contain.

    *security*, *transport*, *qr* and *name_prefix* are how the firmware offers provisioning. *factory_partition* and
    *factory_namespace*: where it looks for its identity; *factory_encrypted*: it expects that encrypted. *nvs_hmac*: it
    burns an eFuse key for its NVS. *console*, *console_baud* and *log_level*: where and how much it prints;
    *get_node_id* and *sign_data*: its console has these commands; *prints_qr*: its log has the QR payload.
    *challenge_response*: it signs a challenge while it is provisioned. *secure_boot* and *flash_encryption*: the build
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
    prints_qr: bool | None = None
    challenge_response: bool | None = None

    @classmethod
    def from_sdkconfig(cls, values: Mapping[str, object]) -> Self:
        """Return the facts that an ESP-IDF configuration states."""
        found: dict[str, Any] = {fact.name: fact.read(values) for fact in FACTS}
        return cls(**found)

    def with_app(self, app: bytes) -> Self:
        """Return these facts, and of the missing ones what the strings of the image *app* show, and what follows."""
        shown = {name: value for name, value in vars(AppStrings.find(app)).items() if getattr(self, name) is None}
        whole = replace(self, **shown)
        return replace(whole, security=inferred_security(self.name_prefix)) if whole.security is None else whole

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

    def differences(self, product: Product) -> list[tuple[Fact, object, object]]:
        """Return what *product* contradicts: the fact, the value of the build, and that of the product."""
        compared = [(fact, getattr(self, fact.name), said) for fact, said in _stated(product)]
        return [
            (fact, _plain(built), _plain(said)) for fact, built, said in compared if built is not None and built != said
        ]

    def unsaid(self, product: Product) -> list[Fact]:
        """Return the facts that *product* states and the build does not show."""
        return [fact for fact, _ in _stated(product) if getattr(self, fact.name) is None]


UNKNOWN = BuildConfig()
"""The configuration of a build that does not include it."""


def _stated(product: Product) -> list[tuple[Fact, object]]:
    """Return the facts about which *product* has an opinion, and what it says."""
    said = [(fact, fact.wanted(product)) for fact in FACTS if fact.wanted is not None]
    return [(fact, value) for fact, value in said if value is not None]


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value
