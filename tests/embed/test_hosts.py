"""A reactor inside of other people's loops: hosts/. `beat` is the host's own timer, `tick` the reactor's."""

import pathlib
import signal

import pytest

from harness import GUARD, read_exactly, read_to_end, reset, wait_until

HOSTS = ["asio", "epoll", "glib", "libuv"]
NEVER = 0
CROWD = 1200  # more than twice of what a turn takes


@pytest.fixture(params=HOSTS)
def host(request, prefix, run):
    return lambda beat=NEVER, tick=NEVER: run(prefix.hosts() / request.param, beat, tick)


@pytest.fixture
def quit_(dial):
    """A client says it; returns the program's exit code."""

    def say(program, address):
        client = dial(address)
        client.sendall(b"quit")
        return program.exit_code()

    return say


def echoes(client, data):
    client.sendall(data)
    return read_exactly(client, len(data)) == data


def stopped(program, action):
    """Does it while the program stands still, so that all that came of it is there at once when it goes on."""
    program.process.send_signal(signal.SIGSTOP)
    stat = pathlib.Path(f"/proc/{program.process.pid}/stat")
    try:
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the program stands still")
        return action()
    finally:
        program.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("host_source", HOSTS)
def test_the_nesting_is_short_enough_to_be_shown(host_source):
    text = (pathlib.Path(__file__).parent / "hosts" / f"{host_source}_host.cpp").read_text()
    nesting = text[text.index("class NestedReactor") : text.index("// --- the program")]
    assert len(nesting.strip().splitlines()) <= 40


def test_it_serves_until_it_is_told_to_quit(host, dial, quit_):
    program = host()
    address = program.address()
    client = dial(address)
    assert echoes(client, b"hello")
    assert echoes(client, b"hello again")
    assert quit_(program, address) == 0
    assert read_to_end(client) == b""
    assert program.errors == []


def test_many_clients_that_come_at_once_are_served_while_no_timer_helps(host, dial, quit_):
    """They are accepted over many turns, and the listener has an event in the first one only."""
    program = host()
    address = program.address()
    clients = stopped(program, lambda: [dial(address) for _ in range(CROWD)])
    for number, client in enumerate(clients):
        client.sendall(b"%d" % number)
    for number, client in enumerate(clients):
        assert read_exactly(client, len(str(number))) == b"%d" % number
    assert quit_(program, address) == 0


def test_a_task_that_has_more_to_do_gets_its_turns_though_nothing_else_happens(host, dial):
    client = dial(host().address())
    for _ in range(3):
        client.sendall(b"later")
        assert read_exactly(client, 3) == b"now"


def test_more_events_at_once_than_a_turn_takes_are_all_seen(host, dial, quit_):
    program = host()
    address = program.address()
    clients = [dial(address) for _ in range(CROWD)]
    assert all(echoes(client, b"!") for client in clients)
    stopped(program, lambda: [client.sendall(b"%d" % number) for number, client in enumerate(clients)])
    for number, client in enumerate(clients):
        assert read_exactly(client, len(str(number))) == b"%d" % number
    assert quit_(program, address) == 0


def test_clients_that_reset_all_at_once_leave_nothing_behind(host, dial, quit_):
    program = host()
    address = program.address()
    descriptors = lambda: len(list(pathlib.Path(f"/proc/{program.process.pid}/fd").iterdir()))
    before = descriptors()
    clients = [dial(address) for _ in range(CROWD)]
    assert all(echoes(client, b"!") for client in clients)
    stopped(program, lambda: [reset(client) for client in clients])
    wait_until(lambda: descriptors() == before, "their sockets are closed")
    assert quit_(program, address) == 0


def test_timers_of_the_reactor_fire_though_nothing_else_happens(host):
    program = host(tick=20)
    program.address()
    for _ in range(5):
        program.expect("tick")
    assert "beat" not in program.lines


def test_both_have_their_timers(host, dial, quit_):
    program = host(beat=15, tick=20)
    address = program.address()
    client = dial(address)
    for _ in range(4):
        program.expect("beat")
        program.expect("tick")
        assert echoes(client, b"hello")
    assert quit_(program, address) == 0


def test_the_host_goes_on_in_a_crowd(host, dial):
    program = host(beat=5)
    address = program.address()
    clients = stopped(program, lambda: [dial(address) for _ in range(CROWD)])
    for _ in range(3):
        assert all(echoes(client, b"hello") for client in clients)
        program.expect("beat")


def test_a_call_from_another_thread_wakes_the_host(host):
    program = host()
    program.address()
    for _ in range(20):
        program.process.send_signal(signal.SIGUSR1)
        program.expect("posted")


@pytest.mark.parametrize("tick", [NEVER, 20])  # with timers a host that is deaf to events goes on, too
@pytest.mark.parametrize("host", ["asio", "epoll"], indirect=True)  # the others are C, and end
def test_an_exception_of_a_task_comes_out_of_the_loop_which_can_go_on(host, tick, dial, quit_):
    program = host(tick=tick)
    address = program.address()
    client = dial(address)
    for _ in range(3):
        client.sendall(b"throw")
        program.expect("caught: out of a task")
        assert echoes(client, b"hello")
        assert echoes(dial(address), b"hello")
        program.process.send_signal(signal.SIGUSR1)
        program.expect("posted")
        if tick:
            program.expect("tick")
    assert quit_(program, address) == 0


@pytest.mark.parametrize("host", ["glib", "libuv"], indirect=True)
def test_an_exception_of_a_task_ends_a_program_whose_loop_is_c(host, dial):
    program = host()
    dial(program.address()).sendall(b"throw")
    assert program.process.wait(GUARD) == -signal.SIGABRT


def test_it_does_not_turn_without_need(host, dial, quit_):
    """A few turns for whatever happens. A wait that is not rounded up, or for what is there already, has hundreds."""
    program = host(beat=30, tick=20)
    address = program.address()
    client = dial(address)
    for _ in range(15):
        program.expect("tick")
        assert echoes(client, b"hello")
    assert quit_(program, address) == 0
    happened = sum(program.lines.count(line) for line in ("tick", "beat")) + 15 + 2
    looks = int(program.lines[-1].removesuffix(" looks at the clock"))
    assert looks <= 30 * happened
