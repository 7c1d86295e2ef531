"""The reader of product.toml: each table is read once, and all complaints are reported together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rmfab.files import is_safe_name
from rmfab.product.console_pattern import read_console_patterns
from rmfab.product.deployment import read_deployment
from rmfab.product.own_step import read_own_steps
from rmfab.product.product import (
    MQTT_HOST_PLACEHOLDER,
    CertificatePolicy,
    CloudPolicy,
    Factory,
    IdentityPolicy,
    LabelPolicy,
    ParamName,
    Product,
    Provisioning,
    ReleasePolicy,
    ScanPolicy,
    VerifyPolicy,
)
from rmfab.product.scan_rule import CodeCheck, ScanRule
from rmfab.product.serial import SerialPattern, SerialSource
from rmfab.product.toml_reader import Table, Walker, as_toml, load_toml, parse_toml
from rmfab.product.vocabulary import (
    CertificateProfile,
    Chip,
    CloudProof,
    ConsoleMode,
    Credentials,
    KeyKind,
    LabelPrinting,
    NodeIdKind,
    QrForm,
    Security,
    SeqSource,
    Transport,
)

FILE_NAME = "product.toml"
NO_EXPIRY = "9999-12-31"

_HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_CODE_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,63}")
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,15}")
_RECIPIENT = re.compile(r"age1[ac-hj-np-z02-9]{58}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")


def load_product(path: Path) -> Product:
    """Read product.toml. Raise InputError if it cannot be read, ComplaintsError with every wrong key."""
    return _product(load_toml(path, "product"), path)


def parse_product(text: str, path: Path) -> Product:
    """Parse *text* as the content of *path*. Raise the errors of `load_product`."""
    return _product(parse_toml(text, path), path)


def _product(data: dict[str, Any], path: Path) -> Product:
    walker = Walker(path.name, data)
    root = path.resolve().parent
    product = _read(walker, root)
    _judge_together(walker, product)
    walker.finish()
    return product


def _read(walker: Walker, root: Path) -> Product:
    table = walker.table("product")
    name = table.text("name", check=_bad_name)
    chip = table.required_choice("chip", Chip)
    serial = table.parsed("serial", SerialPattern.parse, SerialPattern("", 1, ""))
    scan = _scan_rule(table, serial)
    table.finish()
    return Product(
        root=root,
        name=name,
        chip=chip,
        serial=serial,
        identity=_identity(walker.table("identity")),
        certificate=_certificate(walker.table("certificate")),
        provisioning=_provisioning(walker.table("provisioning")),
        factory=_factory(walker.table("factory"), root),
        release=_release(walker.table("release"), root),
        label=_label(walker.table("label"), root),
        verify=_verify(walker.table("verify")),
        recipients=_recipients(walker.table("recipients")),
        scan=scan,
        cloud=_cloud(walker.table("cloud"), root),
        steps=read_own_steps(walker, root),
    )


def _scan_rule(product: Table, serial: SerialPattern) -> ScanRule:
    given = product.raw("scan") is not None
    table = product.table("scan")
    rule = ScanRule(
        prefix=table.text("prefix", "", check=_bad_code_prefix),
        digits=table.integer("digits", 0, 1, 64) or None,
        check=table.optional_choice("check", CodeCheck),
    )
    table.finish()
    if given and serial.source is not SerialSource.SCAN:
        product.complain("scan", "a rule for codes needs a serial with {scan}", 'for example serial = "{scan}"')
    return rule


def _identity(table: Table) -> IdentityPolicy:
    policy = IdentityPolicy(
        credentials=table.choice("credentials", Credentials, Credentials.CERTIFICATE),
        node_id=table.choice("node_id", NodeIdKind, NodeIdKind.SHORTUUID),
        key=table.choice("key", KeyKind, KeyKind.ECDSA_P256),
        mqtt_host=table.text("mqtt_host", MQTT_HOST_PLACEHOLDER, check=bad_host),
        mqtt_cred_host=table.text("mqtt_cred_host", "", check=lambda host: bad_host(host) if host else None),
    )
    table.finish()
    return policy


def _certificate(table: Table) -> CertificatePolicy:
    profile = table.choice("profile", CertificateProfile, CertificateProfile.STRICT)
    validity = table.raw("validity")
    days = None
    if isinstance(validity, int) and not isinstance(validity, bool) and 1 <= validity <= 36_500:
        days = validity
    elif validity is not None and str(validity) != NO_EXPIRY:
        table.complain(
            "validity", f"{as_toml(validity)} is not a validity", f'use 1 to 36500 days, or "{NO_EXPIRY}" for no expiry'
        )
    table.finish()
    return CertificatePolicy(profile, days)


def _provisioning(table: Table) -> Provisioning:
    policy = Provisioning(
        security=table.choice("security", Security, Security.SRP6A),
        username=table.text("username", "wifiprov", check=_bad_username),
        transport=table.choice("transport", Transport, Transport.BLE),
        name_prefix=table.text("name_prefix", "PROV", check=_bad_prefix),
        qr=table.choice("qr", QrForm, QrForm.JSON),
    )
    table.finish()
    return policy


def _factory(table: Table, root: Path) -> Factory:
    size = table.size("size", 0x6000, 0x3000, 0x100000)
    if size % 0x1000:
        table.complain("size", f"{size:#x} is not a multiple of 0x1000", "use whole NVS pages of 4096 bytes")
    config = table.text("config", "")
    factory = Factory(
        partition=table.text("partition", "fctry", check=_bad_label),
        size=size,
        namespace=table.text("namespace", "rmaker_creds", check=_bad_label),
        config=root / config if config else None,
        erase=table.strings("erase"),
    )
    for label in factory.erase:
        if wrong := _bad_label(label):
            table.complain("erase", wrong)
    table.finish()
    return factory


def _release(table: Table, root: Path) -> ReleasePolicy:
    path = table.text("path", "")
    policy = ReleasePolicy(
        path=root / path if path else None,
        allow_unsigned=table.boolean("allow_unsigned", False),
        seq=table.optional_choice("seq", SeqSource),
        ota=table.boolean("ota", False),
        rollback=table.boolean("rollback", False),
    )
    table.finish()
    return policy


def _label(table: Table, root: Path) -> LabelPolicy:
    font = table.text("font", "")
    policy = LabelPolicy(
        sheet=table.text("sheet", "L7651"),
        dpi=table.integer("dpi", 300, 150, 1200),
        font=root / font if font else None,
        style=table.text("style", "", check=_bad_style) or None,
        print=table.choice("print", LabelPrinting, LabelPrinting.OFF),
        required=table.boolean("required", False),
        scan_back=table.boolean("scan_back", False),
        wait=table.number("wait", 300.0, 0.0, 86400.0),
    )
    if policy.required and not policy.prints:
        table.complain("required", "a label is only required if the line prints it", 'set print = "pass" too')
    table.finish()
    return policy


def _verify(table: Table) -> VerifyPolicy:
    policy = VerifyPolicy(
        boot_timeout=table.number("boot_timeout", 20.0, 1.0, 600.0),
        settle=table.number("settle", 0.5, 0.0, 60.0),
        console=_console(table),
        console_baud=table.integer("console_baud", 0, 0, 5_000_000) or None,
        provision=table.boolean("provision", True),
        answer_timeout=table.number("answer_timeout", 10.0, 0.5, 120.0),
        provision_timeout=table.number("provision_timeout", 45.0, 1.0, 600.0),
        wrong_pop_every=table.integer("wrong_pop_every", 50, 0, 1_000_000),
        scan=_scan(table),
        join=table.boolean("join", False),
        join_timeout=table.number("join_timeout", 30.0, 1.0, 600.0),
        cloud=_cloud_proof(table),
        cloud_param=_cloud_param(table),
        cloud_timeout=table.number("cloud_timeout", 60.0, 1.0, 600.0),
        retry=table.boolean("retry", False),
        patterns=read_console_patterns(table),
    )
    if policy.cloud is not CloudProof.OFF and not (policy.join and policy.provision):
        table.complain(
            "cloud",
            "cloud needs join = true and provision = true",
            'set both, or cloud = "off" (formerly mqtt = false)',
        )
    if policy.patterns and policy.console is ConsoleMode.NONE:
        table.complain("console", 'with console = "none" nobody reads what the unit prints', "remove the patterns")
    if policy.cloud_param is not None and policy.cloud is not CloudProof.WITNESS:
        table.complain("cloud_param", 'only a witness sets parameters: cloud_param needs cloud = "witness"')
    table.finish()
    return policy


def _cloud_proof(table: Table) -> CloudProof:
    """Read `cloud`. Former files have `mqtt`, true for what is now "console"."""
    former = table.boolean("mqtt", False)
    return table.choice("cloud", CloudProof, CloudProof.CONSOLE if former else CloudProof.OFF)


def _cloud_param(table: Table) -> ParamName | None:
    value = table.text("cloud_param", "")
    device, _, name = value.partition(".")
    if value and not (device and name):
        table.complain("cloud_param", f'"{value}" is not a parameter', 'name device and parameter: "Light.Power"')
    return ParamName(device, name) if device and name else None


def _cloud(table: Table, root: Path) -> CloudPolicy:
    policy = CloudPolicy(read_deployment(table, root), enforce=table.boolean("enforce", False))
    table.finish()
    return policy


def _console(table: Table) -> ConsoleMode:
    """Read `console`. Former files have true, which was the template's default and now means "auto", or false."""
    value = table.raw("console")
    if isinstance(value, bool):
        return ConsoleMode.AUTO if value else ConsoleMode.LOG
    return table.choice("console", ConsoleMode, ConsoleMode.AUTO)


def _scan(table: Table) -> ScanPolicy:
    policy = ScanPolicy(
        ssid=table.text("scan_ssid", "", check=_bad_ssid),
        marginal=table.integer("scan_marginal", ScanPolicy.marginal, -120, 0),
        fail=table.integer("scan_fail", ScanPolicy.fail, -120, 0),
    )
    if policy.fail > policy.marginal:
        table.complain("scan_fail", f"{policy.fail} dBm is above scan_marginal ({policy.marginal} dBm)")
    return policy


def _recipients(table: Table) -> dict[str, str]:
    recipients: dict[str, str] = {}
    for name, value in table.everything().items():
        if not isinstance(value, str) or not _RECIPIENT.fullmatch(value):
            table.complain(name, "not an age recipient", "use age1 and 58 lower-case letters and digits")
        else:
            recipients[name] = value
    return recipients


def _judge_together(walker: Walker, product: Product) -> None:
    identity = product.identity
    if identity.credentials is Credentials.CLOUD_CLAIM and product.verify.cloud is not CloudProof.OFF:
        walker.complain(
            "[verify] cloud",
            'a unit with credentials = "claim" reaches its broker only after its owner has claimed it',
            'set cloud = "off" (formerly mqtt = false)',
        )
    if identity.credentials is Credentials.CLOUD_CLAIM and identity.node_id is NodeIdKind.VALUES:
        walker.complain(
            "[identity] node_id",
            'node_id does not apply with credentials = "claim"',
            'remove node_id, or set credentials = "certificate"',
        )


def _bad_name(name: str) -> str | None:
    return None if _NAME.fullmatch(name) else "expected a name of 1 to 64 printable characters"


def _bad_code_prefix(prefix: str) -> str | None:
    return None if _CODE_PREFIX.fullmatch(prefix) else f'"{prefix}" is not a prefix (0 to 63 of A-Z a-z 0-9 . _ -)'


def bad_host(host: str) -> str | None:
    """Return what is wrong with a host name, None if nothing is."""
    return None if _HOST.fullmatch(host) else f'"{host}" is not a host name (no scheme, no port, no path)'


def _bad_ssid(ssid: str) -> str | None:
    return None if len(ssid.encode()) <= 32 else "expected an SSID of at most 32 bytes"


def _bad_label(label: str) -> str | None:
    return None if _LABEL.fullmatch(label) else f'"{label}" is not a partition label (1 to 15 of A-Z a-z 0-9 _ -)'


def _bad_style(name: str) -> str | None:
    return None if not name or is_safe_name(name) else f'"{name}" is not the name of a label style'


def _unquotable(text: str) -> bool:
    return any(not 0x20 <= ord(char) < 0x7F or char in '"\\|' for char in text)


def _bad_username(name: str) -> str | None:
    if not 1 <= len(name) <= 64 or _unquotable(name) or ":" in name:
        return 'expected a user name of 1 to 64 printable ASCII characters without : " \\ |'
    return None


def _bad_prefix(prefix: str) -> str | None:
    if not 1 <= len(prefix) <= 22 or _unquotable(prefix):
        return 'expected a name prefix of 1 to 22 printable ASCII characters without " \\ |'
    return None
