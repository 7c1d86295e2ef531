"""A stand-in for Avahi on the D-Bus of its argument: it accepts all services, and announces none."""

from __future__ import annotations

import asyncio
import sys

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

_ANSWERS = {"GetAPIVersion": ("u", [515]), "GetState": ("i", [2]), "EntryGroupNew": ("o", ["/group"])}


def _answer(message: Message) -> Message | None:
    if message.message_type is not MessageType.METHOD_CALL:
        return None
    signature, body = _ANSWERS.get(message.member, ("", []))
    return Message.new_method_return(message, signature, body)


async def _main() -> None:
    bus = await MessageBus(bus_address=sys.argv[1]).connect()
    bus.add_message_handler(_answer)
    await bus.request_name("org.freedesktop.Avahi")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await bus.wait_for_disconnect()


while True:
    try:
        asyncio.run(_main())
        break
    except (FileNotFoundError, ConnectionRefusedError):  # the bus is not there yet
        continue
