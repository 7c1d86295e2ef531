"""What is being made: product.toml as frozen values, each table a dataclass.

The values are what the lower rooms judge by; where each stands in the file is its key path, `[table] key`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rmfab.product.serial import SerialPattern
from rmfab.product.vocabulary import (
    CertificateProfile,
    Chip,
    Credentials,
    KeyKind,
    NodeIdKind,
    QrForm,
    Security,
    SeqSource,
    Transport,
)

MQTT_HOST_PLACEHOLDER = "mqtt.example.invalid"


@dataclass(frozen=True)
class IdentityPolicy:
    """`[identity]`: who makes the credentials, and of what kind."""

    credentials: Credentials = Credentials.CERTIFICATE
    node_id: NodeIdKind = NodeIdKind.SHORTUUID
    key: KeyKind = KeyKind.ECDSA_P256
    mqtt_host: str = MQTT_HOST_PLACEHOLDER
    mqtt_cred_host: str = ""


@dataclass(frozen=True)
class CertificatePolicy:
    """`[certificate]`: the profile, and how many days a certificate lasts (None: no well-defined expiry)."""

    profile: CertificateProfile = CertificateProfile.STRICT
    validity_days: int | None = None


@dataclass(frozen=True)
class Provisioning:
    """`[provisioning]`: how the firmware offers itself to a phone; must match how it was built."""

    security: Security = Security.SRP6A
    username: str = "wifiprov"
    transport: Transport = Transport.BLE
    name_prefix: str = "PROV"
    qr: QrForm = QrForm.JSON

    @property
    def has_pop(self) -> bool:
        """Whether a phone needs a PoP, and the label shows one: not with security 0."""
        return self.security is not Security.PLAIN


@dataclass(frozen=True)
class Factory:
    """`[factory]`: the NVS partition that carries the identity. *size* in bytes, *config* a mass_mfg config CSV."""

    partition: str = "fctry"
    size: int = 0x6000
    namespace: str = "rmaker_creds"
    config: Path | None = None
    erase: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReleasePolicy:
    """`[release]`: the bundle or ESP-IDF build folder that `flash` and `run` use when no --release is given, and what
    a release must be.

    *allow_unsigned*: also one that nobody has signed, such as a build folder. *ota*: it can be updated over the air;
    *rollback*: it takes back an update that does not come up. *seq* None: `release build` must be told.
    """

    path: Path | None = None
    allow_unsigned: bool = False
    seq: SeqSource | None = None
    ota: bool = False
    rollback: bool = False


@dataclass(frozen=True)
class LabelPolicy:
    """`[label]`: the sheet of `rmfab label`, and the resolution in dots per inch at which it is read back."""

    sheet: str = "L7651"
    dpi: int = 300


@dataclass(frozen=True)
class ScanPolicy:
    """`[verify] scan_*`: the network that a unit's own scan must hear, and how loud, in dBm.

    Under *marginal* the unit passes as MARGINAL, under *fail* it fails. An empty *ssid* leaves the scan out.
    """

    ssid: str = ""
    marginal: int = -70
    fail: int = -80


@dataclass(frozen=True)
class VerifyPolicy:
    """`[verify]`: how long a unit may take, in seconds, and what it is asked.

    *boot_timeout* runs from the restart to the last expected line; after it the console must stay free of panics
    and restarts for *settle*. *console*: get-node-id and sign-data. *provision*: the provisioning protocol, each
    answer within *answer_timeout*, all within *provision_timeout*; a wrong PoP is tried on the first unit of a batch
    and every *wrong_pop_every*-th (0: never). *join*: hand over the factory network and wait for *join_timeout*,
    *mqtt*: also for MQTT.
    """

    boot_timeout: float = 20.0
    settle: float = 0.5
    console: bool = True
    provision: bool = True
    answer_timeout: float = 10.0
    provision_timeout: float = 45.0
    wrong_pop_every: int = 50
    scan: ScanPolicy = ScanPolicy()
    join: bool = False
    join_timeout: float = 30.0
    mqtt: bool = False


@dataclass(frozen=True)
class Product:
    """A product as product.toml defines it. *root* is the folder of the file; paths in it are resolved against it."""

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
