"""A process that stands still for longer than its timeouts: stopped, in a debugger, on a machine that sleeps."""

import socket
import time

import pytest

from harness import read_exactly, wait_until

TIMEOUT = 8  # more than a busy machine takes until it is stopped


def still_connecting(server):
    """How many connections to `server` are not established yet, by the kernel's table."""
    host, port = server.getsockname()
    remote = f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        return sum(line.split()[2:4] == [remote, "02"] for line in table)


@pytest.mark.quick
@pytest.mark.parametrize("workers", [1, 3])
def test_what_came_while_the_process_stood_still_came_in_time(lab, workers):
    backend = lab.backend()
    full = socket.socket()
    lab.keep(full).bind(("127.0.0.1", 0))
    full.listen(0)
    plugs = []
    for _ in range(2):  # nobody else is let in until somebody accepts
        plugs.append(lab.keep(socket.socket()))
        plugs[-1].setblocking(False)
        plugs[-1].connect_ex(full.getsockname())
    idle, slow = lab.reserve(), lab.reserve()
    eplb = lab.configured(
        f"""
        workers = {workers}
        [[service]]
        name = "idle"
        listen = "{idle}"
        idle_timeout = "{TIMEOUT}s"
        [[service.backend]]
        address = "{backend.address}"
        [[service]]
        name = "slow"
        listen = "{slow}"
        connect_timeout = "{TIMEOUT}s"
        [[service.backend]]
        address = "127.0.0.1:{full.getsockname()[1]}"
        """,
        listen=[idle, slow],
    )
    connecting = lab.client(eplb, listener=1)
    wait_until(lambda: still_connecting(full) == 2, "the slow backend is dialled, as the second plug is")
    pairs = [lab.joined_pair(eplb, backend) for _ in range(5)]
    with eplb.stopped():
        for client, _ in pairs:
            client.sendall(b"?")
        full.settimeout(30)
        late = None
        while late is None or late.getpeername() in [plug.getsockname() for plug in plugs]:
            late = lab.keep(full.accept()[0])
        time.sleep(TIMEOUT + 0.5)  # that is what it is about
    for client, server in pairs:
        assert read_exactly(server, 1) == b"?"
        server.sendall(b"!")
        assert read_exactly(client, 1) == b"!"
    late.sendall(b"!")
    assert read_exactly(connecting, 1) == b"!"
    assert not eplb.sessions()
