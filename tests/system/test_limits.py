"""Too little of something: descriptors, connections, pipes, system calls. eplb slows down, and goes on."""

import re
import socket
import time

import pytest

from harness import Peer, drive, drive_until_stalled, every_way, pattern, read_exactly, reset, run_eplb, wait_until


def active_sessions(eplb):
    """By its sockets: two for each session that has its backend."""
    return (len(eplb.sockets()) - len(eplb.baseline)) / 2


def unserved(clients):
    """Those that the Greeter has not greeted yet."""
    waiting = []
    for client in clients:
        client.setblocking(False)
        try:
            client.recv(1)
        except BlockingIOError:
            waiting.append(client)
        client.settimeout(30)
    return waiting


# --- descriptors ------------------------------------------------------------------------------------------


@pytest.mark.quick
def test_out_of_descriptors_clients_wait_in_the_backlog_and_need_not_knock_again(lab):
    eplb = lab.eplb([lab.greeter("!")], starving=True)
    served = [lab.client(eplb) for _ in range(5)]
    for client in served:
        read_exactly(client, 1)
    eplb.leave_descriptors(0)
    start = time.monotonic()
    waiting = [lab.client(eplb) for _ in range(12)]
    eplb.wait_for_message("(?i)too many open files")
    for _ in range(3):
        eplb.check_no_spin()
    assert len(eplb.messages("warning")) <= time.monotonic() - start + 1, "more than one line a second"
    assert unserved(waiting) == waiting

    for client in served:  # descriptors for five come free; each of these then leaves to let others in
        client.close()
    for client in waiting:
        assert read_exactly(client, 1) == b"!"
        client.close()


@pytest.mark.quick
@pytest.mark.parametrize("limit, sessions", [(128, 32), (64, 16), (24, 1)])
def test_a_low_limit_of_open_files_is_served_with_the_sessions_that_it_allows(lab, limit, sessions):
    backend = lab.backend()
    eplb = lab.eplb([backend], nofile=limit)
    eplb.wait_for_message(f"a limit of {limit} open files is low: {sessions} session")
    pairs = [lab.joined_pair(eplb, backend) for _ in range(sessions)]
    waiting = lab.client(eplb)
    eplb.wait_until_settled()
    assert unserved([waiting]) == [waiting]
    for sock in pairs[0]:
        sock.close()
    lab.keep(backend.accept()).sendall(b"!")
    assert read_exactly(waiting, 1) == b"!"


def test_when_the_limit_is_raised_waiting_clients_are_served(lab):
    eplb = lab.eplb([lab.greeter("!")], starving=True)
    eplb.leave_descriptors(0)
    waiting = [lab.client(eplb) for _ in range(5)]
    eplb.wait_for_message("(?i)too many open files")
    eplb.limit_descriptors(1000)
    for client in waiting:
        assert read_exactly(client, 1) == b"!"


def test_a_client_whose_backend_has_no_descriptor_left_waits_too(lab):
    eplb = lab.eplb([lab.greeter("!")], "--connect-timeout", "5m", starving=True)
    eplb.leave_descriptors(1)  # enough to accept, not enough to dial
    waiting = [lab.client(eplb) for _ in range(3)]
    eplb.wait_for_message("(?i)too many open files")
    eplb.check_no_spin()
    assert unserved(waiting) == waiting
    eplb.limit_descriptors(1000)
    for client in waiting:
        assert read_exactly(client, 1) == b"!"


def test_descriptors_that_idle_pipes_hold_are_given_to_clients(lab):
    backend = lab.backend()
    eplb = lab.eplb([backend], relay="splice", starving=True)
    lab.transfer(eplb, backend, up=pattern(1 << 20), down=pattern(1 << 20))
    assert eplb.pipes(), "no pipe was kept"
    while set(range(max(eplb.pipes()))) - set(eplb.descriptors()):
        lab.pair(eplb, backend)  # only the pipes' own numbers shall be left to get
    eplb.leave_descriptors(0)
    client, server = lab.pair(eplb, backend)
    client.sendall(b"in")
    assert read_exactly(server, 2) == b"in"


def test_with_few_descriptors_the_sessions_that_fit_all_move_bulk_and_none_breaks(lab, narrow):
    backend = lab.backend()
    eplb = lab.eplb([backend], relay="splice", nofile=256, namespace=narrow)
    limit = int(re.search(r"(\d+) connections", eplb.wait_for_message(r"limits?: .*256"))[1])
    assert 40 <= limit < 128
    pairs = [lab.pair(eplb, backend) for _ in range(limit)]
    waiting = [lab.client(eplb) for _ in range(3)]
    data = pattern(6 << 20)
    senders = [Peer(client, data, expect=b"") for client, _ in pairs]
    receivers = [Peer(server, expect=data, reading=False) for _, server in pairs]
    drive_until_stalled(senders, eplb)
    assert active_sessions(eplb) == limit
    assert not any(sender.all_sent for sender in senders)
    for receiver in receivers:
        receiver.reading = True
    drive(senders + receivers)
    assert all(peer.complete for peer in senders + receivers)
    for client in waiting:
        server = lab.keep(backend.accept())
        server.sendall(b"!")
    for client in waiting:
        assert read_exactly(client, 1) == b"!"
    assert not eplb.messages("warning")


def test_too_few_descriptors_at_the_start_are_an_error_that_says_how_many_it_takes(lab):
    done = run_eplb("-l", lab.reserve(), "-b", lab.reserve(), prefix=["prlimit", "--nofile=16:16"])
    assert done.returncode == 1
    assert re.search(r"^eplb: .*16 .*(ulimit -n|RLIMIT_NOFILE)", done.stderr), done.stderr


def test_more_connections_than_descriptors_are_an_error(lab):
    arguments = ["-l", lab.reserve(), "-b", lab.reserve(), "--max-connections", "5000"]
    done = run_eplb(*arguments, prefix=["prlimit", "--nofile=1024:1024"])
    assert done.returncode == 1
    assert re.search(r"^eplb: .*5000 connections.*1024.*ulimit -n", done.stderr), done.stderr


def test_memory_does_not_grow_with_the_limit_of_descriptors(lab):
    """Containers often have a limit of a million, or none."""
    small = lab.eplb([lab.reserve()], nofile=512)
    large = lab.eplb([lab.reserve()], nofile=20_000)
    assert large.memory("VmRSS") - small.memory("VmRSS") < 4 << 20


# --- connections ------------------------------------------------------------------------------------------


@pytest.mark.quick
def test_no_more_than_max_connections_at_a_time_and_the_others_come_later(lab):
    eplb = lab.eplb([lab.greeter("!")], "--max-connections", "10")
    clients = [lab.client(eplb) for _ in range(30)]
    for client in clients[:10]:
        assert read_exactly(client, 1) == b"!"
    eplb.check_no_spin()
    assert active_sessions(eplb) == 10
    assert len(unserved(clients[10:])) == 20
    for leaving, coming in zip(clients[:20], clients[10:]):
        leaving.close()
        assert read_exactly(coming, 1) == b"!"
        assert active_sessions(eplb) <= 10


def test_two_listeners_share_the_limit_and_neither_starves_the_other(lab):
    backend = lab.backend()
    eplb = lab.eplb([backend], "--max-connections", "10", listen=[lab.reserve(), lab.reserve()])
    clients = [lab.client(eplb, listener=number % 2) for number in range(60)]
    for number, client in enumerate(clients):
        client.sendall(bytes([number]))

    def accept():
        server = lab.keep(backend.accept())
        return server, read_exactly(server, 1)[0]

    served = [accept() for _ in range(10)]
    eplb.check_no_spin()
    assert active_sessions(eplb) == 10
    assert not backend.pending()
    order = []
    for _ in range(50):
        server, number = served.pop(0)
        server.close()
        clients[number].close()
        served.append(accept())
        order.append(served[-1][1] % 2)
        assert active_sessions(eplb) <= 10
    assert 5 <= sum(order[:20]) <= 15, f"listeners of those admitted: {order}"


def test_a_storm_of_short_and_broken_connections_against_a_low_limit_loses_count_of_none(lab):
    eplb = lab.eplb([lab.greeter("!"), lab.reserve()], "--max-connections", "7")
    for number in range(1500):
        client = eplb.connect()
        if number % 3 == 0:
            reset(client)
            continue
        if number % 3 == 1:
            client.sendall(b"some bytes that nobody may ever read")
        client.close()
    wait_until(lambda: len(eplb.sessions()) == 1500, "all sessions are over")
    client = lab.client(eplb)
    assert read_exactly(client, 1) == b"!"


# --- accept(2) and interrupted calls ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    "ECONNABORTED EPROTO EPERM ENOBUFS ENOMEM EMFILE ENFILE EINTR ENETDOWN EHOSTUNREACH EOPNOTSUPP ETIMEDOUT".split(),
)
def test_no_error_of_accept_stops_a_listener(lab, error):
    eplb = lab.eplb([lab.greeter("!")])
    with eplb.inject(f"accept4:error={error}:when=1..3") as trace:
        clients = [lab.client(eplb) for _ in range(5)]
        for client in clients:
            assert read_exactly(client, 1) == b"!"
        assert trace.injected("accept4") == 3


@every_way()
def test_interrupted_system_calls_are_made_again(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    calls = ["epoll_wait", "accept4", "recvfrom", "sendto", "splice", "read"]
    with eplb.inject(*(f"{call}:error=EINTR:when=2+3" for call in calls)) as trace:
        for size in (100, 100_000, 2_000_000):
            lab.transfer(eplb, backend, up=pattern(size, "up"), down=pattern(size, "down"))
        assert trace.injected("epoll_wait") > 1
        assert trace.injected("splice") + trace.injected("recvfrom") > 1
        assert trace.injected("splice") + trace.injected("sendto") > 1


# --- pipes and splice(2) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("relay", ["auto", "splice", "copy"])
def test_six_hundred_stalled_bulk_sessions_of_an_ordinary_user_all_finish_right(lab, narrow, relay):
    """Beyond fs.pipe-user-pages-soft, the kernel gives that user pipes of two slots only (pipe(7))."""
    block = pattern(3 << 20)
    backend = lab.backend(rcvbuf=4096)
    eplb = lab.eplb([backend], relay=relay, user="nobody", namespace=narrow)
    pairs = [lab.pair(eplb, backend, sndbuf=4096) for _ in range(600)]
    data = [memoryview(block)[key * 1009 :][:1_000_000] for key in range(600)]
    senders = [Peer(client, bytes_, expect=b"") for (client, _), bytes_ in zip(pairs, data)]
    receivers = [Peer(server, expect=bytes_, reading=False) for (_, server), bytes_ in zip(pairs, data)]
    drive_until_stalled(senders, eplb)
    assert not any(sender.all_sent for sender in senders), "the buffers took everything: nothing is stalled"
    eplb.check_no_spin_while_stalled()
    if relay == "splice":  # at least: some are stuck with nothing in their pipe
        assert len(eplb.pipes()) > 2 * 300, "not more than the kernel's quota for pipes of 256 KiB"
    for receiver in receivers:
        receiver.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # or it takes half a minute
        receiver.reading = True
    drive(senders + receivers)
    assert all(peer.complete for peer in senders + receivers)


@pytest.mark.parametrize("relay", ["auto", "splice"])
@pytest.mark.parametrize("rule", ["fcntl:error=EPERM:when=1+2", "pipe2:error=EMFILE", "pipe2:error=ENFILE:when=1+2"])
def test_pipes_that_are_small_or_not_to_be_had_slow_sessions_but_break_none(lab, relay, rule):
    # Of the calls of fcntl(2) every other one is F_SETPIPE_SZ; F_GETPIPE_SZ follows where that is refused.
    backend = lab.backend(rcvbuf=16384)
    eplb = lab.eplb([backend], relay=relay, starving=True)
    with eplb.inject(rule) as trace:
        pairs = [lab.pair(eplb, backend, rcvbuf=16384) for _ in range(10)]
        peers = []
        for key, (client, server) in enumerate(pairs):
            up, down = pattern(2_000_000, (key, "up")), pattern(2_000_000, (key, "down"))
            peers += [Peer(client, up, expect=down), Peer(server, down, expect=up)]
        drive(peers)
        assert all(peer.complete for peer in peers)
        assert trace.injected() >= 1
    for _ in range(10):
        eplb.next_session()
    lab.transfer(eplb, backend, up=pattern(2_000_000), down=b"")


def splice_warnings(eplb):
    return [text for text in eplb.messages("warning") if "splice" in text]


@every_way()
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "EINVAL"])
def test_where_splice_is_refused_bytes_are_copied_and_the_log_says_so_once(lab, way, error):
    backend = lab.backend()
    eplb = lab.eplb([backend], **way)
    with eplb.inject(f"splice:error={error}") as trace:
        for _ in range(3):
            lab.transfer(eplb, backend, up=pattern(3_000_000, "up"), down=pattern(3_000_000, "down"))
        assert bool(trace.injected("splice")) == (way["relay"] != "copy")
    assert len(splice_warnings(eplb)) == (way["relay"] != "copy")


@pytest.mark.parametrize("relay", ["auto", "splice"])
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "EINVAL"])
@pytest.mark.parametrize("nth", [1, 2, 3, 6])
def test_a_splice_refused_in_mid_stream_loses_nothing(lab, relay, error, nth):
    """Even with bytes in the pipe, which must then be fetched from it."""
    backend = lab.backend(rcvbuf=16384)
    eplb = lab.eplb([backend], relay=relay)
    client, server = lab.pair(eplb, backend, rcvbuf=16384)
    up, down = pattern(8_000_000, "up"), pattern(8_000_000, "down")
    peers = [Peer(client, up, expect=down), Peer(server, down, expect=up)]
    drive(peers, until=lambda: peers[1].received > 1_000_000)
    with eplb.inject(f"splice:error={error}:when={nth}+") as trace:
        drive(peers)
        assert trace.injected("splice") >= 1
    assert all(peer.complete for peer in peers)
    eplb.next_session()
    assert len(splice_warnings(eplb)) == 1
    lab.transfer(eplb, backend, up=pattern(2_000_000), down=b"")


@pytest.mark.parametrize("error", ["ENOMEM", "ENOBUFS"])
def test_a_splice_without_memory_is_made_good_by_a_copy(lab, error):
    backend = lab.backend()
    eplb = lab.eplb([backend], relay="splice")
    with eplb.inject(f"splice:error={error}:when=1+3") as trace:
        lab.transfer(eplb, backend, up=pattern(3_000_000, "up"), down=pattern(3_000_000, "down"))
        assert trace.injected("splice") >= 1
