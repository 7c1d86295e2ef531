from rmfab.provisioning.proto import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONNECTED: _ClassVar[StationState]
    CONNECTING: _ClassVar[StationState]
    DISCONNECTED: _ClassVar[StationState]
    FAILED: _ClassVar[StationState]

class JoinFailure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTHENTICATION: _ClassVar[JoinFailure]
    NOT_FOUND: _ClassVar[JoinFailure]
CONNECTED: StationState
CONNECTING: StationState
DISCONNECTED: StationState
FAILED: StationState
AUTHENTICATION: JoinFailure
NOT_FOUND: JoinFailure

class WifiScan(_message.Message):
    __slots__ = ("kind", "status", "start", "started", "ask_status", "tell_status", "ask_result", "tell_result")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        START: _ClassVar[WifiScan.Kind]
        STARTED: _ClassVar[WifiScan.Kind]
        ASK_STATUS: _ClassVar[WifiScan.Kind]
        TELL_STATUS: _ClassVar[WifiScan.Kind]
        ASK_RESULT: _ClassVar[WifiScan.Kind]
        TELL_RESULT: _ClassVar[WifiScan.Kind]
    START: WifiScan.Kind
    STARTED: WifiScan.Kind
    ASK_STATUS: WifiScan.Kind
    TELL_STATUS: WifiScan.Kind
    ASK_RESULT: WifiScan.Kind
    TELL_RESULT: WifiScan.Kind
    class Start(_message.Message):
        __slots__ = ("blocking", "passive", "group_channels", "period_ms")
        BLOCKING_FIELD_NUMBER: _ClassVar[int]
        PASSIVE_FIELD_NUMBER: _ClassVar[int]
        GROUP_CHANNELS_FIELD_NUMBER: _ClassVar[int]
        PERIOD_MS_FIELD_NUMBER: _ClassVar[int]
        blocking: bool
        passive: bool
        group_channels: int
        period_ms: int
        def __init__(self, blocking: _Optional[bool] = ..., passive: _Optional[bool] = ..., group_channels: _Optional[int] = ..., period_ms: _Optional[int] = ...) -> None: ...
    class Started(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class AskStatus(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class TellStatus(_message.Message):
        __slots__ = ("finished", "count")
        FINISHED_FIELD_NUMBER: _ClassVar[int]
        COUNT_FIELD_NUMBER: _ClassVar[int]
        finished: bool
        count: int
        def __init__(self, finished: _Optional[bool] = ..., count: _Optional[int] = ...) -> None: ...
    class AskResult(_message.Message):
        __slots__ = ("first", "count")
        FIRST_FIELD_NUMBER: _ClassVar[int]
        COUNT_FIELD_NUMBER: _ClassVar[int]
        first: int
        count: int
        def __init__(self, first: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...
    class TellResult(_message.Message):
        __slots__ = ("networks",)
        NETWORKS_FIELD_NUMBER: _ClassVar[int]
        networks: _containers.RepeatedCompositeFieldContainer[HeardNetwork]
        def __init__(self, networks: _Optional[_Iterable[_Union[HeardNetwork, _Mapping]]] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ASK_STATUS_FIELD_NUMBER: _ClassVar[int]
    TELL_STATUS_FIELD_NUMBER: _ClassVar[int]
    ASK_RESULT_FIELD_NUMBER: _ClassVar[int]
    TELL_RESULT_FIELD_NUMBER: _ClassVar[int]
    kind: WifiScan.Kind
    status: _session_pb2.Status
    start: WifiScan.Start
    started: WifiScan.Started
    ask_status: WifiScan.AskStatus
    tell_status: WifiScan.TellStatus
    ask_result: WifiScan.AskResult
    tell_result: WifiScan.TellResult
    def __init__(self, kind: _Optional[_Union[WifiScan.Kind, str]] = ..., status: _Optional[_Union[_session_pb2.Status, str]] = ..., start: _Optional[_Union[WifiScan.Start, _Mapping]] = ..., started: _Optional[_Union[WifiScan.Started, _Mapping]] = ..., ask_status: _Optional[_Union[WifiScan.AskStatus, _Mapping]] = ..., tell_status: _Optional[_Union[WifiScan.TellStatus, _Mapping]] = ..., ask_result: _Optional[_Union[WifiScan.AskResult, _Mapping]] = ..., tell_result: _Optional[_Union[WifiScan.TellResult, _Mapping]] = ...) -> None: ...

class HeardNetwork(_message.Message):
    __slots__ = ("ssid", "channel", "rssi", "bssid", "auth_mode")
    SSID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    RSSI_FIELD_NUMBER: _ClassVar[int]
    BSSID_FIELD_NUMBER: _ClassVar[int]
    AUTH_MODE_FIELD_NUMBER: _ClassVar[int]
    ssid: bytes
    channel: int
    rssi: int
    bssid: bytes
    auth_mode: int
    def __init__(self, ssid: _Optional[bytes] = ..., channel: _Optional[int] = ..., rssi: _Optional[int] = ..., bssid: _Optional[bytes] = ..., auth_mode: _Optional[int] = ...) -> None: ...

class WifiConfig(_message.Message):
    __slots__ = ("kind", "ask_status", "tell_status", "set", "was_set", "apply", "applied")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ASK_STATUS: _ClassVar[WifiConfig.Kind]
        TELL_STATUS: _ClassVar[WifiConfig.Kind]
        SET: _ClassVar[WifiConfig.Kind]
        WAS_SET: _ClassVar[WifiConfig.Kind]
        APPLY: _ClassVar[WifiConfig.Kind]
        APPLIED: _ClassVar[WifiConfig.Kind]
    ASK_STATUS: WifiConfig.Kind
    TELL_STATUS: WifiConfig.Kind
    SET: WifiConfig.Kind
    WAS_SET: WifiConfig.Kind
    APPLY: WifiConfig.Kind
    APPLIED: WifiConfig.Kind
    class AskStatus(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Joined(_message.Message):
        __slots__ = ("ip4", "auth_mode", "ssid", "bssid", "channel")
        IP4_FIELD_NUMBER: _ClassVar[int]
        AUTH_MODE_FIELD_NUMBER: _ClassVar[int]
        SSID_FIELD_NUMBER: _ClassVar[int]
        BSSID_FIELD_NUMBER: _ClassVar[int]
        CHANNEL_FIELD_NUMBER: _ClassVar[int]
        ip4: str
        auth_mode: int
        ssid: bytes
        bssid: bytes
        channel: int
        def __init__(self, ip4: _Optional[str] = ..., auth_mode: _Optional[int] = ..., ssid: _Optional[bytes] = ..., bssid: _Optional[bytes] = ..., channel: _Optional[int] = ...) -> None: ...
    class AttemptFailed(_message.Message):
        __slots__ = ("remaining",)
        REMAINING_FIELD_NUMBER: _ClassVar[int]
        remaining: int
        def __init__(self, remaining: _Optional[int] = ...) -> None: ...
    class TellStatus(_message.Message):
        __slots__ = ("status", "state", "failure", "joined", "attempt_failed")
        STATUS_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        FAILURE_FIELD_NUMBER: _ClassVar[int]
        JOINED_FIELD_NUMBER: _ClassVar[int]
        ATTEMPT_FAILED_FIELD_NUMBER: _ClassVar[int]
        status: _session_pb2.Status
        state: StationState
        failure: JoinFailure
        joined: WifiConfig.Joined
        attempt_failed: WifiConfig.AttemptFailed
        def __init__(self, status: _Optional[_Union[_session_pb2.Status, str]] = ..., state: _Optional[_Union[StationState, str]] = ..., failure: _Optional[_Union[JoinFailure, str]] = ..., joined: _Optional[_Union[WifiConfig.Joined, _Mapping]] = ..., attempt_failed: _Optional[_Union[WifiConfig.AttemptFailed, _Mapping]] = ...) -> None: ...
    class Set(_message.Message):
        __slots__ = ("ssid", "passphrase", "bssid", "channel")
        SSID_FIELD_NUMBER: _ClassVar[int]
        PASSPHRASE_FIELD_NUMBER: _ClassVar[int]
        BSSID_FIELD_NUMBER: _ClassVar[int]
        CHANNEL_FIELD_NUMBER: _ClassVar[int]
        ssid: bytes
        passphrase: bytes
        bssid: bytes
        channel: int
        def __init__(self, ssid: _Optional[bytes] = ..., passphrase: _Optional[bytes] = ..., bssid: _Optional[bytes] = ..., channel: _Optional[int] = ...) -> None: ...
    class Apply(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Answer(_message.Message):
        __slots__ = ("status",)
        STATUS_FIELD_NUMBER: _ClassVar[int]
        status: _session_pb2.Status
        def __init__(self, status: _Optional[_Union[_session_pb2.Status, str]] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    ASK_STATUS_FIELD_NUMBER: _ClassVar[int]
    TELL_STATUS_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    WAS_SET_FIELD_NUMBER: _ClassVar[int]
    APPLY_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    kind: WifiConfig.Kind
    ask_status: WifiConfig.AskStatus
    tell_status: WifiConfig.TellStatus
    set: WifiConfig.Set
    was_set: WifiConfig.Answer
    apply: WifiConfig.Apply
    applied: WifiConfig.Answer
    def __init__(self, kind: _Optional[_Union[WifiConfig.Kind, str]] = ..., ask_status: _Optional[_Union[WifiConfig.AskStatus, _Mapping]] = ..., tell_status: _Optional[_Union[WifiConfig.TellStatus, _Mapping]] = ..., set: _Optional[_Union[WifiConfig.Set, _Mapping]] = ..., was_set: _Optional[_Union[WifiConfig.Answer, _Mapping]] = ..., apply: _Optional[_Union[WifiConfig.Apply, _Mapping]] = ..., applied: _Optional[_Union[WifiConfig.Answer, _Mapping]] = ...) -> None: ...
