"""What a meeting of processes is made of: its place, its connections, its end."""

import json
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builders.relay import Reader, Writer


@dataclass(frozen=True)
class Place:
    """Where the processes of a run meet, and which of them this one is.

    Args:
        host: of the first process.
        port: on it.
        count: processes.
        index: of this one, from 0.
    """

    host: str
    port: int
    count: int
    index: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Link:
    """The connection with one other process."""

    def __init__(self, reader: "Reader", writer: "Writer") -> None:
        self.reader = reader
        self.writer = writer
        self.heard = time.monotonic()
        self.done = False

    async def read(self) -> dict[str, Any]:
        """The next message; {} at the end of the connection, or if it isn't one of ours."""
        try:
            message = json.loads(await self.reader.readline() or b"{}")
        except (OSError, ValueError):  # broken, too long, or no JSON
            return {}
        self.heard = time.monotonic()
        return message if isinstance(message, dict) else {}

    def send(self, **message: Any) -> None:
        """Hands a message to the operating system; who can't be reached has been told about."""
        if not self.writer.is_closing():
            self.writer.write(json.dumps(message).encode() + b"\n")


def end_process(text: str, status: int) -> None:
    """Ends this process at once, whatever its other threads wait for.

    Args:
        text: said on standard error.
        status: of the process.
    """
    sys.stdout.flush()
    print(f"{Path(sys.argv[0]).name}: {text}", file=sys.stderr, flush=True)
    os._exit(status)


def reason(error: OSError) -> str:
    """The operating system's words for an error."""
    if isinstance(error, TimeoutError):
        return "no answer"
    # asyncio puts words of its own around the number, or joins those of several addresses.
    number = re.search(r"\[Errno (\d+)\]", str(error))
    return (os.strerror(int(number[1])) if number else error.strerror or str(error)).lower()
