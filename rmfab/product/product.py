"""A product as frozen values: one dataclass per table of product.toml.

Lower rooms check boards and releases against these values. Each is named by its key path in the file, `[table] key`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rmfab.product.console_pattern import ConsolePatterns
from rmfab.product.deployment import Deployment
from rmfab.product.own_step import OwnStep
from rmfab.product.scan_rule import ScanRule
from rmfab.product.serial import SerialPattern
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

MQTT_HOST_PLACEHOLDER = "mqtt.example.invalid"


@dataclass(frozen=True)
class IdentityPolicy:
    """`[identity]`: who makes the credentials, and which kind."""

    credentials: Credentials = Credentials.CERTIFICATE
    node_id: NodeIdKind = NodeIdKind.SHORTUUID
    key: KeyKind = KeyKind.ECDSA_P256
    mqtt_host: str = MQTT_HOST_PLACEHOLDER
    mqtt_cred_host: str = ""


@dataclass(frozen=True)
class CertificatePolicy:
    """`[certificate]`: the profile, and the validity in days (None: no well-defined expiry, RFC 5280 4.1.2.5)."""

    profile: CertificateProfile = CertificateProfile.STRICT
    validity_days: int | None = None


@dataclass(frozen=True)
class Provisioning:
    """`[provisioning]`: how the firmware offers provisioning to a phone. Must match the firmware's configuration."""

    security: Security = Security.SRP6A
    username: str = "wifiprov"
    transport: Transport = Transport.BLE
    name_prefix: str = "PROV"
    qr: QrForm = QrForm.JSON

    @property
    def has_pop(self) -> bool:
        """Whether a phone needs a PoP and the label shows one. Security 0 has none."""
        return self.security is not Security.PLAIN


@dataclass(frozen=True)
class Factory:
    """`[factory]`: the NVS partition that holds the identity. *size* in bytes; *config* is a mass_mfg config CSV."""

    partition: str = "fctry"
    size: int = 0x6000
    namespace: str = "rmaker_creds"
    config: Path | None = None
    erase: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReleasePolicy:
    """`[release]`: the default release of `flash` and `run`, and what a release must support.

    *path* is the bundle or ESP-IDF build folder used if --release is not given. *allow_unsigned* accepts unsigned
    releases, such as build folders. *ota* requires two OTA slots, *rollback* a bootloader that rolls back an update
    that fails to boot. If *seq* is None, `release build` requires --seq.
    """

    path: Path | None = None
    allow_unsigned: bool = False
    seq: SeqSource | None = None
    ota: bool = False
    rollback: bool = False


@dataclass(frozen=True)
class LabelPolicy:
    """`[label]`: the default sheet of `rmfab label`, the resolution for reading it back, in dots per inch, the TrueType
    font of the product's name (None: Bitstream Vera), and the label style (None: the automatic layout).

    *print*: when the line prints labels. A unit without its label is not done if it is *required*. *scan_back*:
    each label is scanned on its board. *wait*: how long units wait for a printer that is not ready, in seconds.
    """

    sheet: str = "L7651"
    dpi: int = 300
    font: Path | None = None
    style: str | None = None
    print: LabelPrinting = LabelPrinting.OFF
    required: bool = False
    scan_back: bool = False
    wait: float = 300.0

    @property
    def prints(self) -> bool:
        """Whether the line prints the label of a unit that passes."""
        return self.print is LabelPrinting.PASS


@dataclass(frozen=True)
class ScanPolicy:
    """`[verify] scan_*`: the network that a unit's own scan must find, and the RSSI limits in dBm.

    Below *marginal* the step is MARGINAL, below *fail* it is FAIL. An empty *ssid* skips the scan.
    """

    ssid: str = ""
    marginal: int = -70
    fail: int = -80


@dataclass(frozen=True)
class ParamName:
    """A parameter of the firmware, by the names of its *device* and its own."""

    device: str
    name: str

    def __str__(self) -> str:
        """Return it as product.toml writes it."""
        return f"{self.device}.{self.name}"


_NO_PATTERNS = ConsolePatterns()


@dataclass(frozen=True)
class VerifyPolicy:
    """`[verify]`: what is checked on each unit, and the time limits in seconds.

    *boot_timeout* runs from the restart to the last expected line; then the console must show no panic and no restart,
    for *settle* before the next step, and until the last step. *console* selects what is read from the console, at
    *console_baud* (None: as the firmware was built, else 115200). *provision* runs the provisioning protocol, with each
    response within *answer_timeout* and all within *provision_timeout*; a wrong PoP is tried on the first unit of a
    batch and then on one in *wrong_pop_every* units (0: never). *join* sends the factory network and waits
    *join_timeout* for an IP address; *cloud* is what then proves that the unit reaches its broker, within
    *cloud_timeout*, and *cloud_param* the parameter that a witness sets there (None: none). *retry* repeats the steps
    from the restart on, once, if another restart may help. *patterns*: what the console must print, or must not.
    """

    boot_timeout: float = 20.0
    settle: float = 0.5
    console: ConsoleMode = ConsoleMode.AUTO
    console_baud: int | None = None
    provision: bool = True
    answer_timeout: float = 10.0
    provision_timeout: float = 45.0
    wrong_pop_every: int = 50
    scan: ScanPolicy = ScanPolicy()
    join: bool = False
    join_timeout: float = 30.0
    cloud: CloudProof = CloudProof.OFF
    cloud_param: ParamName | None = None
    cloud_timeout: float = 60.0
    retry: bool = False
    patterns: ConsolePatterns = _NO_PATTERNS


_UNKNOWN = Deployment()


@dataclass(frozen=True)
class CloudPolicy:
    """`[cloud]`: the *deployment* that registers units, and what `rmfab cloud check` demands.

    *enforce*: the broker must refuse foreign names and certificates; else it is only a warning if it does not.
    """

    deployment: Deployment = _UNKNOWN
    enforce: bool = False


_ANY_CODE = ScanRule()
_NO_CLOUD = CloudPolicy()


@dataclass(frozen=True)
class Product:
    """A product as product.toml defines it. *root* is the folder of that file; its paths are relative to it. *scan* is
    the rule for scanned codes, if the serial has one; *steps* are the product's own, in their order."""

    root: Path
    name: str
    chip: Chip
    serial: SerialPattern
    identity: IdentityPolicy
    certificate: CertificatePolicy
    provisioning: Provisioning
    factory: Factory
    release: ReleasePolicy
    label: LabelPolicy
    verify: VerifyPolicy
    recipients: Mapping[str, str]
    scan: ScanRule = _ANY_CODE
    cloud: CloudPolicy = _NO_CLOUD
    steps: tuple[OwnStep, ...] = ()
