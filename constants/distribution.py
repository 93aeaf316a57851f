"""Times of a run in several processes: how long they wait for each other."""

from typing import Final

JOIN_SECONDS: Final = 60.0
"""How long the processes of a run wait for each other at the start. They are started together, and
the slowest import of Keras and JAX seen took 20 s (cold disk, two busy cores); who is not there
after three times that has failed, and a person is waiting for the message. JAX itself waits 300."""

RETRY_SECONDS: Final = 0.3
"""Between two tries to reach the first process, which may start later than the others."""

BEAT_SECONDS: Final = 2.0
"""Between two signs of life."""

SILENCE_SECONDS: Final = 30.0
"""A process that gave no sign of life for so long is gone. Half of the minute within which the
others are to stop; and fifteen signs of life, so that a busy machine is not taken for a dead one.
A process that dies is noticed at once, since its connections close; this is for one that hangs, and
for a machine that loses its power or its network."""

LAST_WORDS_SECONDS: Final = 1.5
"""How long a process that ends early keeps its connections, so that the others can read why."""

VERDICT_SECONDS: Final = 10.0
"""How long an error of a computation waits for the news that another process is gone, which would
be its cause. The news comes with the closing of a connection, or after `SILENCE_SECONDS`; the
computation fails on the same grounds, at most some beats earlier."""

JAX_SECONDS: Final = 600
"""JAX's own limit for signs of life. Ours comes first, since JAX ends a process without a word that
a user could use (a C++ stack trace, from a thread that Python does not see)."""
