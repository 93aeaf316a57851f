"""The processes of a run meet before JAX starts, and watch over each other until the end.

JAX has a service for this, but it ends a process from C++ where anything is wrong (a number given
twice, one process too few, a process that died), with a stack trace in place of a reason. So the
processes meet here first, on the port that JAX's service would have, check what they were told, and
stay connected: a connection that closes, or a long silence, is a process that is gone.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from builders.errors import RunError, UserError
from builders.link import Link, Place, end_process, reason
from builders.relay import (
    LOOPBACK,
    Reader,
    Writer,
    carry_to_service,
    connect,
    free_port,
    open_relay,
)
from constants.distribution import (
    BEAT_SECONDS,
    JOIN_SECONDS,
    LAST_WORDS_SECONDS,
    SILENCE_SECONDS,
)

_GREETING_SECONDS = 10.0
_TICK_SECONDS = 0.05


class Meeting:
    """The connections of this process with the others of its run.

    Args:
        place: where they meet.
        end: called in a thread of the meeting when the run can't go on, with the reason and the
            process' exit status. Does not return.
        join_seconds: how long the processes wait for each other at the start.
        silence_seconds: after how long without a sign of life a process counts as gone.

    Attributes:
        way_on: says where the run's state is and how to go on; told with a reason.
        on_stop: called in the first process when the user asks any other one to stop.
    """

    def __init__(
        self,
        place: Place,
        end: Callable[[str, int], None] = end_process,
        join_seconds: float = JOIN_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.place = place
        self.way_on: Callable[[], str] = str
        self.on_stop: Callable[[], object] = bool
        self._end_process = end
        self._join_seconds = join_seconds
        self._silence = silence_seconds
        self._links: dict[int, Link] = {}
        self._values: dict[str, Any] = {}
        self._news = threading.Condition()
        self._started: Future[int] = Future()
        self._mistake: Exception | None = None
        self._over = self._ending = False
        self._jax_port = free_port()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="meeting", daemon=True)

    def start(self) -> int:
        """Waits until all processes are here.

        Returns:
            The port on this machine where JAX's service is to be (in the first process), or seems
            to be (in the others).

        Raises:
            UserError: the processes were told different things, or the port can't be had.
            RunError: one did not come.
        """
        self._thread.start()
        return self._started.result()

    def publish(self, name: str, value: Any) -> None:
        """In the first process: tells the others something, JSON-able."""
        self._call(self._tell(value=[name, value]))

    def value(self, name: str) -> Any:
        """In another process: what the first one published; waits for it."""
        with self._news:
            while name not in self._values:
                self._news.wait(0.5)  # so that Ctrl-C is seen
            return self._values[name]

    def ask_to_stop(self) -> None:
        """In another process: hands a wish to stop to the first one, which saves the state."""
        # Without waiting: this is called from a signal's handler.
        asyncio.run_coroutine_threadsafe(self._tell(stop=True), self._loop)

    def finish(self) -> None:
        """Waits until the first process is done, and then until all are."""
        if self.place.index == 0:
            self.publish("done", True)
        else:
            self.value("done")
            self._call(self._tell(done=True))
        with self._news:
            while self.place.index == 0 and not all(link.done for link in self._links.values()):
                self._news.wait(0.5)
        self._over = True

    def leave(self, text: str, status: int) -> None:
        """Tells the others why this process ends early; they end too."""
        if self._ending:  # another reason came first, and this process is about to end
            time.sleep(2 * LAST_WORDS_SECONDS)
        self._ending = True
        self._call(self._tell(ended=text, process=self.place.index, status=status))
        time.sleep(LAST_WORDS_SECONDS)

    def close(self) -> None:
        """Ends the connections; calling it again does nothing."""
        self._over = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _tell(self, **message: Any) -> None:
        for link in self._links.values():
            link.send(**message)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        first = self.place.index == 0
        begin = self._loop.create_task(self._open() if first else self._join())
        begin.add_done_callback(self._begun)
        self._loop.run_forever()
        if self._server is not None:
            self._server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        for link in self._links.values():
            link.writer.close()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0))  # in which connections are closed
        self._loop.close()

    def _begun(self, begin: asyncio.Task[int]) -> None:
        error = begin.exception()
        if error is not None:
            self._started.set_exception(error)
            return
        for index, link in self._links.items():
            link.heard = time.monotonic()
            self._keep(self._listen(index, link))
        self._keep(self._watch())
        self._started.set_result(begin.result())

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    # --- the beginning -----------------------------------------------------------------------

    async def _open(self) -> int:
        """The first process: waits for the others."""
        place = self.place
        try:
            address = place.host if place.host in (LOOPBACK, "localhost", "::1") else None
            server = await asyncio.start_server(self._serve, address, place.port)
        except OSError as error:
            raise UserError(
                f"--coordinator_address {place}: process 0 can't listen on port {place.port}: "
                f"{reason(error)}"
            ) from None
        self._server = server
        end = time.monotonic() + self._join_seconds
        while len(self._links) < place.count - 1 and self._mistake is None:
            if time.monotonic() > end:
                self._mistake = RunError(self._missing())
            await asyncio.sleep(_TICK_SECONDS)
        if self._mistake is not None:
            for link in self._links.values():
                _refuse(link, self._mistake)
            await asyncio.sleep(LAST_WORDS_SECONDS)
            raise self._mistake
        for link in self._links.values():
            link.send(go=True)
        return self._jax_port

    def _missing(self) -> str:
        missing = [i for i in range(1, self.place.count) if i not in self._links]
        who = f"process {missing[0]}" if len(missing) == 1 else f"processes {missing}"
        return (
            f"{who} of {self.place.count} did not come to {self.place} within "
            f"{self._join_seconds:g} s; was it started, with this --coordinator_address and its "
            "own --process_id?"
        )

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        """Whoever connects with the first process."""
        link = Link(reader, writer)
        try:
            greeting = await asyncio.wait_for(link.read(), _GREETING_SECONDS)
        except TimeoutError:
            greeting = {}
        if greeting.get("relay"):
            await carry_to_service(reader, writer, self._jax_port)
            return
        index, count = greeting.get("process"), greeting.get("processes")
        if not isinstance(index, int) or not isinstance(count, int):
            writer.close()  # none of ours
        elif count != self.place.count:
            self._mistake = UserError(
                f"process {index} was told of {count} processes, process 0 of {self.place.count}: "
                "give all the same --num_processes"
            )
            _refuse(link, self._mistake)
        elif index in self._links or not 0 < index < count:
            taken = f"there is a process {index} at {self.place} already"
            _refuse(link, UserError(f"{taken}: give each its own --process_id"))
        else:
            self._links[index] = link

    async def _join(self) -> int:
        """Another process: goes to the first one."""
        place = self.place
        try:
            reader, writer = await connect(place.host, place.port, self._join_seconds)
        except OSError as error:
            raise RunError(
                f"process 0 does not answer at {place}: {reason(error)} (tried for "
                f"{self._join_seconds:g} s); was it started, and is --coordinator_address its own?"
            ) from None
        link = Link(reader, writer)
        link.send(process=place.index, processes=place.count)
        try:
            # The first process may have come later than this one; it gives up first.
            answer = await asyncio.wait_for(link.read(), self._join_seconds + _GREETING_SECONDS)
        except TimeoutError:
            answer = {}
        if "refused" in answer:
            raise (UserError if answer["user"] else RunError)(answer["refused"])
        if "go" not in answer:
            raise RunError(f"{place} is not, or no longer, process 0 of a run")
        self._links[0] = link
        self._server, port = await open_relay(place.host, place.port)
        return port

    # --- the time until the end --------------------------------------------------------------

    async def _listen(self, index: int, link: Link) -> None:
        while message := await link.read():
            if "value" in message:
                name, value = message["value"]
                with self._news:
                    self._values[name] = value
                    self._news.notify_all()
            elif "stop" in message:
                self.on_stop()
            elif "done" in message:
                with self._news:
                    link.done = True
                    self._news.notify_all()
            elif "ended" in message:
                await self._end(message)
        if not (self._over or link.done):
            await self._gone(index, "is gone: its connection closed")

    async def _watch(self) -> None:
        """Gives signs of life, and misses those of others."""
        woke = time.monotonic()
        while True:
            await self._tell(alive=True)
            await asyncio.sleep(BEAT_SECONDS)
            slept, woke = time.monotonic() - woke, time.monotonic()
            for index, link in self._links.items():
                if slept > 2 * BEAT_SECONDS:
                    link.heard = woke  # it was this process that was away
                if woke - link.heard > self._silence and not (self._over or link.done):
                    await self._gone(
                        index, f"is gone: it gave no sign of life for {self._silence:g} s"
                    )

    async def _gone(self, index: int, what: str) -> None:
        await self._end({"ended": what, "process": index, "status": 1})

    async def _end(self, message: dict[str, Any]) -> None:
        """Ends this process, and in the first one all others, since one process has ended."""
        if self._ending:
            return
        self._ending = True
        if self.place.index == 0:
            await self._tell(**message)
        text = f"process {message['process']} of {self.place.count} {message['ended']}"
        way_on = self.way_on()
        await asyncio.sleep(LAST_WORDS_SECONDS)
        self._end_process(f"{text}\n{way_on}" if way_on else text, int(message["status"]))


def _refuse(link: Link, error: Exception) -> None:
    link.send(refused=str(error), user=isinstance(error, UserError))
