"""The configuration of a firmware, as far as the line needs it, from the build's `config/sdkconfig.json`.

Sources of the names: ESP-IDF Kconfig (bootloader, security features), esp-rainmaker `rmaker_app_network`
(Kconfig.projbuild). An option that is off may be missing from the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Self, TypeVar

from rmfab.product.product import Provisioning
from rmfab.product.vocabulary import DownloadMode, QrForm, Security, Transport

T = TypeVar("T")

_PREFIX = "APP_NETWORK_PROV_NAME_PREFIX"


@dataclass(frozen=True)
class BuildConfig:
    """Facts about the configuration of a build, None for each that the build does not contain.

    *security*, *transport*, *qr* and *name_prefix* are how the firmware offers provisioning. *secure_boot* and
    *flash_encryption*: the build enables them. *download_mode*: what remains of the ROM's download mode then.
    *rollback*: an update that is not confirmed is rolled back.
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

    @classmethod
    def from_sdkconfig(cls, values: Mapping[str, object]) -> Self:
        """Return the facts of an ESP-IDF configuration."""
        provisions = isinstance(values.get(_PREFIX), str)
        return cls(
            security=_security(values),
            transport=_chosen(
                values,
                APP_NETWORK_PROV_TRANSPORT_BLE=Transport.BLE,
                APP_NETWORK_PROV_TRANSPORT_SOFTAP=Transport.SOFTAP,
            ),
            qr=_qr(values) if provisions else None,
            name_prefix=str(values[_PREFIX]) if provisions else None,
            secure_boot=values.get("SECURE_BOOT") is True,
            flash_encryption=values.get("SECURE_FLASH_ENC_ENABLED") is True,
            rollback=values.get("BOOTLOADER_APP_ROLLBACK_ENABLE") is True,
            anti_rollback=values.get("BOOTLOADER_APP_ANTI_ROLLBACK") is True,
            download_mode=_chosen(
                values,
                SECURE_DISABLE_ROM_DL_MODE=DownloadMode.OFF,
                SECURE_ENABLE_SECURE_ROM_DL_MODE=DownloadMode.SECURE,
                SECURE_INSECURE_ALLOW_DL_MODE=DownloadMode.OPEN,
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the known facts, as JSON values."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: getattr(value, "value", value) if not isinstance(value, bool) else value
            for name, value in found.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the inverse of `to_json`. Raise ValueError or TypeError for anything else."""
        kinds: Mapping[str, type[Enum]] = {
            "security": Security,
            "transport": Transport,
            "qr": QrForm,
            "download_mode": DownloadMode,
        }
        known: dict[str, Any] = {name: kinds[name](value) for name, value in values.items() if name in kinds}
        rest = {name: value for name, value in values.items() if name not in kinds}
        if not all(isinstance(value, str if name == "name_prefix" else bool) for name, value in rest.items()):
            raise TypeError("configured")
        return cls(**known, **rest)

    @property
    def closes_download_mode(self) -> bool:
        """Whether the ROM can no longer read or write a board after its first boot."""
        closed = self.download_mode in (DownloadMode.SECURE, DownloadMode.OFF)
        return closed and bool(self.secure_boot or self.flash_encryption)

    def differences(self, provisioning: Provisioning) -> list[tuple[str, object, object]]:
        """Return what a product's `[provisioning]` contradicts: key, value of the build, value of the product."""
        wanted = (
            ("security", self.security, provisioning.security),
            ("transport", self.transport, provisioning.transport),
            ("qr", self.qr, provisioning.qr),
            ("name_prefix", self.name_prefix, provisioning.name_prefix),
        )
        return [
            (key, getattr(built, "value", built), getattr(said, "value", said))
            for key, built, said in wanted
            if built is not None and built != said
        ]


UNKNOWN = BuildConfig()
"""The configuration of a build that does not include it."""


def _security(values: Mapping[str, object]) -> Security | None:
    chosen = _chosen(values, APP_PROV_SECURITY_VERSION_2=Security.SRP6A, APP_PROV_SECURITY_VERSION_1=Security.X25519)
    known = {"APP_PROV_SECURITY_VERSION_1", "APP_PROV_SECURITY_VERSION_2"} & values.keys()
    return chosen if chosen is not None or not known else Security.PLAIN


def _chosen(values: Mapping[str, object], **names: T) -> T | None:
    """Return the value of the first option that is on."""
    return next((value for name, value in names.items() if values.get(name) is True), None)


def _qr(values: Mapping[str, object]) -> QrForm:
    return QrForm.COMPACT if values.get("APP_NETWORK_PROV_COMPACT_QR") is True else QrForm.JSON
