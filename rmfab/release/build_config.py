"""What a firmware was configured to be, as far as the line must know it, from the build's `config/sdkconfig.json`.

Sources of the names: ESP-IDF Kconfig (bootloader, security features), esp-rainmaker `rmaker_app_network`
(Kconfig.projbuild). A switch that is off may be missing from the file.
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
    """None where the build does not say.

    *security*, *transport*, *qr* and *name_prefix* are how the firmware offers provisioning. *secure_boot*: it turns
    secure boot on; *flash_encryption* likewise; *download_mode*: what it then leaves of the ROM's. *rollback*: an
    update that is not confirmed is taken back.
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
        """What an ESP-IDF configuration says."""
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
        """The facts that are known, as JSON values."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: getattr(value, "value", value) if not isinstance(value, bool) else value
            for name, value in found.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises ValueError or TypeError for what that does not write."""
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
        """Whether, after its first boot, nothing on a board can be read or written through the ROM any more."""
        closed = self.download_mode in (DownloadMode.SECURE, DownloadMode.OFF)
        return closed and bool(self.secure_boot or self.flash_encryption)

    def differences(self, provisioning: Provisioning) -> list[tuple[str, object, object]]:
        """Where a product's `[provisioning]` says something else: key, what the build says, what the product says."""
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
"""What a build says that keeps its configuration to itself."""


def _security(values: Mapping[str, object]) -> Security | None:
    chosen = _chosen(values, APP_PROV_SECURITY_VERSION_2=Security.SRP6A, APP_PROV_SECURITY_VERSION_1=Security.X25519)
    known = {"APP_PROV_SECURITY_VERSION_1", "APP_PROV_SECURITY_VERSION_2"} & values.keys()
    return chosen if chosen is not None or not known else Security.PLAIN


def _chosen(values: Mapping[str, object], **names: T) -> T | None:
    """The value of the first switch that is on."""
    return next((value for name, value in names.items() if values.get(name) is True), None)


def _qr(values: Mapping[str, object]) -> QrForm:
    return QrForm.COMPACT if values.get("APP_NETWORK_PROV_COMPACT_QR") is True else QrForm.JSON
