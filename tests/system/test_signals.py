"""Signals: stopping, and what does not stop it."""

import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest

from harness import GUARD, Peer, command_line, drive, ends_with_reset, every_way, pattern, read_exactly, read_to_end, wait_until

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


EARLY = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT]


def start_with_signal(lab, number):
    """eplb that is sent a signal when it opens its configuration. Its log, and how it ends."""
    listen, path, log = lab.reserve(), lab.folder / "eplb.toml", lab.folder / "log"
    backend = lab.greeter("!")
    path.write_text(
        f'[log]\nfile = "{log}"\n[[service]]\nlisten = "{listen}"\n[[service.backend]]\naddress = "{backend.address}"\n'
    )
    strace = ["strace", "-f", "-qq", "-o", str(lab.folder / "strace"), "-P", str(path), "-e", "trace=openat"]
    process = subprocess.Popen(
        command_line(["-c", str(path)], prefix=[*strace, "-e", f"inject=openat:signal={number.name}:when=1"]),
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},  # which ptrace(2) does not allow
    )  # fmt: skip

    def lines():
        return log.read_text() if log.exists() else ""

    return process, lines


@pytest.mark.quick
@pytest.mark.parametrize("number", EARLY[:3])
def test_a_signal_that_comes_before_it_is_up_is_obeyed_when_it_is(lab, number):
    process, lines = start_with_signal(lab, number)
    wait_until(lambda: "ready" in lines() or process.poll() is not None, "it is ready")
    assert process.poll() is None, process.communicate()
    if number == signal.SIGHUP:
        wait_until(lambda: "reloaded: nothing has changed" in lines(), "it reloads")
    if number == signal.SIGUSR2:
        wait_until(lambda: "SIGUSR2 ignored" in lines(), "it is told")
    os.kill(int(re.search(r"pid (\d+)", lines())[1]), signal.SIGTERM)
    assert process.wait(GUARD) == 0
    process.stderr.close()


@pytest.mark.parametrize("number", EARLY[3:])
def test_stopped_before_it_is_up_it_leaves_at_once_as_one_that_was_stopped(lab, number):
    process, lines = start_with_signal(lab, number)
    assert process.wait(GUARD) == 0
    assert lines() == "" and process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.quick
def test_sigusr2_is_told_and_ignored(lab):
    backend = lab.backend()
    eplb = lab.eplb([backend])
    client, server = lab.pair(eplb, backend)
    eplb.process.send_signal(signal.SIGUSR2)
    eplb.wait_for_message("SIGUSR2 ignored")
    client.sendall(b"still there")
    assert read_exactly(server, 11) == b"still there"


def test_signals_reach_the_first_thread_only_whatever_the_number_of_workers(lab):
    """One that another thread may take is lost: it has the default action there, or interrupts a system call."""
    eplb = lab.eplb([lab.reserve()], "-w", "3")
    wanted = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
    for status in pathlib.Path(f"/proc/{eplb.pid}/task").glob("*/status"):
        blocked = int(re.search(r"SigBlk:\s*(\w+)", status.read_text())[1], 16)
        assert all(blocked >> (number - 1) & 1 for number in wanted), status
