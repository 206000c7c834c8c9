"""What a service or a backend may have, how old a session may get, and peers that are gone without a word."""

import contextlib
import os
import random
import select
import socket
import stat
import time

import pytest

from harness import pattern, read_exactly, reset, wait_for_reset, wait_until


def start(lab, backends, *lines, backend_lines=(), more="", listen=None, workers=1, **options):
    """eplb with a configuration of one service."""
    listen = listen or lab.reserve()
    text = f'workers = {workers}\n[[service]]\nname = "db"\nlisten = "{listen}"\n'
    text += "".join(f"{line}\n" for line in lines)
    for backend in backends:
        text += f'[[service.backend]]\naddress = "{backend.address}"\n'
        text += "".join(f"{line}\n" for line in backend_lines)
    return lab.configured(text + more, listen=[listen], **options)


# --- limits and queue -------------------------------------------------------------------------------------


@pytest.mark.quick
@pytest.mark.parametrize("over_limit", ["wait", "reset"])
def test_a_service_has_no_more_sessions_than_it_may(lab, over_limit):
    eplb = start(lab, [lab.greeter("!")], "max_connections = 3", f'over_limit = "{over_limit}"')
    served = [lab.client(eplb) for _ in range(3)]
    for client in served:
        assert read_exactly(client, 1) == b"!"
    if over_limit == "reset":
        wait_for_reset(lab.client(eplb))
        assert eplb.next_session()["end"] == "service_connections"
        served[0].close()
        eplb.next_session()
        assert read_exactly(lab.client(eplb), 1) == b"!"
        return
    waiting = lab.client(eplb)
    eplb.wait_until_settled()
    eplb.check_no_spin()
    assert not readable([waiting])
    served[0].close()
    assert read_exactly(waiting, 1) == b"!"


@pytest.mark.parametrize("workers", [1, 3])
def test_a_backend_never_has_more_than_it_may_however_clients_come_and_go(lab, workers):
    backend = lab.backend()
    eplb = start(lab, [backend], 'queue_timeout = "off"', backend_lines=["max_connections = 1"], workers=workers)
    chance = random.Random(workers)
    waiting = [lab.client(eplb) for _ in range(40)]
    rounds = 0
    while waiting:
        sock = backend.accept()
        assert not backend.pending(), "two at a time"
        rounds += 1
        sock.sendall(b"hello")
        greeted = next(client for client in wait_until(lambda: readable(waiting), "somebody is greeted"))
        waiting.remove(greeted)
        # Some of those that wait give up, some of them at the very moment when it is their turn.
        if waiting and chance.random() < 0.3:
            quitter = waiting.pop(chance.randrange(len(waiting)))
            reset(quitter) if chance.random() < 0.5 else quitter.close()
        if chance.random() < 0.5:
            eplb.reload()
        greeted.close()
        sock.close()
    assert rounds >= 20
    wait_until(lambda: len(eplb.sockets()) == len(eplb.baseline), "all sessions are over")


def readable(clients):
    ready = []
    for client in clients:
        client.setblocking(False)
        try:
            if client.recv(1, socket.MSG_PEEK):
                ready.append(client)
        except BlockingIOError:
            pass
        client.settimeout(30)
    return ready


@pytest.mark.quick
def test_who_waits_for_a_backend_too_long_is_reset(lab):
    backend = lab.greeter("!")
    eplb = start(lab, [backend], 'queue_timeout = "100ms"', backend_lines=["max_connections = 1"])
    assert read_exactly(lab.client(eplb), 1) == b"!"
    wait_for_reset(lab.client(eplb))
    session = eplb.next_session()
    assert session["end"] == "queue_timeout"
    assert "backend" not in session


@pytest.mark.quick
def test_backups_are_used_only_while_nobody_else_answers(lab):
    first, second = lab.greeter("1"), lab.greeter("2")
    eplb = start(lab, [first], more=f'[[service.backend]]\naddress = "{second.address}"\nbackup = true\n')
    for _ in range(3):
        assert read_exactly(lab.client(eplb), 1) == b"1"
    first.close()
    for _ in range(3):
        assert read_exactly(lab.client(eplb), 1) == b"2"


# --- age --------------------------------------------------------------------------------------------------


@pytest.mark.quick
def test_a_session_that_is_old_is_reset_even_while_bytes_move(lab):
    backend = lab.backend()
    eplb = start(lab, [backend], 'max_lifetime = "400ms"')
    begin = time.monotonic()
    client, server = lab.pair(eplb, backend)
    client.settimeout(30)
    with pytest.raises(ConnectionError):
        while True:
            client.sendall(pattern(1000))
            server.recv(1 << 16)
    assert time.monotonic() - begin >= 0.35
    assert eplb.next_session()["end"] == "lifetime"


# --- peers that are gone without a word -------------------------------------------------------------------


@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_peer_that_vanished_with_unacknowledged_data_goes_and_a_slow_reader_stays(lab, side):
    space = lab.namespace()
    space.bound_buffers()
    with space.entered():
        backend, listen = lab.backend(), lab.reserve()
    eplb = start(lab, [backend], 'dead_peer_timeout = "800ms"', listen=listen, namespace=space)
    with space.entered():
        slow_client, slow_server = lab.pair(eplb, backend)
        client, server = lab.pair(eplb, backend)
    # One direction is full: the receiver's window is closed, and it is there.
    sender = slow_server if side == "client" else slow_client
    sender.setblocking(False)
    fill(sender)
    vanish(space, client.getsockname()[1] if side == "client" else server.getpeername()[1])
    survivor = server if side == "client" else client
    survivor.sendall(b"are you there?")
    wait_for_reset(survivor)
    session = eplb.next_session()
    assert session["end"] == ("client_timeout" if side == "client" else "server_timeout")
    space.firewall([])
    # The slow one has been silent for longer than the timeout by now, and finishes.
    reader = slow_client if side == "client" else slow_server
    reader.settimeout(30)
    assert reader.recv(1) == b"x"
    assert len(eplb.sessions()) == 1


@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_peer_that_vanished_behind_its_closed_window_goes_and_one_that_just_does_not_read_stays(lab, side):
    space = lab.namespace()
    space.bound_buffers()
    with space.entered():
        backend, listen = lab.backend(), lab.reserve()
    eplb = start(lab, [backend], 'dead_peer_timeout = "800ms"', listen=listen, namespace=space)
    with space.entered():
        slow_client, slow_server = lab.pair(eplb, backend)
        client, server = lab.pair(eplb, backend)
    for sender in (slow_server, server) if side == "client" else (slow_client, client):
        sender.setblocking(False)
        fill(sender)
    survivor = server if side == "client" else client
    vanish(space, client.getsockname()[1] if side == "client" else server.getpeername()[1])
    wait_for_reset(survivor)
    session = eplb.next_session()
    assert session["end"] == ("client_timeout" if side == "client" else "server_timeout")
    space.firewall([])
    reader = slow_client if side == "client" else slow_server
    reader.settimeout(30)
    assert reader.recv(1) == b"x"
    assert len(eplb.sessions()) == 1


def fill(sock):
    """Sends until the kernel has taken nothing more for a while."""
    while select.select([], [sock], [], 0.3)[1]:
        with contextlib.suppress(BlockingIOError):
            sock.send(b"x" * 65536)


def vanish(space, port):
    """Whoever has this port neither gets anything any more nor says anything."""
    space.firewall([f"tcp dport {port} drop", f"tcp sport {port} drop"], hook="input")


# --- Unix sockets -----------------------------------------------------------------------------------------


@pytest.mark.quick
def test_a_unix_socket_belongs_to_whom_the_file_says(lab, tmp_path):
    path = tmp_path / "db.sock"
    backend = lab.greeter("!")
    eplb = start(lab, [backend], 'unix_owner = "4711:4712"', 'unix_mode = "0660"', listen=f"unix:{path}")
    status = os.stat(path)
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (4711, 4712, 0o660)
    eplb.reload(eplb.config.read_text().replace("4711:4712", ":4713"))
    assert os.stat(path).st_gid == 4713
    assert read_exactly(lab.client(eplb), 1) == b"!"
