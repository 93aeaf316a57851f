"""Keeps the chatter of TensorFlow and its converters off the screen, and lets the rest through."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from builders.errors import RunError, UserError

CHATTER = re.compile(
    "|".join(
        (
            r"[IW]\d{4} ",  # absl's information and warnings from C++: `I0000 00:17 x.cc:31] ...`
            r"WARNING: All log messages before absl::InitializeLog",
            r"INFO: ",  # LiteRT: which delegate it made
            r".*UserWarning: .*tf\.lite\.Interpreter is deprecated",
            r"\s*(Please use the LiteRT interpreter|See the \[migration guide\]|for details\.)",
            r"\s*TF 2\.20\.",
            r"\s*warnings\.warn\(_INTERPRETER_DELETION_WARNING\)",
            r"\s*$",
        )
    )
)
"""Lines that say nothing to a user who exports a model; a line matches at its beginning."""


@contextmanager
def chatter_held_back() -> Iterator[None]:
    """Holds back what is written to standard error inside the block.

    C++ libraries write to the file descriptor, past Python's `sys.stderr`, so the descriptor
    itself is turned. At the end, also after an exception, all lines but `CHATTER` are shown; none
    after a RunError or a UserError, whose message says what there is to say.
    """
    try:
        target = os.dup(2)
    except OSError:  # started without standard error: nothing can be written there
        yield
        return
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        explained = False
        try:
            yield
        except (RunError, UserError):
            explained = True
            raise
        finally:
            sys.stderr.flush()
            os.dup2(target, 2)
            os.close(target)
            if not explained:
                for line in _worth_showing(held):
                    sys.stderr.write(line)


def _worth_showing(held: IO[bytes]) -> Iterator[str]:
    held.seek(0)
    for raw in held:
        line = raw.decode("utf-8", "replace")
        if not CHATTER.match(line):
            yield line
