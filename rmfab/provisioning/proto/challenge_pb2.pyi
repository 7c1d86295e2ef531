from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Challenge(_message.Message):
    __slots__ = ("kind", "status", "sign", "signed")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SIGN: _ClassVar[Challenge.Kind]
        SIGNED: _ClassVar[Challenge.Kind]
    SIGN: Challenge.Kind
    SIGNED: Challenge.Kind
    class Sign(_message.Message):
        __slots__ = ("challenge",)
        CHALLENGE_FIELD_NUMBER: _ClassVar[int]
        challenge: bytes
        def __init__(self, challenge: _Optional[bytes] = ...) -> None: ...
    class Signed(_message.Message):
        __slots__ = ("signature", "node_id")
        SIGNATURE_FIELD_NUMBER: _ClassVar[int]
        NODE_ID_FIELD_NUMBER: _ClassVar[int]
        signature: bytes
        node_id: str
        def __init__(self, signature: _Optional[bytes] = ..., node_id: _Optional[str] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SIGN_FIELD_NUMBER: _ClassVar[int]
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    kind: Challenge.Kind
    status: int
    sign: Challenge.Sign
    signed: Challenge.Signed
    def __init__(self, kind: _Optional[_Union[Challenge.Kind, str]] = ..., status: _Optional[int] = ..., sign: _Optional[_Union[Challenge.Sign, _Mapping]] = ..., signed: _Optional[_Union[Challenge.Signed, _Mapping]] = ...) -> None: ...
