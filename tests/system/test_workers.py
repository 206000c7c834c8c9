"""Several reactors on several threads, seen from outside."""

import collections
import os
import pathlib
import signal
import threading
import time

import pytest

from harness import Peer, dial, drive, pattern, read_exactly, wait_until

WORKERS = 3


@pytest.fixture(params=["auto", "splice", "copy"])
def way(request):
    return {"relay": request.param}


def thread_names(pid):
    return sorted(path.read_text().strip() for path in pathlib.Path(f"/proc/{pid}/task").glob("*/comm"))


@pytest.mark.quick
def test_connections_are_spread_within_ten_percent_and_backends_evenly(lab):
    backends = [lab.greeter("a"), lab.greeter("b")]
    eplb = lab.eplb(backends, "--workers", str(WORKERS))
    count = 1200
    clients = [lab.client(eplb) for _ in range(count)]
    names = collections.Counter(read_exactly(client, 1) for client in clients)
    assert all(abs(names[name] - count / 2) <= WORKERS for name in (b"a", b"b")), names
    spread = eplb.sessions_by_worker()
    assert len(spread) == WORKERS
    assert all(abs(share - count / WORKERS) <= count / WORKERS / 10 for share in spread), spread


@pytest.mark.quick
def test_listeners_go_from_service_to_service_and_no_client_notices(lab):
    """What one worker accepts may be for another, which has to know for which service."""
    a, b = lab.greeter("a"), lab.greeter("b")
    listen = [lab.reserve() for _ in range(3)]

    def service(name, listeners, backend):
        listeners = ", ".join(f'"{each}"' for each in listeners)
        head = f'[[service]]\nname = "{name}"\nlisten = [{listeners}]\n'
        return head + f'[[service.backend]]\naddress = "{backend.address}"\n'

    def text(turn):
        first, second = (listen[:2], listen[2:]) if turn % 2 else (listen[2:], listen[:2])
        # The one keeps its name, the other one is new each time.
        return "workers = 8\n" + service("kept", first, a) + service(f"turn-{turn}", second, b)

    eplb = lab.configured(text(0), listen=listen)
    stop, answers = threading.Event(), collections.Counter()

    def come_again_and_again(number):
        while not stop.is_set():
            try:
                with dial(listen[number % 3]) as client:
                    answers[client.recv(1)] += 1
            except OSError as error:
                answers[str(error)] += 1

    threads = [threading.Thread(target=come_again_and_again, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(1, 30):
            assert eplb.reload(text(turn))[-1] == "reloaded"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    eplb.clients += sum(answers.values())
    assert set(answers) == {b"a", b"b"}, answers

@pytest.mark.quick
def test_auto_is_a_worker_for_each_processor(lab):
    eplb = lab.eplb([lab.greeter("x")], "--workers", "auto")
    workers = len(os.sched_getaffinity(0))
    assert any(f"{workers} worker" in text for text in eplb.messages("info"))
    assert len(eplb.sessions_by_worker()) == workers
    assert sum(name.startswith("eplb-") for name in thread_names(eplb.pid)) == workers - 1


def test_random_data_arrives_whole_through_every_worker(lab, way):
    backend = lab.backend()
    eplb = lab.eplb([backend], "--workers", str(WORKERS), **way)
    pairs = [lab.pair(eplb, backend) for _ in range(12)]
    peers = []
    for key, (client, server) in enumerate(pairs):
        up, down = pattern(300_000 + key, (key, "up")), pattern(900_000 + key, (key, "down"))
        peers += [Peer(client, up, expect=down), Peer(server, down, expect=up)]
    # Who is connected may not have been told yet.
    wait_until(lambda: sum(eplb.sessions_by_worker()) == 12 and min(eplb.sessions_by_worker()) >= 2,
               "each worker has some")
    drive(peers)
    assert all(peer.complete for peer in peers)


def test_the_limit_of_connections_is_one_for_all_workers_and_nobody_is_forgotten(lab):
    eplb = lab.eplb([lab.greeter("x")], "--workers", str(WORKERS), "--max-connections", "4")
    waiting = [lab.client(eplb) for _ in range(40)]
    while waiting:
        served = wait_until(lambda: [client for client in waiting if has_input(client)], "a client is served")
        with eplb.stopped():
            assert sum(eplb.sessions_by_worker()) <= 4
        for client in served:
            assert read_exactly(client, 1) == b"x"
            waiting.remove(client)
            client.close()


def has_input(sock):
    sock.setblocking(False)
    try:
        return len(sock.recv(1, 2)) == 1  # MSG_PEEK
    except BlockingIOError:
        return False
    finally:
        sock.setblocking(True)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_drain_lets_the_sessions_of_all_workers_finish(lab, workers):
    eplb = lab.eplb([lab.greeter("x")], "--workers", str(workers))
    clients = [lab.client(eplb) for _ in range(20)]
    for client in clients:
        assert read_exactly(client, 1) == b"x"
    eplb.process.send_signal(signal.SIGTERM)
    eplb.wait_for_message("draining: 20 sessions left")
    for client in clients:
        client.sendall(b"still there?")
        assert read_exactly(client, 12) == b"still there?"
        client.close()
    eplb.expect_exit(0)
    assert len(eplb.sessions()) == 20


@pytest.mark.parametrize("workers", [2, 5])
def test_a_second_signal_resets_the_sessions_of_all_workers(lab, workers):
    eplb = lab.eplb([lab.greeter("x")], "--workers", str(workers))
    clients = [lab.client(eplb) for _ in range(20)]
    for client in clients:
        assert read_exactly(client, 1) == b"x"
    eplb.process.send_signal(signal.SIGINT)
    eplb.wait_for_message("draining")
    eplb.process.send_signal(signal.SIGINT)
    eplb.expect_exit(0)
    for client in clients:
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_shortage_is_told_once_a_second_by_all_workers_together(lab):
    eplb = lab.eplb([lab.greeter("x")], "--workers", str(WORKERS), starving=True)
    eplb.leave_descriptors(0)
    begin = time.monotonic()
    clients = [lab.client(eplb) for _ in range(30)]
    eplb.wait_for_message("clients have to wait")
    told = [text for text in eplb.messages("warning") if "clients have to wait" in text]
    assert len(told) <= max(2, 1 + time.monotonic() - begin), told
    eplb.limit_descriptors(1000)
    for client in clients:
        assert read_exactly(client, 1) == b"x"


def test_busy_polling_works_and_ends_when_it_is_told(lab):
    eplb = lab.eplb([lab.greeter("x")], "--workers", "2", "--busy-poll", "2ms")
    client = lab.client(eplb)
    assert read_exactly(client, 1) == b"x"
    for _ in range(100):
        client.sendall(b"ping")
        assert read_exactly(client, 4) == b"ping"
