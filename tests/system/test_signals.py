"""Signals: stopping, and what does not stop it."""

import re
import signal
import socket

import pytest

from harness import Peer, drive, ends_with_reset, every_way, pattern, read_exactly, read_to_end, wait_until

STOPS = [signal.SIGTERM, signal.SIGINT]


def is_refused(eplb, listener=0):
    try:
        eplb.connect(listener).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    eplb.clients -= 1  # not one that has to be told of in the log
    eplb.counting = False
    return False


@pytest.mark.quick
@pytest.mark.parametrize("stop", STOPS)
def test_it_stops_accepting_at_once_and_lets_sessions_finish(lab, stop):
    backend = lab.backend()
    listen = [lab.reserve(), f"unix:{lab.folder}/eplb"]
    eplb = lab.eplb([backend], listen=listen)
    pairs = [lab.pair(eplb, backend) for _ in range(3)]
    eplb.process.send_signal(stop)
    assert re.search(r"\b3\b", eplb.wait_for_message("sessions? left"))
    assert is_refused(eplb, 0) and is_refused(eplb, 1)
    for client, server in pairs:
        up, down = pattern(1_000_000, "up"), pattern(1_000_000, "down")
        peers = [Peer(client, up, expect=down), Peer(server, down, expect=up)]
        drive(peers)
        assert all(peer.complete for peer in peers)
    eplb.expect_exit(0)
    assert [session["end"] in ("client_fin", "server_fin") for session in eplb.sessions()] == [True] * 3
    assert not (lab.folder / "eplb").exists(), "the Unix socket was left behind"


def test_idle_it_leaves_at_once(lab):
    eplb = lab.eplb([lab.reserve()], "--drain-timeout", "1h")
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit(0)


def test_clients_that_the_kernel_had_already_taken_are_served_not_reset(lab):
    """Closing a listener resets whoever waits in its backlog."""
    eplb = lab.eplb([lab.greeter("!")])
    eplb.process.send_signal(signal.SIGSTOP)
    clients = [lab.client(eplb) for _ in range(100)]
    eplb.process.send_signal(signal.SIGTERM)
    eplb.process.send_signal(signal.SIGCONT)
    for client in clients:
        assert read_exactly(client, 1) == b"!"
        client.close()
    eplb.expect_exit(0)
    assert len(eplb.sessions()) == 100


@pytest.mark.quick
@pytest.mark.parametrize("stop", STOPS)
def test_sessions_left_after_the_drain_timeout_are_reset(lab, stop):
    backend = lab.backend()
    eplb = lab.eplb([backend], "--drain-timeout", "300ms")
    pairs = [lab.pair(eplb, backend) for _ in range(3)]
    eplb.process.send_signal(stop)
    for client, server in pairs:
        assert ends_with_reset(client)
        assert ends_with_reset(server)
    eplb.expect_exit(0)
    assert [session["end"] for session in eplb.sessions()] == ["drain"] * 3


def test_a_session_still_dialling_is_drained_too(lab):
    overloaded = lab.backend(backlog=0)
    for _ in range(3):
        filler = lab.keep(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(overloaded.listener.getsockname())
    eplb = lab.eplb([overloaded], "--drain-timeout", "300ms", "--connect-timeout", "1h")
    client = lab.client(eplb)
    wait_until(lambda: len(eplb.sockets()) == len(eplb.baseline) + 2, "eplb dials the backend")
    eplb.process.send_signal(signal.SIGTERM)
    assert ends_with_reset(client)
    eplb.expect_exit(0)
    assert [session["end"] for session in eplb.sessions()] == ["drain"]


def test_draining_flushes_what_is_stuck_behind_a_slow_receiver(lab, narrow):
    backend = lab.backend(rcvbuf=16384)
    eplb = lab.eplb([backend], "--drain-timeout", "1h", namespace=narrow)
    client, server = lab.pair(eplb, backend, sndbuf=4 << 20)
    data = pattern(1_000_000)
    client.sendall(data)
    client.close()
    eplb.wait_until_settled()
    eplb.process.send_signal(signal.SIGTERM)
    eplb.wait_for_message("1 session left")
    assert read_to_end(server) == data
    server.close()
    eplb.expect_exit(0)


@pytest.mark.quick
@pytest.mark.parametrize("first", STOPS)
@pytest.mark.parametrize("second", STOPS)
def test_a_second_signal_ends_it_now(lab, first, second):
    backend = lab.backend()
    eplb = lab.eplb([backend], "--drain-timeout", "1h")
    client, server = lab.pair(eplb, backend)
    eplb.process.send_signal(first)
    eplb.wait_for_message("left")
    eplb.process.send_signal(second)
    eplb.expect_exit(0)
    assert ends_with_reset(client)
    assert ends_with_reset(server)
    assert [session["end"] for session in eplb.sessions()] == ["drain"]


@pytest.mark.parametrize("name", ["SIGHUP", "SIGPIPE"])
def test_a_signal_that_is_ignored_changes_nothing_for_sessions_and_new_clients(lab, name):
    backend = lab.backend()
    eplb = lab.eplb([backend])
    client, server = lab.pair(eplb, backend)
    for _ in range(100):
        eplb.process.send_signal(getattr(signal, name))
    if name == "SIGHUP":
        eplb.wait_for_message("SIGHUP")
    client.sendall(b"still there")
    assert read_exactly(server, 11) == b"still there"
    lab.pair(eplb, backend)


@every_way()
def test_writing_to_broken_connections_raises_no_deadly_sigpipe(lab, way):
    """splice(2) has no MSG_NOSIGNAL."""
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    data = pattern(1 << 20)
    for _ in range(30):
        client, server = lab.pair(eplb, backend)
        server.close()
        peer = Peer(client, data)
        drive([peer])
        assert peer.was_reset or peer.fin_received
        client.close()
    wait_until(lambda: len(eplb.sessions()) == 30, "all sessions are over")
