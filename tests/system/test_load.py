"""Many at once: nobody is starved by those who have more to send."""

import contextlib
import os
import re
import signal

import pytest

from harness import every_way, pattern, read_exactly, wait_until_acknowledged

ELEPHANT = 10 << 20  # bytes


@contextlib.contextmanager
def elephant(sender, receiver):
    """Sends as fast as eplb takes it, for as long as it takes, from one process to another. Yields a function that
    waits until it has proven its size."""
    proof, prove = os.pipe()

    def pump():
        block = pattern(1 << 18)
        while True:
            sender.sendall(block)

    def sink():
        received = 0
        while count := len(receiver.recv(1 << 18)):
            if received <= ELEPHANT < received + count:
                os.write(prove, b"!")
            received += count

    children = []
    for work in (pump, sink):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                work()
            os._exit(0)
        children.append(child)
    os.close(prove)

    def wait_until_large():
        assert os.read(proof, 1) == b"!", "it died young"

    try:
        yield wait_until_large
    finally:
        os.close(proof)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@every_way(quick=True)
def test_elephants_do_not_starve_ping_pongs_nor_new_clients(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    with contextlib.ExitStack() as elephants:
        waits = []
        for number in range(4):
            client, server = lab.pair(eplb, backend)
            waits.append(
                elephants.enter_context(elephant(client, server) if number % 2 else elephant(server, client))
            )
            elephants.callback(client.close)
            elephants.callback(server.close)
        pairs = [lab.pair(eplb, backend) for _ in range(20)]
        for _ in range(200):
            for client, _ in pairs:
                client.sendall(b"ping")
            for _, server in pairs:
                assert read_exactly(server, 4) == b"ping"
                server.sendall(b"pong")
            for client, _ in pairs:
                assert read_exactly(client, 4) == b"pong"
        client, server = lab.pair(eplb, backend)
        server.sendall(b"welcome")
        assert read_exactly(client, 7) == b"welcome"
        for wait_until_large in waits:
            wait_until_large()
    for _ in range(4):
        session = eplb.next_session()
        assert session["up"] + session["down"] > ELEPHANT


@pytest.mark.parametrize("relay", ["auto", "splice", "copy"])
def test_a_turn_ends_after_a_budget_however_much_there_is_to_move(lab, relay):
    """Between two looks at epoll(7), where others make themselves heard, there are no more than a few chunks."""
    network = lab.namespace()
    for buffers in ("rmem", "wmem"):  # all of the data fits into each socket's
        network.set(f"net/ipv4/tcp_{buffers}", "4096 16777216 16777216")
    with network.entered():
        backend = lab.backend()
        eplb = lab.eplb([backend], relay=relay, namespace=network)
        client, server = lab.joined_pair(eplb, backend)
    data = pattern(4 << 20)
    with eplb.inject("epoll_wait", "splice", "recvfrom") as trace:
        eplb.process.send_signal(signal.SIGSTOP)
        client.sendall(data)
        wait_until_acknowledged(client)  # everything waits in eplb's socket
        eplb.process.send_signal(signal.SIGCONT)
        assert read_exactly(server, len(data)) == data
    turns = [0]
    for call in trace.calls():
        result = re.search(r"= (\d+)$", call)
        if "epoll_wait" in call:
            turns.append(0)
        elif result:
            turns[-1] += int(result[1])
    # The budget is 256 KiB, overshot by a pipeful at most; and splice(2) moves each byte twice.
    assert 256 << 10 <= max(turns) <= 2 << 20
