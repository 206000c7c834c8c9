"""Options of sockets: of listeners, of clients, who inherit them, and of connections to backends."""

import contextlib
import ctypes
import os
import re
import socket
import subprocess

import pytest

from harness import read_exactly, run_eplb, wait_until

SO_MARK = 36
TCP_CONGESTION = 13


def service(listen, backends, extra=""):
    text = f'[[service]]\nlisten = ["{listen}"]\n{extra}\n'
    for backend in backends:
        text += f'[[service.backend]]\naddress = "{getattr(backend, "address", backend)}"\n'
    return text


def stolen(eplb, number):
    """One of eplb's descriptors, as ours: pidfd_getfd(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(eplb.pid)
    fd = libc.syscall(438, pidfd, number, 0)
    os.close(pidfd)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return socket.socket(fileno=fd)


def tcp_sockets(eplb):
    """Listener first, then client and backend of the only session."""
    states = eplb.socket_states()
    numbers = sorted(fd for fd, name in eplb.descriptors().items() if states.get(name) in ("LISTEN", "ESTABLISHED"))
    return [stolen(eplb, number) for number in numbers]


@pytest.fixture
def session(lab):
    """Of an eplb with some options: listener, client's end, backend's end, as eplb has them."""

    def make(extra, **options):
        server, listen = lab.greeter("!"), lab.reserve()
        eplb = lab.configured(service(listen, [server], extra), listen=[listen], **options)
        client = lab.client(eplb)
        assert read_exactly(client, 1) == b"!"
        sockets = tcp_sockets(eplb)
        for sock in sockets:
            lab.keep(sock)
        assert len(sockets) == 3
        return eplb, client, sockets

    return make


def option(sock, level, name):
    return sock.getsockopt(level, name)


@pytest.mark.quick
@pytest.mark.parametrize("nodelay", ["true", "false"])
def test_small_messages_wait_only_if_that_is_asked_for(session, nodelay):
    _, _, sockets = session(f"nodelay = {nodelay}")
    for sock in sockets:
        assert bool(option(sock, socket.IPPROTO_TCP, socket.TCP_NODELAY)) == (nodelay == "true")


def keepalive(sock):
    return [
        option(sock, socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        *(option(sock, socket.IPPROTO_TCP, name) for name in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)),
    ]


def test_keepalive_is_as_it_was_asked_for(session, lab):
    eplb, client, (listener, inherited, backend) = session('keepalive = { idle = "5m", interval = "7s", count = 3 }')
    for sock in (listener, inherited, backend):
        wait_until(lambda: keepalive(sock) == [1, 300, 7, 3], "it is set")


def test_without_keepalive_nobody_is_asked(session):
    eplb, _, sockets = session('keepalive = "off"')
    for sock in sockets[:2]:
        assert option(sock, socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_marks_and_congestion_control_are_set_on_both_sides(session):
    _, _, sockets = session('mark = 77\ncongestion = "reno"')
    for sock in sockets:
        assert option(sock, socket.SOL_SOCKET, SO_MARK) == 77
        assert sock.getsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, 16).rstrip(b"\0") == b"reno"


def test_they_change_with_a_reload_for_those_who_come_later(session, lab):
    eplb, _, sockets = session("mark = 1")
    text = eplb.config.read_text()
    assert eplb.reload(text.replace("mark = 1", 'mark = 2\nbacklog = 7\nnodelay = false'))[-1] == "reloaded"
    client = lab.client(eplb)
    assert read_exactly(client, 1) == b"!"
    marks = sorted(option(lab.keep(sock), socket.SOL_SOCKET, SO_MARK) for sock in tcp_sockets(eplb))
    assert marks == [1, 1, 2, 2, 2]


@pytest.mark.quick
def test_connections_to_backends_come_from_the_sources_in_turn(lab):
    backend, listen = lab.backend(), lab.reserve()
    eplb = lab.configured(service(listen, [backend], 'source = ["127.0.0.5", "127.0.0.6", "::1"]'), listen=[listen])
    seen = []
    for _ in range(4):
        client, server = lab.pair(eplb, backend)
        seen.append(server.getpeername()[0])
    assert seen == ["127.0.0.5", "127.0.0.6"] * 2


def test_a_source_that_is_not_ours_is_a_local_error(lab):
    backend, listen = lab.backend(), lab.reserve()
    eplb = lab.configured(service(listen, [backend], 'source = "192.0.2.1"'), listen=[listen])
    with contextlib.suppress(ConnectionResetError):
        client = lab.client(eplb)
        assert client.recv(1) == b""
    session = eplb.next_session()
    assert session["end"] == "local_error" and session["error"] == "Cannot assign requested address"
    assert session["problem"] == "source"


def test_what_the_kernel_does_not_know_keeps_it_from_starting(lab):
    path = lab.folder / "eplb.toml"
    path.write_text(service(lab.reserve(), ["127.0.0.1:1"], 'congestion = "nosuch"'))
    done = run_eplb("-c", str(path))
    assert done.returncode == 1
    assert re.search(r':3:14: error: congestion: .*"nosuch".*No such file or directory', done.stderr), done.stderr


def test_an_interface_is_the_only_way_to_it(lab):
    server, listen = lab.greeter("!"), lab.reserve()
    eplb = lab.configured(service(listen, [server], 'interface = "lo"'), listen=[listen])
    client = lab.client(eplb)
    assert read_exactly(client, 1) == b"!"
    for sock in tcp_sockets(eplb):
        assert lab.keep(sock).getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == b"lo\0"


def test_a_transparent_service_connects_from_the_clients_own_address(lab):
    backend, listen = lab.backend(), lab.reserve()
    eplb = lab.configured(service(listen, [backend], "transparent = true"), listen=[listen])
    host, port = listen.rsplit(":", 1)
    for source in ("127.0.0.77", "127.0.0.78"):
        client = lab.keep(socket.create_connection((host, int(port)), source_address=(source, 0)))
        eplb.clients += 1
        server = lab.keep(backend.accept())
        assert server.getpeername()[0] == source
        assert server.getpeername()[1] != client.getsockname()[1]
    for sock in tcp_sockets(eplb):
        assert option(lab.keep(sock), socket.SOL_IP, 19) == 1  # IP_TRANSPARENT


@pytest.mark.parametrize("mode, allowed", [("0600", False), ("0666", True)])
def test_the_mode_of_a_unix_socket_says_who_may_connect(lab, mode, allowed):
    server, path = lab.greeter("!"), lab.folder / "front"
    eplb = lab.configured(service(f"unix:{path}", [server], f'unix_mode = "{mode}"'), listen=[f"unix:{path}"])
    assert path.stat().st_mode & 0o777 == int(mode, 8)
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(path)!r}); print(s.recv(1))"
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", code],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode == 0) == allowed, done.stderr
    assert allowed or "PermissionError" in done.stderr
    eplb.counting = False


def test_a_client_that_says_nothing_is_not_seen_before_its_time(lab):
    server, listen = lab.greeter("!"), lab.reserve()
    eplb = lab.configured(service(listen, [server], 'defer_accept = "1h"'), listen=[listen])
    silent, talking = lab.client(eplb), lab.client(eplb)
    talking.sendall(b"x")
    assert read_exactly(talking, 2) == b"!x"
    assert server.served == 1
    silent.sendall(b"y")
    assert read_exactly(silent, 2) == b"!y"
