"""The table of firmware facts: what the line must know of a build, and the names of each option through the years.

Names until 2024-08 are those of esp-rainmaker `examples/common/app_wifi`, later ones those of `rmaker_app_network`
(Kconfig.projbuild); ESP_RMAKER_* are esp-rainmaker-common's (Kconfig); the console's are ESP-IDF's (`esp_system`,
until 4.0 without `ESP_`). Security 2 exists since 2026-05: a build with a name prefix but no option for the version has
security 1, unless the app itself shows security 2 (`inferred_security`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import TypeVar

from rmfab.product.product import Product
from rmfab.product.vocabulary import ConsolePort, DownloadMode, QrForm, Security, Transport

T = TypeVar("T")
Options = Mapping[str, object]


@unique
class Consequence(Enum):
    """What follows from a fact: a release that contradicts the product is refused, a danger is warned of, a limit of
    the firmware changes what the line proves."""

    REFUSE = "refuse"
    WARN = "warn"
    ADAPT = "adapt"


@dataclass(frozen=True)
class Fact:
    """A fact of the configuration: the field *name*, the *options* that state it, newest first, and how to *read* them.

    *wanted* returns what the product says, at *product_key*, None if it has no opinion; it is None if no product has.
    *choices* are the options of a choice, each with the value that it selects.
    """

    name: str
    options: tuple[str, ...]
    read: Callable[[Options], object]
    consequence: Consequence
    product_key: str = ""
    wanted: Callable[[Product], object] | None = None
    choices: Mapping[str, Enum] = field(default_factory=dict)

    def named(self, built: object) -> str:
        """Return the option that selects the value *built*, for messages; all options if that is unknown."""
        selected = [name for name, value in self.choices.items() if value.value == built]
        return " or ".join(f"CONFIG_{option}" for option in selected or self.options)


def _chosen(values: Options, choices: Mapping[str, T]) -> T | None:
    """Return the value of the first option that is on."""
    return next((value for name, value in choices.items() if values.get(name) is True), None)


def _first(kind: type[T], *names: str) -> Callable[[Options], T | None]:
    """Return a reader of the first option that has a value of this *kind*."""

    def read(values: Options) -> T | None:
        for name in names:
            value = values.get(name)
            if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
                return value
        return None

    return read


def _switch(name: str) -> Callable[[Options], bool]:
    """Return a reader of an option that may be missing if it is off."""
    return lambda values: values.get(name) is True


_PREFIXES = ("APP_NETWORK_PROV_NAME_PREFIX", "APP_WIFI_PROV_NAME_PREFIX")
_SECURITIES = {"APP_PROV_SECURITY_VERSION_2": Security.SRP6A, "APP_PROV_SECURITY_VERSION_1": Security.X25519}
_TRANSPORTS = {
    "APP_NETWORK_PROV_TRANSPORT_BLE": Transport.BLE,
    "APP_NETWORK_PROV_TRANSPORT_SOFTAP": Transport.SOFTAP,
    "APP_WIFI_PROV_TRANSPORT_BLE": Transport.BLE,
    "APP_WIFI_PROV_TRANSPORT_SOFTAP": Transport.SOFTAP,
}
_NO_CONSOLE = ("ESP_CONSOLE_NONE", "ESP_CONSOLE_UART_NONE", "CONSOLE_UART_NONE")
_USB_CONSOLE = ("ESP_CONSOLE_USB_SERIAL_JTAG", "ESP_CONSOLE_USB_CDC")
_UART_NUMBER = ("ESP_CONSOLE_UART_NUM", "CONSOLE_UART_NUM")
_UART_BAUD = ("ESP_CONSOLE_UART_BAUDRATE", "CONSOLE_UART_BAUDRATE")
_LOG_LEVEL = ("LOG_DEFAULT_LEVEL",)
_CHALLENGE_RESPONSE = ("ESP_RMAKER_ENABLE_CHALLENGE_RESPONSE",)
_DOWNLOAD_MODES = {
    "SECURE_DISABLE_ROM_DL_MODE": DownloadMode.OFF,
    "SECURE_ENABLE_SECURE_ROM_DL_MODE": DownloadMode.SECURE,
    "SECURE_INSECURE_ALLOW_DL_MODE": DownloadMode.OPEN,
}
_read_prefix = _first(str, *_PREFIXES)
_read_uart = _first(int, *_UART_NUMBER)


def _security(values: Options) -> Security | None:
    chosen = _chosen(values, _SECURITIES)
    return Security.PLAIN if chosen is None and _SECURITIES.keys() & values.keys() else chosen


def inferred_security(name_prefix: str | None) -> Security | None:
    """Return the security of a build with this *name_prefix* that has no option for it, None if it has no prefix."""
    return None if name_prefix is None else Security.X25519


def _qr(values: Options) -> QrForm | None:
    if _read_prefix(values) is None:
        return None
    return QrForm.COMPACT if values.get("APP_NETWORK_PROV_COMPACT_QR") is True else QrForm.JSON


def _console(values: Options) -> ConsolePort | None:
    if any(values.get(name) is True for name in _NO_CONSOLE):
        return ConsolePort.NONE
    if any(values.get(name) is True for name in _USB_CONSOLE):
        return ConsolePort.USB
    number = _read_uart(values)
    if number is None:
        return None
    return ConsolePort.UART0 if number == 0 else ConsolePort.OTHER_UART


_REFUSE, _WARN, _ADAPT = Consequence.REFUSE, Consequence.WARN, Consequence.ADAPT

FACTS = (
    Fact("security", tuple(_SECURITIES), _security, _REFUSE,
         "[provisioning] security", lambda product: product.provisioning.security, _SECURITIES),
    Fact("transport", ("APP_NETWORK_PROV_TRANSPORT", "APP_WIFI_PROV_TRANSPORT"),
         lambda values: _chosen(values, _TRANSPORTS), _REFUSE,
         "[provisioning] transport", lambda product: product.provisioning.transport, _TRANSPORTS),
    Fact("qr", ("APP_NETWORK_PROV_COMPACT_QR",), _qr, _REFUSE,
         "[provisioning] qr", lambda product: product.provisioning.qr),
    Fact("name_prefix", _PREFIXES, _read_prefix, _REFUSE,
         "[provisioning] name_prefix", lambda product: product.provisioning.name_prefix),
    Fact("factory_partition", ("ESP_RMAKER_FACTORY_PARTITION_NAME",),
         _first(str, "ESP_RMAKER_FACTORY_PARTITION_NAME"), _REFUSE,
         "[factory] partition", lambda product: product.factory.partition),
    Fact("factory_namespace", ("ESP_RMAKER_FACTORY_NAMESPACE",),
         _first(str, "ESP_RMAKER_FACTORY_NAMESPACE"), _REFUSE,
         "[factory] namespace", lambda product: product.factory.namespace),
    Fact("factory_encrypted", ("ESP_RMAKER_ENCRYPT_FACTORY_PARTITION",),
         _switch("ESP_RMAKER_ENCRYPT_FACTORY_PARTITION"), _REFUSE),
    Fact("nvs_hmac", ("NVS_SEC_KEY_PROTECT_USING_HMAC",), _switch("NVS_SEC_KEY_PROTECT_USING_HMAC"), _WARN),
    Fact("console", (*_UART_NUMBER, *_NO_CONSOLE, *_USB_CONSOLE), _console, _ADAPT),
    Fact("console_baud", _UART_BAUD, _first(int, *_UART_BAUD), _ADAPT,
         "[verify] console_baud", lambda product: product.verify.console_baud),
    Fact("log_level", _LOG_LEVEL, _first(int, *_LOG_LEVEL), _ADAPT),
    Fact("challenge_response", _CHALLENGE_RESPONSE, _first(bool, *_CHALLENGE_RESPONSE), _ADAPT),
    Fact("secure_boot", ("SECURE_BOOT",), _switch("SECURE_BOOT"), _REFUSE),
    Fact("flash_encryption", ("SECURE_FLASH_ENC_ENABLED",), _switch("SECURE_FLASH_ENC_ENABLED"), _REFUSE),
    Fact("rollback", ("BOOTLOADER_APP_ROLLBACK_ENABLE",), _switch("BOOTLOADER_APP_ROLLBACK_ENABLE"), _REFUSE),
    Fact("anti_rollback", ("BOOTLOADER_APP_ANTI_ROLLBACK",), _switch("BOOTLOADER_APP_ANTI_ROLLBACK"), _ADAPT),
    Fact("download_mode", tuple(_DOWNLOAD_MODES), lambda values: _chosen(values, _DOWNLOAD_MODES), _ADAPT),
)  # fmt: skip
"""Every fact that is read from a configuration."""
