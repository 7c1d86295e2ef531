from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OK: _ClassVar[Status]
    INVALID_SCHEME: _ClassVar[Status]
    INVALID_PROTO: _ClassVar[Status]
    TOO_MANY_SESSIONS: _ClassVar[Status]
    INVALID_ARGUMENT: _ClassVar[Status]
    INTERNAL_ERROR: _ClassVar[Status]
    CRYPTO_ERROR: _ClassVar[Status]
    INVALID_SESSION: _ClassVar[Status]

class Scheme(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PLAIN: _ClassVar[Scheme]
    X25519: _ClassVar[Scheme]
    SRP6A: _ClassVar[Scheme]
OK: Status
INVALID_SCHEME: Status
INVALID_PROTO: Status
TOO_MANY_SESSIONS: Status
INVALID_ARGUMENT: Status
INTERNAL_ERROR: Status
CRYPTO_ERROR: Status
INVALID_SESSION: Status
PLAIN: Scheme
X25519: Scheme
SRP6A: Scheme

class Session(_message.Message):
    __slots__ = ("scheme", "plain", "x25519", "srp6a")
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    PLAIN_FIELD_NUMBER: _ClassVar[int]
    X25519_FIELD_NUMBER: _ClassVar[int]
    SRP6A_FIELD_NUMBER: _ClassVar[int]
    scheme: Scheme
    plain: PlainHandshake
    x25519: X25519Handshake
    srp6a: Srp6aHandshake
    def __init__(self, scheme: _Optional[_Union[Scheme, str]] = ..., plain: _Optional[_Union[PlainHandshake, _Mapping]] = ..., x25519: _Optional[_Union[X25519Handshake, _Mapping]] = ..., srp6a: _Optional[_Union[Srp6aHandshake, _Mapping]] = ...) -> None: ...

class PlainHandshake(_message.Message):
    __slots__ = ("kind", "hello", "welcome")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        HELLO: _ClassVar[PlainHandshake.Kind]
        WELCOME: _ClassVar[PlainHandshake.Kind]
    HELLO: PlainHandshake.Kind
    WELCOME: PlainHandshake.Kind
    class Hello(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Welcome(_message.Message):
        __slots__ = ("status",)
        STATUS_FIELD_NUMBER: _ClassVar[int]
        status: Status
        def __init__(self, status: _Optional[_Union[Status, str]] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    kind: PlainHandshake.Kind
    hello: PlainHandshake.Hello
    welcome: PlainHandshake.Welcome
    def __init__(self, kind: _Optional[_Union[PlainHandshake.Kind, str]] = ..., hello: _Optional[_Union[PlainHandshake.Hello, _Mapping]] = ..., welcome: _Optional[_Union[PlainHandshake.Welcome, _Mapping]] = ...) -> None: ...

class X25519Handshake(_message.Message):
    __slots__ = ("kind", "client_key", "device_key", "client_proof", "device_proof")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CLIENT_KEY: _ClassVar[X25519Handshake.Kind]
        DEVICE_KEY: _ClassVar[X25519Handshake.Kind]
        CLIENT_PROOF: _ClassVar[X25519Handshake.Kind]
        DEVICE_PROOF: _ClassVar[X25519Handshake.Kind]
    CLIENT_KEY: X25519Handshake.Kind
    DEVICE_KEY: X25519Handshake.Kind
    CLIENT_PROOF: X25519Handshake.Kind
    DEVICE_PROOF: X25519Handshake.Kind
    class ClientKey(_message.Message):
        __slots__ = ("public_key",)
        PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
        public_key: bytes
        def __init__(self, public_key: _Optional[bytes] = ...) -> None: ...
    class DeviceKey(_message.Message):
        __slots__ = ("status", "public_key", "random")
        STATUS_FIELD_NUMBER: _ClassVar[int]
        PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
        RANDOM_FIELD_NUMBER: _ClassVar[int]
        status: Status
        public_key: bytes
        random: bytes
        def __init__(self, status: _Optional[_Union[Status, str]] = ..., public_key: _Optional[bytes] = ..., random: _Optional[bytes] = ...) -> None: ...
    class ClientProof(_message.Message):
        __slots__ = ("proof",)
        PROOF_FIELD_NUMBER: _ClassVar[int]
        proof: bytes
        def __init__(self, proof: _Optional[bytes] = ...) -> None: ...
    class DeviceProof(_message.Message):
        __slots__ = ("status", "proof")
        STATUS_FIELD_NUMBER: _ClassVar[int]
        PROOF_FIELD_NUMBER: _ClassVar[int]
        status: Status
        proof: bytes
        def __init__(self, status: _Optional[_Union[Status, str]] = ..., proof: _Optional[bytes] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    CLIENT_KEY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_KEY_FIELD_NUMBER: _ClassVar[int]
    CLIENT_PROOF_FIELD_NUMBER: _ClassVar[int]
    DEVICE_PROOF_FIELD_NUMBER: _ClassVar[int]
    kind: X25519Handshake.Kind
    client_key: X25519Handshake.ClientKey
    device_key: X25519Handshake.DeviceKey
    client_proof: X25519Handshake.ClientProof
    device_proof: X25519Handshake.DeviceProof
    def __init__(self, kind: _Optional[_Union[X25519Handshake.Kind, str]] = ..., client_key: _Optional[_Union[X25519Handshake.ClientKey, _Mapping]] = ..., device_key: _Optional[_Union[X25519Handshake.DeviceKey, _Mapping]] = ..., client_proof: _Optional[_Union[X25519Handshake.ClientProof, _Mapping]] = ..., device_proof: _Optional[_Union[X25519Handshake.DeviceProof, _Mapping]] = ...) -> None: ...

class Srp6aHandshake(_message.Message):
    __slots__ = ("kind", "client_key", "device_key", "client_proof", "device_proof")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CLIENT_KEY: _ClassVar[Srp6aHandshake.Kind]
        DEVICE_KEY: _ClassVar[Srp6aHandshake.Kind]
        CLIENT_PROOF: _ClassVar[Srp6aHandshake.Kind]
        DEVICE_PROOF: _ClassVar[Srp6aHandshake.Kind]
    CLIENT_KEY: Srp6aHandshake.Kind
    DEVICE_KEY: Srp6aHandshake.Kind
    CLIENT_PROOF: Srp6aHandshake.Kind
    DEVICE_PROOF: Srp6aHandshake.Kind
    class ClientKey(_message.Message):
        __slots__ = ("username", "public_key")
        USERNAME_FIELD_NUMBER: _ClassVar[int]
        PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
        username: bytes
        public_key: bytes
        def __init__(self, username: _Optional[bytes] = ..., public_key: _Optional[bytes] = ...) -> None: ...
    class DeviceKey(_message.Message):
        __slots__ = ("status", "public_key", "salt")
        STATUS_FIELD_NUMBER: _ClassVar[int]
        PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
        SALT_FIELD_NUMBER: _ClassVar[int]
        status: Status
        public_key: bytes
        salt: bytes
        def __init__(self, status: _Optional[_Union[Status, str]] = ..., public_key: _Optional[bytes] = ..., salt: _Optional[bytes] = ...) -> None: ...
    class ClientProof(_message.Message):
        __slots__ = ("proof",)
        PROOF_FIELD_NUMBER: _ClassVar[int]
        proof: bytes
        def __init__(self, proof: _Optional[bytes] = ...) -> None: ...
    class DeviceProof(_message.Message):
        __slots__ = ("status", "proof", "nonce")
        STATUS_FIELD_NUMBER: _ClassVar[int]
        PROOF_FIELD_NUMBER: _ClassVar[int]
        NONCE_FIELD_NUMBER: _ClassVar[int]
        status: Status
        proof: bytes
        nonce: bytes
        def __init__(self, status: _Optional[_Union[Status, str]] = ..., proof: _Optional[bytes] = ..., nonce: _Optional[bytes] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    CLIENT_KEY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_KEY_FIELD_NUMBER: _ClassVar[int]
    CLIENT_PROOF_FIELD_NUMBER: _ClassVar[int]
    DEVICE_PROOF_FIELD_NUMBER: _ClassVar[int]
    kind: Srp6aHandshake.Kind
    client_key: Srp6aHandshake.ClientKey
    device_key: Srp6aHandshake.DeviceKey
    client_proof: Srp6aHandshake.ClientProof
    device_proof: Srp6aHandshake.DeviceProof
    def __init__(self, kind: _Optional[_Union[Srp6aHandshake.Kind, str]] = ..., client_key: _Optional[_Union[Srp6aHandshake.ClientKey, _Mapping]] = ..., device_key: _Optional[_Union[Srp6aHandshake.DeviceKey, _Mapping]] = ..., client_proof: _Optional[_Union[Srp6aHandshake.ClientProof, _Mapping]] = ..., device_proof: _Optional[_Union[Srp6aHandshake.DeviceProof, _Mapping]] = ...) -> None: ...
