"""Processes that meet and watch over each other; here they are threads, and ends are noted."""

import json
import socket
import threading
import time
from queue import Queue

import pytest

from builders import meeting as module
from builders.errors import RunError, UserError
from builders.link import Place
from builders.meeting import Meeting
from builders.relay import free_port

PATIENCE = 60  # seconds; far more than is needed


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(module, "LAST_WORDS_SECONDS", 0.05)
    monkeypatch.setattr(module, "_GREETING_SECONDS", 1.0)


class Member:
    """A process of a run, without the process."""

    def __init__(self, port, count, index, **seconds):
        self.ends: Queue = Queue()
        place = Place("localhost", port, count, index)
        self.meeting = Meeting(place, end=lambda *end: self.ends.put(end), **seconds)
        self.outcome = None
        self.thread = threading.Thread(target=self._start, daemon=True)
        self.thread.start()

    def _start(self):
        try:
            self.outcome = self.meeting.start()
        except (UserError, RunError) as error:
            self.outcome = error

    def started(self):
        self.thread.join(PATIENCE)
        return self.outcome

    def ended(self):
        return self.ends.get(timeout=PATIENCE)


@pytest.fixture
def team():
    """Makes members of a run and ends their connections afterwards."""
    made = []

    def make(count, told=None, port=None, **seconds):
        port = port or free_port()
        members = [
            Member(port, *each, **seconds)
            for each in told or zip([count] * count, range(count), strict=True)
        ]
        made.extend(members)
        return members

    yield make
    for member in made:
        member.meeting.close()


def test_they_meet_share_and_part(team):
    members = team(3)
    assert all(isinstance(each.started(), int) for each in members)
    first, *others = members
    first.meeting.publish("folder", {"path": "runs/x"})
    assert [each.meeting.value("folder") for each in others] == [{"path": "runs/x"}] * 2
    parting = [threading.Thread(target=each.meeting.finish) for each in members]
    for each in parting:
        each.start()
    for each in parting:
        each.join(PATIENCE)
        assert not each.is_alive()
    others[0].meeting.close()  # nobody minds a connection that closes now
    assert all(each.ends.empty() for each in members)


def test_the_first_stays_until_the_last_is_done(team):
    members = team(2)
    assert all(each.started() for each in members)
    first = threading.Thread(target=members[0].meeting.finish)
    first.start()
    first.join(0.3)
    assert first.is_alive()
    members[1].meeting.finish()
    first.join(PATIENCE)
    assert not first.is_alive()


def test_different_numbers_of_processes_are_named_in_both(team):
    for each in team(0, told=[(2, 0), (3, 1)]):
        outcome = each.started()
        assert isinstance(outcome, UserError)
        assert (
            str(outcome)
            == "process 1 was told of 3 processes, process 0 of 2: give all the same --num_processes"
        )


def test_who_does_not_come_is_named_in_all(team):
    members = team(0, told=[(4, 0), (4, 2)], join_seconds=3)
    for each in members:
        outcome = each.started()
        assert isinstance(outcome, RunError)
        assert str(outcome).startswith("processes [1, 3] of 4 did not come to localhost:")
        assert "within 3 s" in str(outcome)


def test_a_number_given_twice_is_refused_and_the_others_go_on(team):
    port = free_port()
    first, second = team(0, told=[(3, 0), (3, 1)], port=port)
    wait_until(lambda: first.meeting._links)
    (double,) = team(0, told=[(3, 1)], port=port)
    assert str(double.started()).startswith(f"there is a process 1 at localhost:{port} already")
    (third,) = team(0, told=[(3, 2)], port=port)
    assert all(isinstance(each.started(), int) for each in (first, second, third))


def test_a_first_process_that_is_not_there_is_told(team):
    (lonely,) = team(0, told=[(2, 1)], join_seconds=0.5)
    outcome = lonely.started()
    assert isinstance(outcome, RunError)
    assert str(outcome).startswith("process 0 does not answer at localhost:")
    assert ": connection refused (tried for 0.5 s)" in str(outcome)


def test_a_server_of_another_kind_is_told(team):
    with socket.create_server(("127.0.0.1", 0)) as other:
        (lost,) = team(0, told=[(2, 1)], port=other.getsockname()[1])
        connection, _ = other.accept()
        connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        assert "is not, or no longer, process 0 of a run" in str(lost.started())
        connection.close()


def test_a_visitor_of_another_kind_does_no_harm(team):
    port = free_port()
    (first,) = team(0, told=[(2, 0)], port=port)
    for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"process": "x"}\n', b"\xff" * 100_000):
        with connected(port) as visitor:
            visitor.sendall(greeting)
    (second,) = team(0, told=[(2, 1)], port=port)
    assert isinstance(first.started(), int)
    assert isinstance(second.started(), int)


def test_a_port_that_is_taken_is_named(team):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        outcome = team(0, told=[(2, 0)], port=port)[0].started()
    assert isinstance(outcome, UserError)
    assert f"process 0 can't listen on port {port}: " in str(outcome)
    assert str(outcome).endswith(": address already in use")


@pytest.mark.parametrize("gone", [0, 1])
def test_a_connection_that_closes_ends_the_others(team, gone):
    members = team(3)
    assert all(each.started() for each in members)
    for each in members:
        each.meeting.way_on = lambda: "The state is saved."
    members[gone].meeting.close()
    for each in members:
        if each is not members[gone]:
            text, status = each.ended()
            assert status == 1
            assert (
                text == f"process {gone} of 3 is gone: its connection closed\nThe state is saved."
            )


def test_a_process_that_says_nothing_any_more_is_gone(team):
    port = free_port()
    (first,) = team(0, told=[(2, 0)], port=port, silence_seconds=0.5)
    with connected(port) as silent:
        silent.sendall(b'{"process": 1, "processes": 2}\n')
        assert isinstance(first.started(), int)
        text, status = first.ended()
    assert (text, status) == ("process 1 of 2 is gone: it gave no sign of life for 0.5 s", 1)


def test_a_first_process_that_says_nothing_any_more_is_gone(team):
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        (second,) = team(0, told=[(2, 1)], port=stopped.getsockname()[1], silence_seconds=0.5)
        connection, _ = stopped.accept()
        greeting = json.loads(connection.makefile().readline())
        assert greeting == {"process": 1, "processes": 2}
        connection.sendall(b'{"go": true}\n')
        assert isinstance(second.started(), int)
        assert second.ended()[0] == "process 0 of 2 is gone: it gave no sign of life for 0.5 s"
        connection.close()


@pytest.mark.parametrize("failing", [0, 2])
def test_a_reason_reaches_all(team, failing):
    members = team(3)
    assert all(each.started() for each in members)
    members[failing].meeting.leave("ended: no such folder", 1)
    for each in members:
        if each is not members[failing]:
            assert each.ended() == (f"process {failing} of 3 ended: no such folder", 1)


def test_a_wish_to_stop_reaches_the_first(team):
    members = team(2)
    assert all(each.started() for each in members)
    asked = threading.Event()
    members[0].meeting.on_stop = asked.set
    members[1].meeting.ask_to_stop()
    assert asked.wait(PATIENCE)


def test_a_relay_leads_to_the_service_and_stays_when_that_is_gone(team):
    members = team(2)
    here, there = (each.started() for each in members)
    with socket.create_server(("127.0.0.1", here)) as service, connected(there) as client:
        client.sendall(b"question")
        answering, _ = service.accept()
        answering.settimeout(PATIENCE)
        assert answering.recv(8) == b"question"
        answering.sendall(b"answer")
        assert client.recv(6) == b"answer"
        members[0].meeting.close()
        assert members[1].ended()[0] == "process 0 of 2 is gone: its connection closed"
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):  # a break would end it with b""
            client.recv(1)
        answering.close()


def connected(port):
    """A connection with a port that may be opened a little later."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("localhost", port), PATIENCE)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def wait_until(true):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
