"""Each example does what it says at its top. In whatever way it was built: conftest.py."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import ssl

import pytest

from harness import (
    Namespace,
    Peer,
    drive,
    drive_until_stalled,
    ends_with_reset,
    pattern,
    read_exactly,
    read_to_end,
    reset,
)

SOURCES = pathlib.Path(__file__).parents[2] / "examples"
ANYWHERE = "127.0.0.1:0"
# Arguments with which each starts; and whatever is missing there is an error.
ARGUMENTS = {
    "custom_balancer": [ANYWHERE, "127.0.0.1:9"],
    "echo_server": [ANYWHERE],
    "embedded_proxy": [ANYWHERE, "127.0.0.1:9"],
    "nested_in_host_loop": [ANYWHERE, "127.0.0.1:9"],
    "port_forward": [ANYWHERE, "127.0.0.1:9"],
    "sni_router": [ANYWHERE, "db.example.net=127.0.0.1:9"],
}
with_arguments = pytest.mark.parametrize("name", ARGUMENTS)


def fails(program):
    """What it says about that."""
    assert program.exit_code() == 1
    assert program.lines == []
    [message] = program.errors
    return message


# --- all of them


@pytest.mark.parametrize("source", sorted(SOURCES.glob("*.cpp")), ids=lambda source: source.stem)
def test_an_example_is_short_and_needs_nothing_but_eplb_and_the_system(source):
    lines = source.read_text().splitlines()
    assert len(lines) < 80
    includes = [line.split(maxsplit=1)[1] for line in lines if line.startswith("#include")]
    assert any(include.startswith('"eplb/') for include in includes)
    for include in includes:
        assert re.fullmatch(r'"eplb/\w+\.hpp"|<\w+>|<poll\.h>', include), include


@pytest.mark.parametrize("name", sorted(source.stem for source in SOURCES.glob("*.cpp")))
def test_an_example_is_built(examples, name):
    assert os.access(examples / name, os.X_OK)


@with_arguments
@pytest.mark.smoke
def test_without_arguments_it_says_how_it_is_used(start, name):
    assert fails(start(name)).startswith(f"{name}: usage: {name} ")


@with_arguments
def test_with_too_few_arguments_it_says_how_it_is_used(start, name):
    assert fails(start(name, *ARGUMENTS[name][:-1])).startswith(f"{name}: usage: {name} ")


@pytest.mark.parametrize("name, count", [("echo_server", 2), ("port_forward", 3), ("nested_in_host_loop", 4)])
def test_with_too_many_arguments_it_says_how_it_is_used(start, name, count):
    assert fails(start(name, *[ANYWHERE] * count)).startswith(f"{name}: usage: {name} ")


@with_arguments
def test_an_address_that_is_none_is_named(start, name):
    for place in range(len(ARGUMENTS[name])):
        arguments = list(ARGUMENTS[name])
        arguments[place] = "nowhere"
        assert "nowhere" in fails(start(name, *arguments))


@with_arguments
def test_an_address_that_is_taken_is_named(start, backend, name):
    taken = backend().address
    message = fails(start(name, taken, *ARGUMENTS[name][1:]))
    assert message.startswith(f"{name}: cannot listen on {taken} (")
    assert message.endswith(": Address already in use")


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("name", [*sorted(ARGUMENTS.keys() - {"nested_in_host_loop"}), "demo"])
def test_a_signal_ends_it_well_though_a_client_is_there(start, dial, backend, name, signal_number):
    there = backend()
    arguments = [each if each == ANYWHERE else re.sub(r"127.*", there.address, each) for each in ARGUMENTS.get(name, [])]
    program = start(name, *arguments)
    client = dial(program.address())
    if name == "echo_server":
        client.sendall(b"!")
        read_exactly(client, 1)
    elif name == "demo":
        client.recv(1)
    else:
        if name == "sni_router":
            client.sendall(client_hello("db.example.net"))
        there.accept()  # so it has connected the two
    assert program.stop(signal_number) == 0
    assert program.errors == []


# --- echo_server


def echoes(client, data):
    client.sendall(data)
    return read_exactly(client, len(data)) == data


@pytest.mark.smoke
def test_echo_gives_back_what_it_is_sent(start, dial):
    client = dial(start("echo_server", ANYWHERE).address())
    assert echoes(client, b"hello\n")
    assert echoes(client, b"once more\n")


def test_echo_listens_on_unix_sockets_too(start, dial, tmp_path):
    path = f"unix:{tmp_path}/echo"
    program = start("echo_server", path)
    assert program.address() == path
    assert echoes(dial(path), b"hello\n")


def test_echo_serves_many_at_once(start, dial):
    address = start("echo_server", ANYWHERE).address()
    data = [pattern(20_000, key) for key in range(300)]
    peers = [Peer(dial(address), send=each, expect=each) for each in data]
    drive(peers)
    assert all(peer.complete for peer in peers)


def test_echo_waits_for_a_reader_that_does_not_read(start, dial):
    """Until then neither end holds more than the kernel's buffers: the rest comes when it is read, and in order."""
    address = start("echo_server", ANYWHERE).address()
    slow = Peer(dial(address, rcvbuf=4096, sndbuf=4096), send=pattern(32 << 20), reading=False, read_size=4096)
    drive_until_stalled([slow])
    assert slow.sent < len(slow.outgoing), "the reader was waited for"
    assert echoes(dial(address), b"others are served meanwhile")

    slow.outgoing = slow.expect = slow.outgoing[: max(slow.sent, 1 << 20)]
    slow.reading = True
    drive([slow])
    assert slow.complete


def test_echo_gives_the_rest_to_a_client_that_has_finished(start, dial):
    client = dial(start("echo_server", ANYWHERE).address())
    client.sendall(b"the last words")
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b"the last words"


def test_echo_outlives_a_client_that_resets(start, dial):
    address = start("echo_server", ANYWHERE).address()
    for _ in range(3):
        client = dial(address)
        assert echoes(client, b"!")
        client.sendall(b"?")
        reset(client)
    assert echoes(dial(address), b"hello")


# --- sni_router


def client_hello(name):
    """What a TLS client says first to a server that it takes for `name`."""
    said, context = ssl.MemoryBIO(), ssl.create_default_context()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), said, server_hostname=name).do_handshake()
    return said.read()


@pytest.fixture
def routes(start, backend):
    """(address, two backends): a.example and b.example."""
    a, b = backend(), backend()
    program = start("sni_router", ANYWHERE, f"a.example={a.address}", f"b.example={b.address}")
    return program.address(), a, b


@pytest.mark.smoke
def test_a_tls_client_comes_to_the_server_that_it_names(routes, dial):
    address, *servers = routes
    for name, there in zip(("A.example", "b.example"), servers):
        hello = client_hello(name)
        client = dial(address)
        client.sendall(hello)
        with there.accept() as server:
            assert read_exactly(server, len(hello)) == hello
            server.sendall(b"an answer")
            assert read_exactly(client, 9) == b"an answer"
            client.close()
            assert read_to_end(server) == b""


def test_a_hello_in_pieces_is_waited_for(routes, dial):
    address, a, _ = routes
    hello = client_hello("a.example")
    client = dial(address)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in hello:
        client.sendall(bytes([byte]))
    with a.accept() as server:
        assert read_exactly(server, len(hello)) == hello


@pytest.mark.parametrize("said", [client_hello("c.example"), b"GET / HTTP/1.1\r\n\r\n"], ids=["another name", "no TLS"])
def test_who_has_no_server_is_reset_and_others_are_served(routes, dial, said):
    address, a, _ = routes
    client = dial(address)
    client.sendall(said)
    assert ends_with_reset(client)
    client = dial(address)
    client.sendall(client_hello("a.example"))
    a.accept().close()


def test_half_a_hello_and_no_more_is_reset_at_once(routes, dial):
    client = dial(routes[0])
    client.sendall(client_hello("a.example")[:100])
    client.shutdown(socket.SHUT_WR)
    assert ends_with_reset(client)


# --- port_forward


@pytest.fixture
def forwarded(start, dial, backend):
    """(program, client, server)"""
    there = backend()
    program = start("port_forward", ANYWHERE, there.address)
    client = dial(program.address())
    with there.accept() as server:
        yield program, client, server


@pytest.mark.smoke
def test_forward_moves_a_megabyte_each_way(forwarded):
    program, client, server = forwarded
    up, down = pattern(1 << 20, "up"), pattern(1 << 20, "down")
    who = "%s:%d" % client.getsockname()
    peers = [Peer(client, send=up, expect=down), Peer(server, send=down, expect=up)]
    drive(peers)
    assert all(peer.complete for peer in peers)
    program.expect(rf"{re.escape(who)}: {len(up)} up, {len(down)} down, (client|server)_fin")


def test_forward_goes_on_the_one_way_when_the_other_is_finished(forwarded):
    program, client, server = forwarded
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b"question"
    server.sendall(b"answer")
    assert read_exactly(client, 6) == b"answer"
    server.sendall(b", and more")
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b", and more"
    program.expect(r".*: 8 up, 16 down, client_fin")


def test_forward_lets_the_server_finish_first(forwarded):
    program, client, server = forwarded
    server.sendall(b"goodbye")
    server.shutdown(socket.SHUT_WR)
    assert read_to_end(client) == b"goodbye"
    client.sendall(b"and to you")
    client.shutdown(socket.SHUT_WR)
    assert read_to_end(server) == b"and to you"
    program.expect(r".*: 10 up, 7 down, server_fin")


def test_forward_hands_a_reset_on(forwarded):
    program, client, server = forwarded
    client.sendall(b"!")
    assert read_exactly(server, 1) == b"!"
    reset(client)
    assert ends_with_reset(server)
    program.expect(r".*: 1 up, 0 down, client_rst")


def test_forward_says_that_nobody_is_there_and_goes_on(start, dial, backend):
    there = backend()
    port = int(there.address.rpartition(":")[2])
    program = start("port_forward", ANYWHERE, there.address)
    here = program.address()
    there.close()
    for _ in range(2):
        client = dial(here)
        who = "%s:%d" % client.getsockname()
        assert client.recv(1) == b""
        program.expect(re.escape(who) + ": Connection refused")

    with socket.create_server(("127.0.0.1", port)) as back:
        back.settimeout(client.gettimeout())
        client = dial(here)
        with back.accept()[0] as server:
            server.sendall(b"back")
            assert read_exactly(client, 4) == b"back"


# --- custom_balancer


def greeting(address, dial, names=("aaa", "bbb", "ccc")):
    """Which of the greeters answers."""
    client = dial(address)
    name = read_exactly(client, 3).decode()
    assert name in names
    client.close()
    return name


@pytest.mark.smoke
def test_a_client_of_this_machine_gets_the_first_backend(start, dial, greeter):
    servers = [greeter("aaa"), greeter("bbb"), greeter("ccc")]
    program = start("custom_balancer", ANYWHERE, *(server.address for server in servers))
    address = program.address()
    for _ in range(4):
        assert greeting(address, dial) == "aaa"
        program.expect(rf"127\.0\.0\.1:\d+ gets {servers[0].address}")


def test_the_others_share_when_the_first_one_is_gone(start, dial, greeter):
    servers = [greeter("aaa"), greeter("bbb"), greeter("ccc")]
    address = start("custom_balancer", ANYWHERE, *(server.address for server in servers)).address()
    servers[0].close()
    answers = [greeting(address, dial) for _ in range(6)]
    assert "aaa" not in answers and {"bbb", "ccc"} <= set(answers)


@pytest.mark.skipif(os.geteuid() != 0, reason="a client of another address takes root")
def test_clients_from_elsewhere_get_the_others(start, dial, greeter, at_end):
    network = at_end(Namespace())
    network.run("ip", "address", "add", "10.9.8.7/32", "dev", "lo")
    with network.entered():
        servers = [greeter("aaa"), greeter("bbb"), greeter("ccc")]
        program = start(
            "custom_balancer", "0.0.0.0:0", *(server.address for server in servers), prefix=network.prefix()
        )
        port = program.address().rpartition(":")[2]
        answers = [greeting(f"10.9.8.7:{port}", dial) for _ in range(6)]
        assert sorted(answers) == ["bbb"] * 3 + ["ccc"] * 3
        assert greeting(f"127.0.0.1:{port}", dial) == "aaa"


# --- embedded_proxy


@pytest.mark.smoke
def test_the_third_session_brings_a_backend_which_goes_with_it(start, dial, greeter):
    servers = [greeter("aaa"), greeter("bbb")]
    program = start("embedded_proxy", ANYWHERE, *(server.address for server in servers))
    address = program.address()
    early = [dial(address) for _ in range(3)]
    assert [read_exactly(client, 3) for client in early] == [b"aaa"] * 3
    program.expect("backends: 2")
    late = [dial(address) for _ in range(2)]
    assert {read_exactly(client, 3) for client in late} == {b"aaa", b"bbb"}

    for client in early:
        client.close()
    program.expect("backends: 1")
    # One of the two is on the backend that is not there any more, and goes on.
    assert all(echoes(client, b"still here") for client in late)
    assert greeting(address, dial) == "aaa"


def test_there_are_no_more_backends_than_were_given(start, dial, greeter):
    servers = [greeter("aaa"), greeter("bbb")]
    program = start("embedded_proxy", ANYWHERE, *(server.address for server in servers))
    address = program.address()
    clients = [dial(address) for _ in range(9)]
    program.expect("backends: 2")
    assert all(read_exactly(client, 3) in (b"aaa", b"bbb") for client in clients)
    for client in clients:
        client.close()
    program.expect("backends: 1")
    assert [line for line in program.lines if line.startswith("backends")] == ["backends: 2", "backends: 1"]


# --- nested_in_host_loop


def test_the_host_beats_while_the_reactor_forwards(start, dial, backend):
    there = backend()
    program = start("nested_in_host_loop", ANYWHERE, there.address, 100_000)
    client = dial(program.address())
    with there.accept() as server:
        before = int(program.expect(r"beat (\d+)")[1])
        down = pattern(1 << 20)
        peers = [Peer(client, expect=down, send=b"?"), Peer(server, send=down, expect=b"?")]
        drive(peers)
        assert all(peer.complete for peer in peers)
        program.expect(rf"session: {len(down)} bytes down")
        assert int(program.expect(r"beat (\d+)")[1]) < before


@pytest.mark.smoke
def test_the_host_ends_when_it_has_beaten_so_often(start):
    program = start("nested_in_host_loop", ANYWHERE, "127.0.0.1:9", 3)
    assert program.exit_code() == 0
    assert [line for line in program.lines if line.startswith("beat")] == ["beat 2", "beat 1", "beat 0"]
    assert program.errors == []


def test_a_session_ends_with_its_host(start, dial, greeter):
    there = greeter("aaa").address
    for beats in (5, 50, 500):  # more for a machine on which the client came too late
        program = start("nested_in_host_loop", ANYWHERE, there, beats)
        with contextlib.suppress(ConnectionError):
            client = dial(program.address())
            read_exactly(client, 3)
            break
    assert ends_with_reset(client)
    assert program.exit_code() == 0
    assert "session: 3 bytes down" in program.lines


def test_beats_that_are_no_number_are_an_error(start):
    program = start("nested_in_host_loop", ANYWHERE, "127.0.0.1:9", "many")
    assert program.exit_code() == 1
    [message] = program.errors
    assert message.startswith("nested_in_host_loop: ")


# --- timers


@pytest.mark.smoke
def test_timers_are_never_early_and_the_watchdog_barks_last(start):
    program = start("timers")
    assert program.exit_code() == 0
    *ticks, bark = program.lines
    times = [int(re.fullmatch(r"tick at (\d+) ms", line)[1]) for line in ticks]
    assert len(times) == 3 and times == sorted(times)
    assert all(time >= due for time, due in zip(times, (20, 40, 60)))
    assert bark == "nothing for 50 ms"
    assert program.errors == []


# --- demo


@pytest.mark.smoke
def test_demo_greets_by_name_and_then_echoes(start, dial):
    program = start("demo")
    for name in ("alpha", "beta"):
        address = program.expect(rf"{name} (127\.0\.0\.1:\d+)")[1]
        client = dial(address)
        hello = f"hello from {name}\n".encode()
        assert read_exactly(client, len(hello)) == hello
        assert echoes(client, pattern(100_000, name))
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b""


def test_demo_outlives_a_client_that_resets(start, dial):
    program = start("demo")
    address = program.expect(r"alpha (.*)")[1]
    client = dial(address)
    client.recv(1)
    reset(client)
    assert dial(address).recv(1) == b"h"
