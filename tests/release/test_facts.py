"""Firmware facts: read from configurations of every year and from the app, and compared with the product."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rmfab.product.product import Factory, Product, Provisioning
from rmfab.product.vocabulary import ConsolePort, QrForm, Security, Transport
from rmfab.release.app_strings import AppStrings
from rmfab.release.build_config import BuildConfig
from rmfab.release.build_folder import read_build_folder
from rmfab.release.doubts import doubts_about
from rmfab.release.fact_table import FACTS
from rmfab.release.preflight import inspect_for_product
from rmfab.release.release import Release

OLD = {
    "APP_WIFI_PROV_NAME_PREFIX": "OLD",
    "APP_WIFI_PROV_TRANSPORT_BLE": False,
    "APP_WIFI_PROV_TRANSPORT_SOFTAP": True,
}
NEW = {"APP_NETWORK_PROV_NAME_PREFIX": "NEW", "APP_NETWORK_PROV_TRANSPORT_BLE": True}


@pytest.mark.parametrize(
    ("values", "field", "value"),
    [
        (OLD, "transport", Transport.SOFTAP),
        (OLD, "name_prefix", "OLD"),
        (OLD, "security", Security.X25519),
        (OLD, "qr", QrForm.JSON),
        (NEW, "security", Security.X25519),
        (NEW | OLD, "transport", Transport.BLE),
        (NEW | OLD, "name_prefix", "NEW"),
        (NEW | {"APP_PROV_SECURITY_VERSION_2": True}, "security", Security.SRP6A),
        ({}, "security", None),
        ({"ESP_RMAKER_FACTORY_PARTITION_NAME": "factory_nvs"}, "factory_partition", "factory_nvs"),
        ({"ESP_RMAKER_FACTORY_NAMESPACE": "creds"}, "factory_namespace", "creds"),
        ({"ESP_RMAKER_ENCRYPT_FACTORY_PARTITION": True}, "factory_encrypted", True),
        ({"NVS_SEC_KEY_PROTECT_USING_HMAC": True}, "nvs_hmac", True),
        ({"ESP_CONSOLE_UART_NUM": 0}, "console", ConsolePort.UART0),
        ({"CONSOLE_UART_NUM": 1}, "console", ConsolePort.OTHER_UART),
        ({"ESP_CONSOLE_NONE": True, "ESP_CONSOLE_UART_NUM": -1}, "console", ConsolePort.NONE),
        ({"ESP_CONSOLE_UART_NONE": True}, "console", ConsolePort.NONE),
        ({"ESP_CONSOLE_USB_SERIAL_JTAG": True, "ESP_CONSOLE_UART_NUM": -1}, "console", ConsolePort.USB),
        ({"CONSOLE_UART_BAUDRATE": 74880}, "console_baud", 74880),
        ({"LOG_DEFAULT_LEVEL": 0}, "log_level", 0),
        ({"LOG_DEFAULT_LEVEL": True}, "log_level", None),
    ],
)
def test_each_fact_has_its_names(values: dict[str, object], field: str, value: object):
    """Options of every year give the fact, the newest name first; and it reads back from the manifest."""
    facts = BuildConfig.from_sdkconfig(values).with_app(b"")
    assert getattr(facts, field) == value
    assert BuildConfig.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_every_fact_is_a_field():
    """The table names fields of BuildConfig, each once."""
    names = [fact.name for fact in FACTS]
    assert len(names) == len(set(names))
    assert set(names) <= BuildConfig.__dataclass_fields__.keys()


@pytest.mark.parametrize(
    "values", [{"log_level": True}, {"log_level": "3"}, {"console": "x"}, {"factory_partition": 1}]
)
def test_other_values_are_no_facts(values: dict[str, Any]):
    """A manifest with values of other kinds is malformed."""
    with pytest.raises((TypeError, ValueError)):
        BuildConfig.from_json(values)


CONFIGURED = {
    "security": Security.SRP6A,
    "transport": Transport.BLE,
    "qr": QrForm.JSON,
    "name_prefix": "PROV",
    "factory_partition": "fctry",
    "factory_namespace": "rmaker_creds",
}


@pytest.mark.parametrize(
    ("changes", "key", "option"),
    [
        ({"transport": Transport.SOFTAP}, "[provisioning] transport", "CONFIG_APP_WIFI_PROV_TRANSPORT_SOFTAP"),
        (
            {"security": Security.X25519},
            "[provisioning] security",
            "security = 1 (CONFIG_APP_PROV_SECURITY_VERSION_1), but the product has 2",
        ),
        ({"security": Security.PLAIN}, "[provisioning] security", "CONFIG_APP_PROV_SECURITY_VERSION_2 or"),
        ({"name_prefix": "X"}, "[provisioning] name_prefix", 'name_prefix = "X" ('),
        ({"factory_partition": "factory_nvs"}, "[factory] partition", "CONFIG_ESP_RMAKER_FACTORY_PARTITION_NAME"),
        ({"factory_namespace": "creds"}, "[factory] namespace", "CONFIG_ESP_RMAKER_FACTORY_NAMESPACE"),
    ],
)
def test_a_contradiction_names_both_keys(
    release: Release, product: Product, changes: dict[str, Any], key: str, option: str
):
    """What build and product contradict is refused with the key of the product and the option of the build."""
    good = replace(release, configured=BuildConfig(**CONFIGURED))
    assert inspect_for_product(good, product) == []
    (found,) = inspect_for_product(replace(release, configured=BuildConfig(**CONFIGURED | changes)), product)
    assert (found.cause, found.where) == ("config-mismatch", f"product.toml: {key}")
    assert option in found.what


def test_an_encrypted_factory_partition_is_refused(release: Release, product: Product):
    """Firmware that expects an encrypted factory partition could not read the plain image."""
    built = replace(release, configured=BuildConfig(**CONFIGURED, factory_encrypted=True))
    (found,) = inspect_for_product(built, product)
    assert (found.cause, "ENCRYPT_FACTORY_PARTITION" in str(found.hint)) == ("encrypted", True)


def test_what_the_build_does_not_say_is_one_warning(release: Release, product: Product):
    """Missing facts are neither agreement nor refusal: one warning names what to compare."""
    silent = replace(release, configured=BuildConfig(**CONFIGURED | {"transport": None, "factory_namespace": None}))
    assert inspect_for_product(silent, product) == []
    (doubt,) = doubts_about(silent, product)
    assert "[provisioning] transport, [factory] namespace" in doubt.what
    assert list(doubts_about(replace(release, configured=BuildConfig(**CONFIGURED)), product)) == []


def test_a_burned_key_is_a_warning(release: Release, product: Product):
    """NVS that is protected by an eFuse key is warned of: its first boot cannot be undone."""
    (doubt,) = doubts_about(replace(release, configured=BuildConfig(**CONFIGURED, nvs_hmac=True)), product)
    assert "burns an eFuse key" in doubt.what


SEC1 = b'\0{"ver":"%s","name":"%s","pop":"%s","transport":"%s"}\0'
SEC2 = b'\0{"ver":"%s","name":"%s","username":"%s","pop":"%s","transport":"%s"}\0'


@pytest.mark.parametrize(
    ("app", "shown"),
    [
        (b"", AppStrings()),
        (b"\0get-node-id\0", AppStrings()),
        (b"\0esp_rmaker_core\0", AppStrings(False, False, False, False)),
        (b"\0esp_rmaker_core\0get-node-id\0", AppStrings(True, False, False, False)),
        (b"\0esp_rmaker_core\0get-node-id\0sign-data\0", AppStrings(True, True, False, False)),
        (b"\0esp_rmaker_core\0https://rainmaker.espressif.com/qrcode.html\0", AppStrings(False, False, True, False)),
        (b"\0esp_rmaker_core\0ch_resp\0", AppStrings(False, False, False, True)),
        (SEC1, AppStrings(security=Security.X25519)),
        (SEC2, AppStrings(security=Security.SRP6A)),
    ],
)
def test_what_the_strings_of_an_app_show(app: bytes, shown: AppStrings):
    """What an app can do is known of RainMaker's only; the QR format shows the security."""
    assert AppStrings.find(app) == shown


def test_the_configuration_is_read_before_the_app():
    """The app's strings fill in what the configuration does not say."""
    assert BuildConfig(security=Security.SRP6A).with_app(SEC1).security is Security.SRP6A
    assert BuildConfig().with_app(SEC1).security is Security.X25519
    built = BuildConfig.from_sdkconfig({"ESP_RMAKER_ENABLE_CHALLENGE_RESPONSE": False})
    assert built.with_app(b"\0esp_rmaker_core\0ch_resp\0").challenge_response is False


@pytest.mark.parametrize(("app", "security"), [(SEC2, Security.SRP6A), (SEC1, Security.X25519), (b"", Security.X25519)])
def test_a_user_name_in_the_app_outweighs_what_is_inferred(app: bytes, security: Security):
    """A prefix without an option for the security means security 1, unless the app itself shows a user name."""
    assert BuildConfig.from_sdkconfig(OLD).with_app(app).security is security


@pytest.mark.parametrize(
    ("built", "said", "complaints"),
    [(74880, 115200, 1), (74880, 74880, 0), (74880, None, 0), (None, 115200, 0)],
)
def test_the_baud_of_the_console_is_compared(
    release: Release, product: Product, built: int | None, said: int | None, complaints: int
):
    """A console_baud that contradicts the build is refused with both names; without one, the product has no opinion."""
    loud = replace(release, configured=BuildConfig(**CONFIGURED, console_baud=built))
    found = inspect_for_product(loud, replace(product, verify=replace(product.verify, console_baud=said)))
    assert [one.where for one in found] == ["product.toml: [verify] console_baud"] * complaints
    assert all("CONFIG_ESP_CONSOLE_UART_BAUDRATE" in one.what for one in found)


def test_facts_from_the_text_file(build_folder: Path, product: Product):
    """Without sdkconfig.json the text file of the project is read."""
    (build_folder / "config" / "sdkconfig.json").unlink()
    assert read_build_folder(build_folder).configured.transport is None
    (build_folder.parent / "CMakeLists.txt").touch()
    (build_folder.parent / "sdkconfig").write_text(
        'CONFIG_APP_WIFI_PROV_NAME_PREFIX="OLD"\nCONFIG_APP_WIFI_PROV_TRANSPORT_SOFTAP=y\n'
    )
    other = replace(product, provisioning=Provisioning(), factory=Factory())
    found = inspect_for_product(read_build_folder(build_folder), other)
    assert [one.where for one in found] == [
        "product.toml: [provisioning] transport",
        "product.toml: [provisioning] name_prefix",
    ]
