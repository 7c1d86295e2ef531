"""RainMaker firmware on a virtual board: what it reads from `fctry`, prints, writes and answers.

Sources: espressif/esp-rainmaker 1.16 (esp_rmaker_core.c, app_network.c, app_wifi_internal.c, esp_rmaker_commands.c),
idf-extra-components network_provisioning 1.2 (manager.c); facts only.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Generator, Iterator

from rmfab.nvs.table import EntryKind
from rmfab.product.vocabulary import Security
from rmfab.virtual.chip.flash import Flash
from rmfab.virtual.faults import BoardFault
from rmfab.virtual.firmware import sec2
from rmfab.virtual.firmware.console import FirmwareConsole
from rmfab.virtual.firmware.log import EOL
from rmfab.virtual.firmware.nvs_writer import NvsFull, NvsWriter
from rmfab.virtual.firmware.panic import abort
from rmfab.virtual.firmware.protocomm.service import ProvisioningService
from rmfab.virtual.firmware.rollback import enable_updates
from rmfab.virtual.firmware.running import FACTORY_PARTITION, NAMESPACE, WIFI_NAMESPACE, RunningFirmware
from rmfab.virtual.firmware.script import Listen, Pause, Script, Serve, Step
from rmfab.virtual.firmware.wifi import WifiStation

_URL = "https://rainmaker.espressif.com/qrcode.html?data="
_ABORT_SECONDS = 5.0
_RADIO_SECONDS = 0.3
_SEC2_SECONDS = 2.5
_PHY_DATA_SIZE = 1904
_PHY_VERSION = 8310
_RANDOM_SIZE = 64
_CLAIM = 'Please perform "claiming" using RainMaker CLI.'


def app_main(firmware: RunningFirmware) -> Script:
    """Run app_main() of the RainMaker examples: console, network, node, provisioning."""
    station = WifiStation(firmware)
    if firmware.facts.console:
        yield f"{EOL}>> "
        yield Listen(FirmwareConsole(firmware, station).answer)
    yield from _start_network(firmware)
    ready = yield from _start_node(firmware)
    if not ready:
        yield firmware.log.failure("app_main", "Could not initialise node. Aborting!!!")
        yield Pause(_ABORT_SECONDS)
        yield from abort(firmware.spec.model, firmware.descriptor)
        return
    yield from enable_updates(firmware)
    yield firmware.log("esp_rmaker_core", "Starting RainMaker Work Queue task")
    if firmware.station is not None:
        yield firmware.log("app_wifi", "Already provisioned, starting Wi-Fi STA")
        yield from station.start()
    else:
        yield from _start_provisioning(firmware, station)


def _start_network(firmware: RunningFirmware) -> Iterator[Step]:
    """Bring up the radio, which writes to `nvs` at every boot."""
    log = firmware.log
    yield log("pp", "pp rom version: 9387209", after=20)
    yield from _take(firmware, _RADIO_SECONDS)
    yield log.driver(312, "wifi driver task: 3fca3f0c, prio:23, stack:6656, core=0")
    yield log.driver(318, "wifi firmware version: 14da9b7")
    yield log.driver(318, "config NVS flash: enabled")
    nvs = firmware.nvs("nvs")
    if nvs is not None:
        try:
            nvs.set_integer("phy", "cal_version", EntryKind.U32, _PHY_VERSION)
            nvs.set_blob("phy", "cal_mac", firmware.spec.base_mac)
            nvs.set_blob("phy", "cal_data", secrets.token_bytes(_PHY_DATA_SIZE))
            nvs.set_integer(WIFI_NAMESPACE, "opmode", EntryKind.U8, 1)
            firmware.keep_no_station(nvs)
        except NvsFull:
            # 0x1105: ESP_ERR_NVS_NOT_ENOUGH_SPACE
            yield log.failure("phy_init", "store_cal_data_to_nvs_handle: store calibration data failed(0x1105)")
    yield log("phy_init", "phy_version 1180,01f2a49,Jun  4 2024,16:34:25", after=40)
    yield log("phy_init", "Saving new calibration data due to checksum failure or outdated calibration data, mode(0)")
    mac = firmware.spec.base_mac.hex(":")
    yield log.driver(420, f"mode : sta ({mac})")


def _take(firmware: RunningFirmware, seconds: float) -> Iterator[Step]:
    """Keep a paced board busy."""
    if firmware.spec.paced is not None:
        yield Pause(seconds)


def _start_node(firmware: RunningFirmware) -> Generator[Step, None, bool]:
    """Run esp_rmaker_node_init(); the generator returns whether it succeeded."""
    log = firmware.log
    if firmware.factory is None:
        yield log.failure("esp_rmaker_fctry", "NVS Flash init failed")
        yield log.failure("esp_rmaker_core", "Failed to initialise storage")
        return False
    node_id = firmware.node_id
    if node_id is None:
        yield log.failure("esp_rmaker_core", f"Failed to initialise Node Id. {_CLAIM}")
        return False
    if firmware.claims:
        yield log("esp_claim", "Initialising Assisted Claiming. This may take time.")
        _draw_random(firmware)
    elif (missing := _missing_credential(firmware)) is not None:
        yield log.failure("esp_rmaker_client_data", f"Failed to get {missing}")
        yield log.failure("esp_rmaker_core", f"Failed to initialise MQTT Params. {_CLAIM}")
        return False
    yield log("esp_rmaker_node", f"Node ID ----- {node_id}")
    return True


def _draw_random(firmware: RunningFirmware) -> None:
    """Write `random` into `fctry` if the factory has not, as claiming does."""
    factory = firmware.nvs(FACTORY_PARTITION)
    if factory is None or firmware.factory_value("random") is not None:
        return
    with contextlib.suppress(NvsFull):  # the firmware reports the missing PoP later
        factory.set_blob(NAMESPACE, "random", secrets.token_bytes(_RANDOM_SIZE))
        firmware.forget_factory()


def _missing_credential(firmware: RunningFirmware) -> str | None:
    if not firmware.mqtt_host:
        return "mqtt host"
    words = {"client_cert": "client cert", "client_key": "client key"}
    return next((text for key, text in words.items() if not firmware.factory_value(key)), None)


def _start_provisioning(firmware: RunningFirmware, station: WifiStation) -> Iterator[Step]:
    log, facts = firmware.log, firmware.facts
    if firmware.pop is None:
        yield log.failure("app_network", "Failed to read random bytes from NVS to generate PoP.")
        yield log.failure("app_main", "Could not start network. Aborting!!!")
        yield Pause(_ABORT_SECONDS)
        yield from abort(firmware.spec.model, firmware.descriptor)
        return
    yield log("app_wifi", "Starting provisioning", after=30)
    pair = b"", b""
    if firmware.security is Security.SRP6A:
        pair = yield from _sec2_pair(firmware, firmware.pop)
    yield Serve(ProvisioningService(firmware, station, pair))
    yield log("app_wifi", "Provisioning started")
    yield log("network_prov_mgr", f"Provisioning started with service name : {firmware.service_name} ")
    if facts.prints_qr:
        yield log("app_network", "Scan this QR code from the ESP RainMaker phone app for Provisioning.")
        yield log(
            "app_network",
            f"If QR code is not visible, copy paste the below URL in a browser.\n{_URL}{firmware.qr_payload}",
        )
    yield log("app_network", "Provisioning will auto stop after 30 minute(s).")


def _sec2_pair(firmware: RunningFirmware, pop: str) -> Generator[Step, None, tuple[bytes, bytes]]:
    """Return the pair from `fctry`, or make one and store it there; it is not checked against the PoP.

    Two faults use a different pair, which is not in the flash.
    """
    salt, verifier = yield from _kept_pair(firmware, pop)
    if firmware.spec.has(BoardFault.WRONG_VERIFIER):
        return sec2.make_pair(pop[::-1] + "-")
    return sec2.make_pair(pop) if firmware.spec.has(BoardFault.WRONG_POP) else (salt, verifier)


def _kept_pair(firmware: RunningFirmware, pop: str) -> Generator[Step, None, tuple[bytes, bytes]]:
    log = firmware.log
    kept = firmware.factory_value(sec2.SALT_KEY), firmware.factory_value(sec2.VERIFIER_KEY)
    if kept[0] and kept[1]:
        yield log("app_network", "Reusing cached sec2 salt-verifier from NVS")
        return kept[0], kept[1]
    yield log("app_network", f"Generating sec2 salt-verifier for username '{sec2.USERNAME}'")
    yield from _take(firmware, _SEC2_SECONDS)
    salt, verifier = sec2.make_pair(pop)
    factory = firmware.nvs(FACTORY_PARTITION)
    try:
        if factory is not None:
            factory.set_blob(NAMESPACE, sec2.SALT_KEY, salt)
            factory.set_blob(NAMESPACE, sec2.VERIFIER_KEY, verifier)
            firmware.forget_factory()
            yield log("app_network", "Stored sec2 salt-verifier to NVS for later use", after=900)
    except NvsFull:
        yield log.failure("app_network", "Failed to store sec2 salt-verifier to NVS")
    return salt, verifier


# In RainMaker's partition tables: `nvs` at 0x9000 or 0x10000, `fctry` at 0x340000 (old) or 0x3FA000 (the default).
_STALE_PLACES = (0x9000, 0x10000, 0x340000, 0x3FA000)


def leave_stale_identity(flash: Flash) -> None:
    """Fill the usual places of `nvs` and `fctry` with NVS pages of an earlier identity.

    Only a blank flash is changed, so that a board that has been written since keeps its data.
    """
    if not flash.is_blank(0, flash.size):
        return
    for place in _STALE_PLACES:
        if place + 0x6000 > flash.size or not flash.is_blank(place, 0x6000):
            continue
        writer = NvsWriter(flash, place, 0x6000)
        for _ in range(4):
            writer.set_blob(NAMESPACE, "node_id", b"StaleNodeOfAnEarlierLife")
            writer.set_blob(NAMESPACE, "random", secrets.token_bytes(64))
            writer.set_blob(NAMESPACE, "client_cert", secrets.token_bytes(1800))
        writer.set_blob(WIFI_NAMESPACE, "sta.ssid", (7).to_bytes(4, "little") + b"bakery!".ljust(32, b"\0"))
