"""Protobuf messages from bytes, and nothing but a value or a ProtocolError comes of it."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from rmfab.provisioning.failures import ProtocolError, RequestRefused
from rmfab.provisioning.proto.session_pb2 import Status

M = TypeVar("M", bound=Message)


def parse(kind: type[M], data: bytes) -> M:
    """The message of *kind* in *data*; unknown fields are ignored. Raises ProtocolError."""
    message = kind()
    try:
        message.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise ProtocolError("the unit answers with what is no message of the protocol") from error
    return message


def expect(message: Message, body: str) -> None:
    """Raises ProtocolError unless the `body` of *message* is the field called *body*."""
    if message.WhichOneof("body") != body:
        raise ProtocolError(f"the unit answers with another message than {body.replace('_', ' ')}")


def check_status(status: int) -> None:
    """Raises Refused with the name of *status* unless it is success."""
    if status != Status.OK:
        name = Status.Name(status).lower().replace("_", " ") if status in Status.values() else f"status {status}"
        raise RequestRefused(f"the unit refuses: {name}", status=status)
