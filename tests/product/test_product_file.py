"""product.toml: the template, the keys, and all complaints at once."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import ComplaintsError, InputError
from rmfab.files import shipped
from rmfab.product import product as values
from rmfab.product.console_pattern import ConsolePatterns
from rmfab.product.deployment import Deployment
from rmfab.product.own_step import OwnStep
from rmfab.product.product import ParamName, Product
from rmfab.product.product_file import load_product, parse_product
from rmfab.product.vocabulary import Chip, CloudProof, ConsoleMode, Credentials, KeyKind, QrForm, Security, Transport

MINIMAL = '[product]\nname = "Lamp"\nchip = "esp32c3"\nserial = "LMP-{n:06d}"\n'
HERE = Path("product.toml")


def complaints(text: str) -> dict[str, InputError]:
    """Return the complaints about a product.toml with MINIMAL and *text*, by key path."""
    with pytest.raises(ComplaintsError) as caught:
        parse_product(text if "[product]" in text else MINIMAL + text, HERE)
    return {str(one.where).removeprefix("product.toml: "): one for one in caught.value.complaints}


def test_a_minimal_product() -> None:
    """A product needs name, chip and serial only; everything else has a default."""
    product = parse_product(MINIMAL, HERE)
    assert (product.name, product.chip, str(product.serial)) == ("Lamp", Chip.ESP32C3, "LMP-{n:06d}")
    assert product.identity.credentials is Credentials.CERTIFICATE
    assert product.identity.key is KeyKind.ECDSA_P256
    assert product.identity.mqtt_host == values.MQTT_HOST_PLACEHOLDER
    assert product.certificate.validity_days is None
    assert product.provisioning.security is Security.SRP6A
    assert (product.provisioning.username, product.provisioning.name_prefix) == ("wifiprov", "PROV")
    assert (product.provisioning.transport, product.provisioning.qr) == (Transport.BLE, QrForm.JSON)
    assert (product.factory.partition, product.factory.size) == ("fctry", 0x6000)
    assert (product.label.sheet, product.label.dpi) == ("L7651", 300)


def template() -> str:
    """Return the shipped template with its placeholders filled in and its optional keys uncommented."""
    text = shipped("templates", "product.toml").read_text(encoding="utf-8")
    for key, value in {"CHIP": "esp32", "SERIAL": "L-{scan}", "CREDENTIALS": "certificate", "MQTT_NOTE": ""}.items():
        text = text.replace(f"@{key}@", value)
    text = text.replace("@RECIPIENT@", "age1" + "q" * 58).replace("@RECIPIENT_NAME@", "host")
    return re.sub(r"^# (\w+ = |\[\[)", r"\1", re.sub(r"@\w+@", "a.example", text), flags=re.MULTILINE)


def test_the_template_is_a_product() -> None:
    """The shipped template parses with all optional keys."""
    product = parse_product(template(), HERE)
    assert product.factory.config is not None
    assert product.release.path is not None
    assert product.factory.erase == ("coredump",)


def test_every_key_is_in_the_template() -> None:
    """The keys of the template are the fields of the product's dataclasses."""
    tables = tomllib.loads(template())
    told = {name: set(table) for name, table in tables.items() if isinstance(table, dict)}
    assert {key for step in tables["step"] for key in step} == {field.name for field in dataclasses.fields(OwnStep)}
    renamed = {"validity_days": "validity"}
    for field in dataclasses.fields(Product):
        kind = getattr(values, str(field.type), None)
        if kind is None or not dataclasses.is_dataclass(kind) or field.name in ("serial", "scan"):
            continue
        keys = {renamed.get(f.name, f.name) for f in dataclasses.fields(kind)}
        if kind is values.VerifyPolicy:
            keys = keys - {"scan"} | {f"scan_{f.name}" for f in dataclasses.fields(values.ScanPolicy)}
            keys = keys - {"patterns"} | {f"console_{f.name}" for f in dataclasses.fields(ConsolePatterns)}
        if kind is values.CloudPolicy:
            keys = keys - {"deployment"} | {f.name for f in dataclasses.fields(Deployment)}
        assert told[field.name] == keys
    assert told["product"] == {"name", "chip", "serial", "scan"}
    rule = tomllib.loads(template())["product"]["scan"]
    assert set(rule) == {field.name for field in dataclasses.fields(values.ScanRule)}


@pytest.mark.parametrize(
    ("serial", "scan", "told"),
    [
        ("{scan}", '{ prefix = "SN", digits = 9, check = "luhn" }', None),
        ("{scan}", "{}", None),
        ("{n}", '{ prefix = "SN" }', "[product] scan"),
        ("{mac}", "{ digits = 3 }", "[product] scan"),
        ("{scan}", '{ check = "crc" }', "[product] scan check"),
        ("{scan}", "{ digits = 0 }", "[product] scan digits"),
        ("{scan}", '{ prefix = "a b" }', "[product] scan prefix"),
        ("{scan}", '{ suffix = "a" }', "[product] scan suffix"),
        ("{scan}", '"luhn"', "[product] scan"),
    ],
)
def test_the_rule_for_codes(serial: str, scan: str, told: str | None) -> None:
    """`scan` has prefix, digits and check; a wrong value, or a serial without a code, is reported with its key path."""
    text = re.sub(r"^scan = .*", f"scan = {scan}", template(), flags=re.MULTILINE).replace("L-{scan}", serial)
    if told is None:
        assert parse_product(text, HERE).serial.late
        return
    with pytest.raises(ComplaintsError) as caught:
        parse_product(text, HERE)
    assert [complaint.where for complaint in caught.value.complaints] == [f"product.toml: {told}"]


def test_the_keys_of_verify() -> None:
    """Each key of [verify] is read; its default is the value in the template."""
    text = (
        "[verify]\nprovision = true\nanswer_timeout = 3\nwrong_pop_every = 7\n"
        'scan_ssid = "fab"\nscan_marginal = -60\nscan_fail = -75\njoin = true\njoin_timeout = 9.5\n'
        'cloud = "witness"\ncloud_param = "Light.Power"\ncloud_timeout = 20\n'
    )
    verify = parse_product(MINIMAL + text, HERE).verify
    assert (verify.provision, verify.answer_timeout, verify.wrong_pop_every) == (True, 3.0, 7)
    assert verify.scan == values.ScanPolicy("fab", -60, -75)
    assert (verify.join, verify.join_timeout) == (True, 9.5)
    assert (verify.cloud, verify.cloud_param, verify.cloud_timeout) == (
        CloudProof.WITNESS, ParamName("Light", "Power"), 20.0,
    )  # fmt: skip
    shown = parse_product(template(), HERE).verify  # its patterns are an example
    assert len(shown.patterns.must) == len(shown.patterns.must_not) == 1
    shown = dataclasses.replace(shown, patterns=ConsolePatterns())
    assert parse_product(MINIMAL, HERE).verify == shown == values.VerifyPolicy()


@pytest.mark.parametrize(("former", "now"), [("true", CloudProof.CONSOLE), ("false", CloudProof.OFF)])
def test_the_former_mqtt(former: str, now: CloudProof) -> None:
    """`mqtt = true` of former files is what cloud = "console" is now."""
    verify = parse_product(f"{MINIMAL}[verify]\njoin = true\nmqtt = {former}\n", HERE).verify
    assert verify.cloud is now


def test_the_keys_of_cloud() -> None:
    """[cloud] enforce is read, and false by default; a different key is reported."""
    assert parse_product(MINIMAL + "[cloud]\nenforce = true\n", HERE).cloud.enforce
    assert not parse_product(MINIMAL, HERE).cloud.enforce
    assert not parse_product(template(), HERE).cloud.enforce
    with pytest.raises(ComplaintsError, match="enforced"):
        parse_product(MINIMAL + "[cloud]\nenforced = true\n", HERE)


@pytest.mark.parametrize(
    ("told", "mode"),
    [(f'"{mode.value}"', mode) for mode in ConsoleMode] + [("true", ConsoleMode.AUTO), ("false", ConsoleMode.LOG)],
)
def test_the_modes_of_the_console(told: str, mode: ConsoleMode) -> None:
    """Each mode has its word, and the values of former files keep a meaning; the baud is a number, 0 for none."""
    verify = parse_product(f"{MINIMAL}[verify]\nconsole = {told}\nconsole_baud = 74880\n", HERE).verify
    assert (verify.console, verify.console_baud) == (mode, 74880)
    assert parse_product(f"{MINIMAL}[verify]\nconsole_baud = 0\n", HERE).verify.console_baud is None


def test_all_complaints_at_once() -> None:
    """All wrong keys are reported at once, with key paths and with suggestions for misspelt keys."""
    found = complaints(
        'stray = 1\n[prodct]\n[product]\nname = ""\nchip = "esp32c33"\nserial = "../{n}"\ncolour = 1\n'
        '[identity]\ncredentials = "claim"\nnode_id = "values"\nmqqt_host = "x"\nkey = true\n'
        '[certificate]\nvalidity = "tomorrow"\n[factory]\nsize = 0x6001\nerase = ["x", 3]\nconfig = 5\n'
        '[verify]\nboot_timeout = "x"\nsettle = nan\n[label]\ndpi = 3000\n[recipients]\na = "age1x"\n'
    )
    assert set(found) == {
        "stray",
        "[prodct]",
        "[product] name",
        "[product] chip",
        "[product] serial",
        "[product] colour",
        "[identity] mqqt_host",
        "[identity] key",
        "[identity] node_id",
        "[certificate] validity",
        "[factory] size",
        "[factory] erase",
        "[factory] config",
        "[verify] boot_timeout",
        "[verify] settle",
        "[label] dpi",
        "[recipients] a",
    }
    assert found["[identity] mqqt_host"].hint == 'did you mean "mqtt_host"?'
    assert found["[prodct]"].hint == 'did you mean "product"?'
    assert found["[product] chip"].hint == 'did you mean "esp32c3"?'
    assert "name, chip, serial" in str(found["[product] colour"].hint)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[product]\n", "[product] name"),
        ('[product]\nname = "x"\nserial = "a{n}"\n', "[product] chip"),
        ('[product]\nname = "x"\nchip = "esp32"\n', "[product] serial"),
        ('[product]\nname = "a\\nb"\nchip = "esp32"\nserial = "{n}"\n', "[product] name"),
        ('[identity]\nmqtt_host = "mqtts://x.example"\n', "[identity] mqtt_host"),
        ('[identity]\nmqtt_host = "x.example:8883"\n', "[identity] mqtt_host"),
        ('[identity]\nmqtt_host = ""\n', "[identity] mqtt_host"),
        ('[identity]\nmqtt_cred_host = "a b"\n', "[identity] mqtt_cred_host"),
        ("[certificate]\nvalidity = 0\n", "[certificate] validity"),
        ("[certificate]\nvalidity = true\n", "[certificate] validity"),
        ('[certificate]\nprofile = "loose"\n', "[certificate] profile"),
        ("[provisioning]\nsecurity = 3\n", "[provisioning] security"),
        ("[provisioning]\nsecurity = true\n", "[provisioning] security"),
        ('[provisioning]\nusername = "a:b"\n', "[provisioning] username"),
        ('[provisioning]\nname_prefix = "12345678901234567890123"\n', "[provisioning] name_prefix"),
        ('[provisioning]\nname_prefix = "a\\"b"\n', "[provisioning] name_prefix"),
        ('[provisioning]\ntransport = "wifi"\n', "[provisioning] transport"),
        ("[factory]\nsize = 0x2000\n", "[factory] size"),
        ("[factory]\nsize = 1.5\n", "[factory] size"),
        ('[factory]\npartition = "sixteen_letters_"\n', "[factory] partition"),
        ('[factory]\nnamespace = ""\n', "[factory] namespace"),
        ('[factory]\nerase = ["nvs", "so so"]\n', "[factory] erase"),
        ("[verify]\nconsole = 1\n", "[verify] console"),
        ('[verify]\nconsole = "quiet"\n', "[verify] console"),
        ("[verify]\nconsole_baud = -1\n", "[verify] console_baud"),
        ('[verify]\nconsole_baud = "auto"\n', "[verify] console_baud"),
        ("[verify]\nprovision = 1\n", "[verify] provision"),
        ("[verify]\nanswer_timeout = 0.1\n", "[verify] answer_timeout"),
        ("[verify]\nwrong_pop_every = -1\n", "[verify] wrong_pop_every"),
        ("[verify]\nwrong_pop_every = 1.5\n", "[verify] wrong_pop_every"),
        (f'[verify]\nscan_ssid = "{"x" * 33}"\n', "[verify] scan_ssid"),
        ("[verify]\nscan_marginal = 1\n", "[verify] scan_marginal"),
        ("[verify]\nscan_marginal = -80\nscan_fail = -70\n", "[verify] scan_fail"),
        ("[verify]\njoin_timeout = 0\n", "[verify] join_timeout"),
        ("[verify]\nmqtt = true\n", "[verify] cloud"),
        ('[verify]\ncloud = "witness"\n', "[verify] cloud"),
        ('[verify]\njoin = true\ncloud = "console"\nprovision = false\n', "[verify] cloud"),
        ("[verify]\njoin = true\ncloud = true\n", "[verify] cloud"),
        ('[verify]\njoin = true\ncloud = "console"\ncloud_param = "Light.Power"\n', "[verify] cloud_param"),
        ('[verify]\njoin = true\ncloud = "witness"\ncloud_param = "Power"\n', "[verify] cloud_param"),
        ('[verify]\njoin = true\ncloud = "witness"\ncloud_timeout = 0\n', "[verify] cloud_timeout"),
        ('[identity]\ncredentials = "claim"\n[verify]\njoin = true\ncloud = "console"\n', "[verify] cloud"),
        ("label = 3\n[product]\n", "[label]"),
    ],
)
def test_bad_values(text: str, path: str) -> None:
    """A value of the wrong type or out of range is a complaint with its key path."""
    assert path in complaints(text)


def test_days_and_no_expiry() -> None:
    """The validity is a number of days, or 9999-12-31 as a string or a TOML date."""
    for text, days in (("30", 30), ('"9999-12-31"', None), ("9999-12-31", None)):
        assert parse_product(f"{MINIMAL}[certificate]\nvalidity = {text}\n", HERE).certificate.validity_days == days


def test_paths_are_resolved_beside_the_file(tmp_path: Path) -> None:
    """`config` and `path` are relative to product.toml, not to the working directory."""
    (tmp_path / "product.toml").write_text(f'{MINIMAL}[factory]\nconfig = "csv/c.csv"\n[release]\npath = "build"\n')
    product = load_product(tmp_path / "product.toml")
    assert product.factory.config == tmp_path.resolve() / "csv" / "c.csv"
    assert product.release.path == tmp_path.resolve() / "build"


def test_bytes_that_are_no_toml(tmp_path: Path) -> None:
    """A file that is not UTF-8 or not TOML is rejected with its path, and line and column; a BOM is accepted."""
    path = tmp_path / "product.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not a UTF-8 file"):
        load_product(path)
    path.write_text('[product]\nname = "x\n')
    with pytest.raises(InputError, match="line 2") as caught:
        load_product(path)
    assert caught.value.where == str(path)
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_product(path).name == "Lamp"
    with pytest.raises(InputError, match="cannot read"):
        load_product(tmp_path / "nowhere.toml")


@given(
    st.recursive(
        st.one_of(st.integers(), st.booleans(), st.text("abc.{n}-", max_size=8)),
        lambda inner: st.dictionaries(
            st.sampled_from(["product", "identity", "name", "chip", "serial", "size", "erase", "x"]), inner
        ),
        max_leaves=8,
    )
)
def test_any_document_is_a_product_or_complaints(document: object) -> None:
    """Any TOML document gives a product or an InputError, no other exception."""
    from rmfab.product import product_file

    if not isinstance(document, dict):
        document = {"product": document}
    try:
        outcome: object = product_file._product(document, HERE)
    except InputError as error:
        outcome = error.where
    assert isinstance(outcome, (Product, str))
