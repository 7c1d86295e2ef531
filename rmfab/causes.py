"""Causes: the stable names of failures in events, JSON, reports and the ledger.

`causes.toml` in this folder has the blame, meaning and remedy of each cause. To add a cause, add a member here and an
entry there, then run `./dev docs-causes` to update docs/causes.md. Tests check that the three agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).with_name("causes.toml")
_HEAD = """\
# Causes

<!-- Written by `./dev docs-causes` from rmfab/causes.toml; do not edit. -->

When a step or a command fails, rmfab reports the cause: as `class` in events and JSON errors, as the type of a failure
in JUnit reports, and in the ledger. The names are stable.
"""


class Blame(StrEnum):
    """Who or what a cause blames."""

    UNIT = "unit"
    STATION = "station"
    INTEGRITY = "integrity"
    INPUT = "input"
    NONE = "none"


_SECTIONS: Mapping[Blame, str] = {
    Blame.UNIT: "The unit is bad: the step FAILs",
    Blame.STATION: "The station, a port, a cable, the ledger or a link is bad: the unit is not blamed",
    Blame.INTEGRITY: "A signature, a digest, a chain or an identity is invalid: stop the line",
    Blame.INPUT: "The input cannot be used: product, release, file, key or argument",
    Blame.NONE: "No one is to blame, or rmfab itself",
}


@unique
class Cause(StrEnum):
    """A cause. Member names match their values, in upper case with underscores."""

    ABORTED = "aborted"
    ADAPTER_BUSY = "adapter-busy"
    ALREADY_PROVISIONED = "already-provisioned"
    ANSWER_STOPPED = "answer-stopped"
    APP_PARTITION = "app-partition"
    BAD_INPUT = "bad-input"
    BAD_NETWORK = "bad-network"
    BAD_SIGNATURE = "bad-signature"
    BAD_URL = "bad-url"
    BATCH_EXISTS = "batch-exists"
    BATCH_USED_UP = "batch-used-up"
    BLANK_FLASH = "blank-flash"
    BOARD_SWAPPED = "board-swapped"
    BOOT_INCOMPLETE = "boot-incomplete"
    BOOT_MODE = "boot-mode"
    BOOTLOADER_CHECKSUM = "bootloader-checksum"
    BOOTLOADER_DIGEST = "bootloader-digest"
    BOOTLOADER_OFFSET = "bootloader-offset"
    BROWNOUT = "brownout"
    BUG = "bug"
    BUNDLE_ALTERED = "bundle-altered"
    BUNDLE_VERSION = "bundle-version"
    BUSY = "busy"
    CA_CERTIFICATE = "ca-certificate"
    CA_EXPIRED = "ca-expired"
    CA_KEY = "ca-key"
    CARRIED_CONFLICT = "carried-conflict"
    CERTIFICATE = "certificate"
    CHAIN = "chain"
    CHANNEL = "channel"
    CHIP_MISMATCH = "chip-mismatch"
    CHIP_REVISION = "chip-revision"
    CHIP_UNKNOWN = "chip-unknown"
    CLAIMING = "claiming"
    CLOCK = "clock"
    CLONE = "clone"
    CODE_TOO_SMALL = "code-too-small"
    CONFIG_MISMATCH = "config-mismatch"
    CONSOLE_GARBLED = "console-garbled"
    CONTROL = "control"
    COOKIE_MISMATCH = "cookie-mismatch"
    CUT_SHORT = "cut-short"
    DECRYPT = "decrypt"
    DISK_ERROR = "disk-error"
    DISK_FULL = "disk-full"
    DOCTOR = "doctor"
    DOWNGRADE = "downgrade"
    DOWNLOAD_MODE = "download-mode"
    ELF_MISMATCH = "elf-mismatch"
    ENCRYPTED = "encrypted"
    ERASE_FAILED = "erase-failed"
    ERASE_PROTECTED = "erase-protected"
    ERASE_UNKNOWN = "erase-unknown"
    ERROR = "error"
    ESPTOOL_VERSION = "esptool-version"
    EXISTS = "exists"
    EXTRA_CONFIG = "extra-config"
    FACTORY_CHANGED = "factory-changed"
    FACTORY_PROTECTED = "factory-protected"
    FACTORY_SIZE = "factory-size"
    FACTORY_TYPE = "factory-type"
    FACTORY_UNREADABLE = "factory-unreadable"
    FAILED = "failed"
    FAULT = "fault"
    FILE_OUTSIDE = "file-outside"
    FINGERPRINT = "fingerprint"
    FIRMWARE_ABORTS = "firmware-aborts"
    FIXTURE = "fixture"
    FLASH_DUMP = "flash-dump"
    FLASH_ENCRYPTION = "flash-encryption"
    FLASH_READ = "flash-read"
    FLASH_SIZE = "flash-size"
    FLASH_TOO_SMALL = "flash-too-small"
    FLASH_UNKNOWN = "flash-unknown"
    HANDED_OVER = "handed-over"
    HANDOVER_ALTERED = "handover-altered"
    HANDOVER_EXPIRED = "handover-expired"
    HANDOVER_LOST = "handover-lost"
    HANDOVER_RECEIVED = "handover-received"
    IMAGE_CHECKSUM = "image-checksum"
    IMAGE_DIGEST = "image-digest"
    IMAGE_HASH = "image-hash"
    IMAGE_MAGIC = "image-magic"
    IMAGE_SHORT = "image-short"
    IMPLAUSIBLE_VALUE = "implausible-value"
    INDEX = "index"
    INTEGRITY = "integrity"
    JOIN_FAILED = "join-failed"
    JOIN_TIMEOUT = "join-timeout"
    JOIN_UNPROVEN = "join-unproven"
    KEY_EXPIRED = "key-expired"
    KEY_FILE = "key-file"
    KEY_FILE_OPEN = "key-file-open"
    KEY_KIND = "key-kind"
    KEY_MISMATCH = "key-mismatch"
    KEY_NOT_YET_VALID = "key-not-yet-valid"
    KEY_REVOKED = "key-revoked"
    KEY_ROLE = "key-role"
    KEY_URI = "key-uri"
    LABEL_FONT = "label-font"
    LABEL_MISMATCH = "label-mismatch"
    LABEL_MISPLACED = "label-misplaced"
    LABEL_UNREADABLE = "label-unreadable"
    LEDGER = "ledger"
    LEDGER_CONSTRAINT = "ledger-constraint"
    LEDGER_CORRUPT = "ledger-corrupt"
    LEDGER_DENIED = "ledger-denied"
    LEDGER_FOREIGN = "ledger-foreign"
    LEDGER_FULL = "ledger-full"
    LEDGER_IO = "ledger-io"
    LEDGER_LOCKED = "ledger-locked"
    LEDGER_MISSING = "ledger-missing"
    LEDGER_NETWORK = "ledger-network"
    LEDGER_NEWER = "ledger-newer"
    LEDGER_READ_ONLY = "ledger-read-only"
    LEDGER_REPLACED = "ledger-replaced"
    LEDGER_URL = "ledger-url"
    LINK_LOST = "link-lost"
    LOADER_FAILED = "loader-failed"
    MAC_MISMATCH = "mac-mismatch"
    MQTT_HOST = "mqtt-host"
    NAME_MISMATCH = "name-mismatch"
    NO_STATE_FOLDER = "no-state-folder"
    NOT_NVS = "not-nvs"
    NO_ANSWER = "no-answer"
    NO_APP = "no-app"
    NO_APP_PARTITION = "no-app-partition"
    NO_BATCH = "no-batch"
    NO_BLEAK = "no-bleak"
    NO_BLUETOOTH = "no-bluetooth"
    NO_BOOTLOADER = "no-bootloader"
    NO_BUNDLE = "no-bundle"
    NO_CHALLENGE_RESPONSE = "no-challenge-response"
    NO_CLAIMS = "no-claims"
    NO_CONSOLE = "no-console"
    NO_CREDENTIALS = "no-credentials"
    NO_ENDPOINT = "no-endpoint"
    NO_FACTORY_PARTITION = "no-factory-partition"
    NO_FLASHER_ARGS = "no-flasher-args"
    NO_KEEPER = "no-keeper"
    NO_KEY = "no-key"
    NO_MAC = "no-mac"
    NO_MQTT = "no-mqtt"
    NO_NETWORK = "no-network"
    NO_NODE_ID = "no-node-id"
    NO_OTA = "no-ota"
    NO_PARTITION = "no-partition"
    NO_PKCS11 = "no-pkcs11"
    NO_PERMISSION = "no-permission"
    NO_PROOF = "no-proof"
    NO_POP = "no-pop"
    NO_POP_OFFERED = "no-pop-offered"
    NO_PROVISIONING = "no-provisioning"
    NO_QR = "no-qr"
    NO_RANDOM = "no-random"
    NO_RELEASE = "no-release"
    NO_RESET_LINES = "no-reset-lines"
    NO_ROLLBACK = "no-rollback"
    NO_SCAN = "no-scan"
    NO_SEQ = "no-seq"
    NO_SERIAL = "no-serial"
    NO_SLOT = "no-slot"
    NO_STATION_KEY = "no-station-key"
    NO_TERMINAL = "no-terminal"
    NO_TRUST = "no-trust"
    NO_UNIQUE_KEY = "no-unique-key"
    NO_WORKSPACE = "no-workspace"
    NODE_ID = "node-id"
    NOISE = "noise"
    NOT_A_KEEPER = "not-a-keeper"
    NOT_A_RELEASE = "not-a-release"
    NOT_ADMITTED = "not-admitted"
    NOT_ADVERTISING = "not-advertising"
    NOT_CLAIMED = "not-claimed"
    NOT_CLEAN = "not-clean"
    NOT_HEARD = "not-heard"
    NOT_IN_LOADER = "not-in-loader"
    NOT_POOL_HOLDER = "not-pool-holder"
    NOT_RESET = "not-reset"
    NOT_RESTARTED = "not-restarted"
    NVS_DAMAGED = "nvs-damaged"
    NVS_DUPLICATE = "nvs-duplicate"
    NVS_ENCRYPTED = "nvs-encrypted"
    NVS_NAME = "nvs-name"
    NVS_NAMESPACES = "nvs-namespaces"
    NVS_RANGE = "nvs-range"
    NVS_READBACK = "nvs-readback"
    NVS_SIZE = "nvs-size"
    NVS_TOO_BIG = "nvs-too-big"
    NVS_VALUE = "nvs-value"
    OPEN_BATCH = "open-batch"
    OTA_SLOT = "ota-slot"
    OTHER_IDENTITY = "other-identity"
    OTHER_PRODUCT = "other-product"
    OTHER_RECIPIENT = "other-recipient"
    PANIC = "panic"
    PART_ALIGNMENT = "part-alignment"
    PART_DIGEST = "part-digest"
    PART_MISSING = "part-missing"
    PART_NOWHERE = "part-nowhere"
    PART_ON_FACTORY = "part-on-factory"
    PART_ON_PROTECTED = "part-on-protected"
    PART_ON_TABLE = "part-on-table"
    PART_OVERLAP = "part-overlap"
    PART_SIZE = "part-size"
    PART_START = "part-start"
    PARTITION_TABLE = "partition-table"
    PASSPHRASE = "passphrase"
    PATH_ESCAPE = "path-escape"
    PAYLOAD_TYPE = "payload-type"
    POLICY_MISMATCH = "policy-mismatch"
    POP_MISMATCH = "pop-mismatch"
    PORT = "port"
    PORT_ABSENT = "port-absent"
    PORT_BUSY = "port-busy"
    PORT_DENIED = "port-denied"
    PORT_FAILED = "port-failed"
    PORT_GONE = "port-gone"
    PORT_IN_USE = "port-in-use"
    PROJECT = "project"
    PROJECT_MISMATCH = "project-mismatch"
    PROOF_MISMATCH = "proof-mismatch"
    PROTOCOL = "protocol"
    PROVISION_TIMEOUT = "provision-timeout"
    PSRAM = "psram"
    PUBLISHED = "published"
    QR_MISMATCH = "qr-mismatch"
    QR_PAYLOAD = "qr-payload"
    QUARANTINED = "quarantined"
    RANDOMNESS = "randomness"
    READBACK_MISMATCH = "readback-mismatch"
    RECORD = "record"
    REFUSED = "refused"
    RESTART = "restart"
    RETURN_CONFLICT = "return-conflict"
    RETURN_GAP = "return-gap"
    REVISION_TOO_NEW = "revision-too-new"
    REVISION_TOO_OLD = "revision-too-old"
    SAME_VERSION = "same-version"
    SBOM = "sbom"
    SEALED = "sealed"
    SEC0_OFFERED = "sec0-offered"
    SEC2_GENERATED = "sec2-generated"
    SECOND_HOLDER = "second-holder"
    SECURE_BOOT = "secure-boot"
    SECURE_BOOT_KEY = "secure-boot-key"
    SECURE_BOOT_LOADER = "secure-boot-loader"
    SECURE_BOOT_SCHEME = "secure-boot-scheme"
    SECURE_BOOT_SIGNATURE = "secure-boot-signature"
    SECURE_BOOT_UNSIGNED = "secure-boot-unsigned"
    SECURE_BOOT_V1 = "secure-boot-v1"
    SECURE_DOWNLOAD_MODE = "secure-download-mode"
    SECURE_VERSION = "secure-version"
    SECURITY_MISMATCH = "security-mismatch"
    SEQ = "seq"
    SEQ_TAKEN = "seq-taken"
    SERIAL_MISMATCH = "serial-mismatch"
    SERIAL_TAKEN = "serial-taken"
    SESSION_REFUSED = "session-refused"
    SEVERAL_BUILDS = "several-builds"
    SILENT = "silent"
    STALLED = "stalled"
    STATE = "state"
    STATION = "station"
    STATION_CARD = "station-card"
    STEP_TIMEOUT = "step-timeout"
    TABLE_CHANGED = "table-changed"
    TABLE_END = "table-end"
    TABLE_EXCEEDS_FLASH = "table-exceeds-flash"
    TABLE_LAYOUT = "table-layout"
    TABLE_MAGIC = "table-magic"
    TABLE_MD5 = "table-md5"
    TABLE_MISMATCH = "table-mismatch"
    TABLE_OFFSET = "table-offset"
    TABLE_ROW = "table-row"
    TABLE_SIZE = "table-size"
    TAKEN = "taken"
    THRESHOLD = "threshold"
    TLS_CERTIFICATE = "tls-certificate"
    TLS_MISMATCH = "tls-mismatch"
    TOKEN = "token"
    TOO_FEW_SIGNATURES = "too-few-signatures"
    TOO_MANY_FILES = "too-many-files"
    TRUST_ALTERED = "trust-altered"
    TRUST_DOWNGRADE = "trust-downgrade"
    TRUST_VERSION = "trust-version"
    TX_PATH = "tx-path"
    UNBOUND = "unbound"
    UNIQUE_KEY = "unique-key"
    UNITS_FAILED = "units-failed"
    UNKNOWN_SECURITY = "unknown-security"
    UNKNOWN_SHEET = "unknown-sheet"
    UNKNOWN_SIGNER = "unknown-signer"
    UNREACHABLE = "unreachable"
    UNSIGNED = "unsigned"
    USAGE = "usage"
    VERSION_MISMATCH = "version-mismatch"
    VERSION_TAKEN = "version-taken"
    VIRTUAL_BOARDS = "virtual-boards"
    VOID = "void"
    WATCHDOG = "watchdog"
    WEAK_SIGNAL = "weak-signal"
    WIFI = "wifi"
    WRONG_PASSPHRASE = "wrong-passphrase"
    WRONG_POP = "wrong-pop"
    WRONG_POP_ACCEPTED = "wrong-pop-accepted"
    WRONG_POP_IN_UNIT = "wrong-pop-in-unit"
    ZIP = "zip"

    @property
    def blame(self) -> Blame:
        """Who or what the cause blames."""
        return _explanations()[self].blame

    @property
    def meaning(self) -> str:
        """The meaning of the cause, in one sentence."""
        return _explanations()[self].meaning

    @property
    def remedy(self) -> str:
        """The remedy, in one sentence."""
        return _explanations()[self].remedy


@dataclass(frozen=True)
class _Explanation:
    blame: Blame
    meaning: str
    remedy: str


@cache
def _explanations() -> Mapping[Cause, _Explanation]:
    """Return the content of causes.toml. Raise ValueError if it does not explain exactly the members of `Cause`."""
    import tomllib

    table = tomllib.loads(_TABLE.read_text("utf-8"))
    found = {
        Cause(name): _Explanation(Blame(blame), entry["meaning"], entry["remedy"])
        for blame, entries in table.items()
        for name, entry in entries.items()
    }
    if missing := set(Cause) - found.keys():
        raise ValueError(f"{_TABLE.name} does not explain {min(missing)}")
    return found


def as_markdown() -> str:
    """Return the text of docs/causes.md."""
    return "\n".join((_HEAD, *(line for blame in Blame for line in _section(blame))))


def _section(blame: Blame) -> Iterator[str]:
    yield f"## {_SECTIONS[blame]}\n"
    yield "| cause | what it means | what to do |\n|---|---|---|"
    yield from (f"| `{cause}` | {cause.meaning} | {cause.remedy} |" for cause in Cause if cause.blame is blame)
    yield ""
