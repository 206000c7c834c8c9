"""What eplb asks of the kernel, call by call. Each one more is paid for by every connection, or every message."""

import collections
import re

import pytest

from harness import read_exactly

KEEPALIVE = 4  # calls of setsockopt(2) for a session that is a second old: none here, unless this machine is busy


def calls_of(eplb, trace):
    """How often the thread that moves the bytes made each call. The log's thread is another one."""
    names = re.findall(rf"^{eplb.pid} +(\w+)\(", "\n".join(trace.calls()), re.M)
    return collections.Counter(name for name in names if name != "futex")  # which wakes the log's thread


@pytest.mark.quick
@pytest.mark.parametrize("size", [1, 64, 1024, 16384])
def test_a_message_costs_a_recv_and_a_send_and_its_share_of_epoll_wait(lab, size):
    backend = lab.backend()
    eplb = lab.eplb([backend])
    client, server = lab.joined_pair(eplb, backend)
    message = bytes(size)
    with eplb.inject("all") as trace:
        for _ in range(100):
            client.sendall(message)
            assert read_exactly(server, size) == message
            server.sendall(message)
            assert read_exactly(client, size) == message
    calls = calls_of(eplb, trace)
    # 200 messages, each by itself. A large one may arrive in two parts.
    parts = 2 if size > 1024 else 1
    keepalive = calls.pop("setsockopt", 0)
    assert keepalive in (0, KEEPALIVE)
    assert 200 <= calls.pop("recvfrom") <= 200 * parts
    assert 200 <= calls.pop("sendto") <= 200 * parts
    assert calls.pop("epoll_wait") <= 200 * parts + 2 + (keepalive != 0)
    assert not calls, calls


@pytest.mark.quick
def test_a_connection_costs_these_calls_and_no_other(lab):
    backend = lab.backend()
    eplb = lab.eplb([backend])
    count = 20

    def connect():
        client, server = lab.pair(eplb, backend)
        client.sendall(b"?")
        assert read_exactly(server, 1) == b"?"
        server.sendall(b"!")
        assert read_exactly(client, 1) == b"!"
        client.close()
        assert server.recv(1) == b""
        server.close()
        eplb.next_session()

    for _ in range(5):  # what is done once, by us or by a sanitizer, is done then
        connect()
    with eplb.inject("all") as trace:
        for _ in range(count):
            connect()
    calls = calls_of(eplb, trace)
    assert calls.pop("accept4") == 2 * count  # until it says EAGAIN
    assert calls.pop("socket") == count
    # TCP_NODELAY; the client's socket inherits everything.
    assert calls.pop("setsockopt") in range(count, count + count * KEEPALIVE + 1, KEEPALIVE)
    assert calls.pop("connect") == count
    assert calls.pop("getsockname", 0) <= count  # for a backend whose port connect(2) might choose for us
    assert calls.pop("recvfrom") == 4 * count  # a byte and an end, each way
    assert calls.pop("sendto") == 2 * count
    assert calls.pop("shutdown") == count  # the other FIN goes out with close
    assert calls.pop("epoll_ctl") == 4 * count  # two sockets come and go, and nothing in between
    assert calls.pop("close") == 2 * count
    assert calls.pop("epoll_wait") <= 7 * count
    assert not calls, calls


def test_a_burst_of_bulk_is_spliced_in_and_out_and_ends_with_one_call_that_finds_nothing(lab):
    backend = lab.backend()
    eplb = lab.eplb([backend], relay="splice")
    client, server = lab.joined_pair(eplb, backend)
    message = bytes(40_000)
    with eplb.inject("all") as trace:
        for _ in range(50):
            client.sendall(message)
            assert read_exactly(server, len(message)) == message
    calls = calls_of(eplb, trace)
    waits = calls.pop("epoll_wait")
    in_vain = sum("EAGAIN" in call for call in trace.calls("splice"))
    assert in_vain <= waits + 1
    assert calls.pop("splice") <= 2 * 50 * 2 + in_vain  # a message may arrive in two parts
    assert calls.pop("recvfrom", 0) <= 2  # it is not asked whether splice(2) was right
    assert calls.pop("setsockopt", 0) in (0, KEEPALIVE)
    assert not calls, calls
