"""`config/sdkconfig.json` of a build folder: the ESP-IDF and RainMaker options that a firmware was built with.

Sources of the names: ESP-IDF Kconfig (bootloader, partition table), esp-rainmaker `rmaker_app_network`
(Kconfig.projbuild). ESP-IDF writes the names without CONFIG_, an option that is off as false, and leaves out the
options that depend on one that is off.
"""

from __future__ import annotations

from rmfab.product.vocabulary import Chip, ConsolePort, DownloadMode, QrForm, Security, Transport
from rmfab.virtual.firmware.markers import FirmwareFacts


def sdkconfig(
    chip: Chip,
    facts: FirmwareFacts,
    *,
    table_offset: int,
    secure_version: int,
    turned_on: DownloadMode | None,
) -> dict[str, bool | int | str]:
    """Return the configuration of a firmware with these *facts*.

    A *secure_version* above 0 enables anti-rollback. *turned_on* is not None if the bootloader turns secure boot v2 on;
    it is the ROM download mode that remains.
    """
    anti_rollback = {"BOOTLOADER_APP_SECURE_VERSION": secure_version} if secure_version else {}
    return {
        "IDF_TARGET": chip.value,
        "PARTITION_TABLE_OFFSET": table_offset,
        "BOOTLOADER_APP_ROLLBACK_ENABLE": facts.rollback,
        "BOOTLOADER_APP_ANTI_ROLLBACK": secure_version > 0,
        **anti_rollback,
        "SECURE_BOOT": turned_on is not None,
        **(_secure_boot(turned_on) if turned_on is not None else {}),
        "SECURE_FLASH_ENC_ENABLED": False,
        **_console(facts),
        "LOG_DEFAULT_LEVEL": facts.log_level,
        "ESP_RMAKER_ENABLE_CHALLENGE_RESPONSE": facts.ch_resp,
        "ESP_RMAKER_USE_CERT_BUNDLE": not facts.server_root,
        "ESP_RMAKER_FACTORY_PARTITION_NAME": "fctry",
        "ESP_RMAKER_FACTORY_NAMESPACE": "rmaker_creds",
        "ESP_RMAKER_ENCRYPT_FACTORY_PARTITION": False,
        **_provisioning(facts),
    }


def _console(facts: FirmwareFacts) -> dict[str, bool | int | str]:
    port = facts.console_port
    numbers = {ConsolePort.UART0: 0, ConsolePort.OTHER_UART: 1}
    on_uart = {"ESP_CONSOLE_UART_BAUDRATE": facts.console_baud} if port in numbers else {}
    return {
        "ESP_CONSOLE_UART_NUM": numbers.get(port, -1),
        "ESP_CONSOLE_NONE": port is ConsolePort.NONE,
        "ESP_CONSOLE_USB_SERIAL_JTAG": port is ConsolePort.USB,
        **on_uart,
    }


def _secure_boot(mode: DownloadMode) -> dict[str, bool]:
    return {
        "SECURE_BOOT_V2_ENABLED": True,
        "SECURE_DISABLE_ROM_DL_MODE": mode is DownloadMode.OFF,
        "SECURE_ENABLE_SECURE_ROM_DL_MODE": mode is DownloadMode.SECURE,
        "SECURE_INSECURE_ALLOW_DL_MODE": mode is DownloadMode.OPEN,
    }


def _provisioning(facts: FirmwareFacts) -> dict[str, bool | int | str]:
    return {
        "APP_PROV_SECURITY_VERSION_1": facts.security is Security.X25519,
        "APP_PROV_SECURITY_VERSION_2": facts.security is Security.SRP6A,
        "APP_NETWORK_PROV_COMPACT_QR": facts.qr is QrForm.COMPACT,
        "APP_NETWORK_PROV_SHOW_QR": True,
        "APP_NETWORK_PROV_NAME_PREFIX": facts.name_prefix,
        "APP_NETWORK_PROV_TRANSPORT_BLE": facts.transport is Transport.BLE,
        "APP_NETWORK_PROV_TRANSPORT_SOFTAP": facts.transport is Transport.SOFTAP,
    }
