"""Carries JAX's connections to the first process through the one port that the processes share.

JAX's client ends its process at once, from C++ and without a word that a user could use, when its
connection to the first process breaks. Behind a relay it sees no such break, so the process can say
what happened; see `builders.meeting`.
"""

import asyncio
import json
import socket
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeAlias

from constants.distribution import JOIN_SECONDS, RETRY_SECONDS

LOOPBACK = "127.0.0.1"
RELAY_LINE = json.dumps({"relay": True}).encode() + b"\n"
_CHUNK = 1 << 16

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter


async def connect(host: str, port: int, seconds: float = JOIN_SECONDS) -> tuple[Reader, Writer]:
    """Opens a connection, trying again while there is nobody.

    Raises:
        OSError: the last try's error.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            left = max(end - time.monotonic(), RETRY_SECONDS)
            return await asyncio.wait_for(asyncio.open_connection(host, port), left)
        except OSError:  # a name that is not known yet, too; the time's end is one
            if time.monotonic() > end - RETRY_SECONDS:
                raise
            await asyncio.sleep(RETRY_SECONDS)


async def carry(reader: Reader, writer: Writer) -> None:
    """Copies bytes until the reader's end, or until one of the two breaks."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass


async def carry_to_service(reader: Reader, writer: Writer, port: int) -> None:
    """In the first process: joins a relayed connection with JAX's service behind `port`."""
    try:
        service_reader, service_writer = await connect(LOOPBACK, port)
    except OSError:  # it never started, which the first process tells about
        writer.close()
        return
    with suppress(asyncio.CancelledError):  # asyncio reports a cancelled visitor as an error
        await _until_one_ends(carry(reader, service_writer), carry(service_reader, writer))
    service_writer.close()
    writer.close()


async def open_relay(host: str, port: int) -> tuple[asyncio.Server, int]:
    """In another process: a port on this machine that leads to JAX's service in the first one.

    Args:
        host: of the first process.
        port: where its meeting is.

    Returns:
        The relay and its port.
    """

    async def take(reader: Reader, writer: Writer) -> None:
        try:
            far_reader, far_writer = await connect(host, port)
        except OSError:
            return  # `writer` stays open: JAX waits, and the meeting tells what is wrong
        far_writer.write(RELAY_LINE)
        onward = asyncio.ensure_future(carry(far_reader, writer))
        with suppress(asyncio.CancelledError):  # asyncio reports a cancelled visitor as an error
            await carry(reader, far_writer)
        onward.cancel()
        far_writer.close()
        writer.close()

    server = await asyncio.start_server(take, LOOPBACK, 0)
    return server, int(server.sockets[0].getsockname()[1])


async def _until_one_ends(*ways: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
