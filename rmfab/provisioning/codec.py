"""Protobuf messages from bytes. Bad bytes raise only ProtocolError."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from rmfab.provisioning.failures import ProtocolError, RequestRefused
from rmfab.provisioning.proto.session_pb2 import Status

M = TypeVar("M", bound=Message)


def parse(kind: type[M], data: bytes) -> M:
    """Return the message of *kind* in *data*; ignore unknown fields. Raise ProtocolError."""
    message = kind()
    try:
        message.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise ProtocolError("the unit sent an invalid protobuf message") from error
    return message


def expect(message: Message, body: str) -> None:
    """Raise ProtocolError unless the `body` of *message* is the field called *body*, and its `kind` says the same.

    Neither reads as success if it is absent: the kinds of answers are not 0, and an empty body is still present.
    """
    told, kind = message.WhichOneof("body"), getattr(message, "kind")  # noqa: B009 (not in the type of all messages)
    if told != body or kind != getattr(message, body.upper()):
        raise ProtocolError(f"the unit sent the wrong message, expected {body.replace('_', ' ')}")


def check_status(status: int) -> None:
    """Raise RequestRefused with the name of *status* unless it is success."""
    if status != Status.OK:
        name = Status.Name(status).lower().replace("_", " ") if status in Status.values() else f"status {status}"
        raise RequestRefused(f"the unit rejected the request: {name}", status=status)
