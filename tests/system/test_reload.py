"""The configuration changes while it runs, and nobody notices who should not."""

import contextlib
import os
import re
import select
import signal
import subprocess
import time

import pytest

from harness import (
    GUARD,
    command_line,
    dial,
    ends_with_reset,
    read_exactly,
    read_to_end,
    run_eplb,
    wait_for_reset,
    wait_until,
)


def service(listen, backends, extra="", name="db"):
    """The text of a service; `backends`: addresses, or pairs of one and what else is said of it."""
    text = f'[[service]]\nname = "{name}"\nlisten = {list(listen)}\n{extra}\n'.replace("'", '"')
    for backend in backends:
        address, more = backend if isinstance(backend, tuple) else (backend, "")
        text += f'[[service.backend]]\naddress = "{getattr(address, "address", address)}"\n{more}\n'
    return text


def own_sockets(eplb):
    """Those that stay when the last session is gone."""
    return [name for name, state in eplb.socket_states().items() if state in ("LISTEN", "?")]


def listening_inodes(eplb):
    return {name for name, state in eplb.socket_states().items() if state == "LISTEN"}


def greeting(lab, eplb, listener=0):
    client = lab.client(eplb, listener)
    said = read_exactly(client, 1)
    client.close()
    return said.decode()


WORKERS = pytest.mark.parametrize("workers", ["1", "3"])


@pytest.mark.quick
@WORKERS
def test_new_clients_go_by_the_new_file_and_old_sessions_go_on(lab, workers):
    a, b, listen = lab.greeter("a"), lab.greeter("b"), lab.reserve()
    eplb = lab.configured(service([listen], [a], 'on_remove = "keep"'), "-w", workers, listen=[listen])
    sockets = listening_inodes(eplb)
    old = lab.client(eplb)
    assert read_exactly(old, 1) == b"a"
    told = eplb.reload(service([listen], [b], 'on_remove = "keep"'))
    assert told == [
        f"reload: = listener {listen} (socket kept)",
        f"reload: - backend {a.address} (1 session: keep)",
        f"reload: + backend {b.address} weight 1",
        "reloaded",
    ]
    assert [greeting(lab, eplb) for _ in range(4)] == ["b"] * 4
    old.sendall(b"still there")
    assert read_exactly(old, 11) == b"still there"
    assert listening_inodes(eplb) == sockets
    assert eplb.reload()[-1] == "reloaded: nothing has changed"


@pytest.mark.quick
@WORKERS
def test_who_is_only_called_otherwise_keeps_its_sessions(lab, workers):
    a, b, first, second = lab.greeter("a"), lab.greeter("b"), lab.reserve(), lab.reserve()
    unnamed = service([first], [a], 'on_remove = "close"').replace('name = "db"\n', "")
    eplb = lab.configured(unnamed, "-w", workers, listen=[first])
    client = lab.client(eplb)
    assert read_exactly(client, 1) == b"a"
    steps = [
        (
            unnamed.replace(f'["{first}"]', f'["{second}", "{first}"]'),
            [f"~ service {first} renamed {second}", f"+ listener {second}"],
        ),
        (service([second, first], [a], 'on_remove = "close"'), [f"~ service {second} renamed db"]),
        (
            service([first], [(a, 'name = "one"'), b], 'on_remove = "close"', name="mysql"),
            ["~ service db renamed mysql", f"~ service mysql: backend {a.address} renamed one", f"+ backend {b.address} weight 1"],
        ),
    ]
    for text, lines in steps:
        told = eplb.reload(text)
        assert told[-1] == "reloaded"
        assert set(lines) <= {line.removeprefix("reload: ") for line in told}
        assert not [line for line in told if line.startswith(("reload: - backend", "reload: !"))]
        client.sendall(b"still there")
        assert read_exactly(client, 11) == b"still there"
    told = eplb.reload(service([first], [b], 'on_remove = "close"', name="mysql"))
    assert told[-2:] == ["reload: ! 1 session will be reset at once", "reloaded"]
    assert ends_with_reset(client)


@WORKERS
def test_listeners_come_and_go_and_change_their_service(lab, workers):
    a, b = lab.greeter("a"), lab.greeter("b")
    listen = [lab.reserve(), lab.reserve(), f"unix:{lab.folder}/front"]
    eplb = lab.configured(service(listen[:1], [a]), "-w", workers, listen=listen)
    first = listening_inodes(eplb)
    assert eplb.reload(service(listen, [a]))[-1] == "reloaded"
    assert first < set(eplb.sockets())
    assert [greeting(lab, eplb, n) for n in range(3)] == ["a"] * 3

    told = eplb.reload(service(listen[:1], [a], name="one") + service(listen[1:], [b], name="two"))
    assert f"reload: ~ listener {listen[1]} goes to service two (socket kept)" in told
    assert [greeting(lab, eplb, n) for n in range(3)] == ["a", "b", "b"]

    assert eplb.reload(service(listen[:1], [a], name="one"))[-1] == "reloaded"
    for gone in listen[1:]:
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            dial(gone)
    assert not (lab.folder / "front").exists()
    assert listening_inodes(eplb) == first
    eplb.baseline = eplb.sockets()
    assert greeting(lab, eplb) == "a"


@pytest.mark.quick
@WORKERS
def test_a_listener_that_goes_is_told_with_the_sessions_that_it_costs(lab, workers):
    a, listen = lab.greeter("a"), [lab.reserve(), lab.reserve()]
    eplb = lab.configured(service(listen, [a], 'on_remove = "close"'), "-w", workers, listen=listen)
    stays, *go = [lab.client(eplb, listener) for listener in (0, 1, 1, 1)]
    for client in (stays, *go):
        assert read_exactly(client, 1) == b"a"
    told = eplb.reload(service(listen[:1], [a], 'on_remove = "close"'))
    assert told == [
        f"reload: - listener {listen[1]} (3 sessions: close)",
        f"reload: = listener {listen[0]} (socket kept)",
        "reload: ! 3 sessions will be reset at once",
        "reloaded",
    ]
    for client in go:
        wait_for_reset(client)
    stays.sendall(b"here")
    assert read_exactly(stays, 4) == b"here"
    eplb.baseline = own_sockets(eplb)


@pytest.mark.quick
def test_what_stays_is_counted_in_the_log_and_told_in_a_dry_run(lab):
    a, b, listen = lab.greeter("a"), lab.greeter("b"), [lab.reserve() for _ in range(3)]
    head = f'control = "unix:{lab.folder}/control"\n'
    eplb = lab.configured(head + service(listen, [a]), listen=listen)
    eplb.baseline = eplb.sockets()
    eplb.config.write_text(head + service(listen, [a, b]))
    kept = [f"= listener {address} (socket kept)" for address in listen]
    done = run_eplb("reload", "--dry-run", "-c", str(eplb.config))
    assert done.stdout.splitlines() == [*kept, f"+ backend {b.address} weight 1"]
    assert eplb.reload() == [
        "reload: = 3 listeners and backends stay as they are",
        f"reload: + backend {b.address} weight 1",
        "reloaded",
    ]


@WORKERS
@pytest.mark.parametrize("policy", ["drain", "close", "keep"])
@pytest.mark.parametrize("removed", ["backend", "listener", "service"])
def test_what_is_removed_follows_its_policy(lab, workers, policy, removed):
    a, b = lab.greeter("a"), lab.greeter("b")
    listen = [lab.reserve(), lab.reserve()]
    policies = f'on_remove = "{policy}"\ndrain_timeout = "200ms"'
    before = service([listen[0]], [b], name="stays") + service([listen[1]], [a], policies)
    if removed == "backend":
        after = service([listen[0]], [b], name="stays") + service([listen[1]], [b], policies)
    elif removed == "listener":
        after = service([listen[0]], [b], name="stays") + service([f"unix:{lab.folder}/new"], [a], policies)
    else:
        after = service([listen[0]], [b], name="stays")
    eplb = lab.configured(before, "-w", workers, listen=listen)
    clients = [lab.client(eplb, 1) for _ in range(5)]
    unconcerned = lab.client(eplb, 0)
    assert [read_exactly(client, 1) for client in [*clients, unconcerned]] == [b"a"] * 5 + [b"b"]
    assert eplb.reload(after)[-1] == "reloaded"
    if policy == "keep":
        for client in clients:
            client.sendall(b"x")
            assert read_exactly(client, 1) == b"x"
            client.close()
        ends = {"client_fin"}
    else:
        for client in clients:
            assert ends_with_reset(client)
        ends = {"removed"}
    assert {eplb.next_session()["end"] for _ in clients} == ends
    unconcerned.sendall(b"x")
    assert read_exactly(unconcerned, 1) == b"x"
    eplb.baseline = own_sockets(eplb)
    unconcerned.close()
    eplb.counting = False


def test_a_backend_that_comes_back_in_time_keeps_its_sessions_and_its_counts(lab):
    """Another one that is removed with it, and does not come back, tells when its time would have been over."""
    a, b, c = lab.greeter("a"), lab.greeter("b"), lab.greeter("c")

    def text(*backends):
        return service([listen], backends, f'drain_timeout = "{seconds}s"')

    for seconds in (1, 15):  # more where this machine stalled, so that a may have been late
        listen = lab.reserve()
        eplb = lab.configured(text(a, b, c), listen=[listen])
        clients = {read_exactly(client, 1): client for client in (lab.client(eplb) for _ in range(3))}
        removed = f"reload: - backend {a.address} (1 session: drain {seconds}s)"
        since = time.monotonic()
        assert removed in eplb.reload(text(b))
        eplb.reload(text(a, b))
        if time.monotonic() - since < seconds:
            break
    assert ends_with_reset(clients[b"c"])
    for name in (b"a", b"b"):
        clients[name].sendall(b"x")
        assert read_exactly(clients[name], 1) == b"x"
    assert removed in eplb.reload(text(b))
    eplb.reload(text(a, b))


@pytest.mark.quick
def test_a_bad_file_changes_nothing_and_a_good_one_after_it_does(lab):
    a, b, listen = lab.greeter("a"), lab.greeter("b"), lab.reserve()
    eplb = lab.configured(service([listen], [a]), listen=[listen])
    for _ in range(20):
        told = eplb.reload(service([listen], [b], "relai = 1"))
        assert f"{lab.folder}/eplb.toml:4:1: error: unknown key \"relai\"" in told[0]
        assert told[-1] == "not reloaded; the old configuration keeps serving"
        assert greeting(lab, eplb) == "a"
    assert eplb.reload(service([listen], [b]))[-1] == "reloaded"
    assert greeting(lab, eplb) == "b"
    # What cannot be opened leaves everything as it was, too: also what could have been opened.
    taken, free = lab.backend(), lab.reserve()
    told = eplb.reload(service([listen, free, taken.address], [a]))
    refusal = next(text for text in told if "Address already in use" in text)
    assert re.match(rf"reload: {eplb.config}:3:\d+: error: cannot listen on {taken.address} ", refusal)
    assert told[-1].startswith("not reloaded")
    assert greeting(lab, eplb) == "b"
    with pytest.raises(ConnectionRefusedError):
        dial(free)
    (lab.folder / "eplb.toml").unlink()
    told = eplb.reload()
    assert "No such file" in told[0] and told[-1].startswith("not reloaded")
    assert greeting(lab, eplb) == "b"


def test_a_service_is_not_left_without_backends_by_accident(lab):
    a, listen, control = lab.greeter("a"), lab.reserve(), f"unix:{lab.folder}/control"
    head = f'control = "{control}"\n'
    eplb = lab.configured(head + service([listen], [a]), listen=[listen])
    eplb.baseline = eplb.sockets()
    (lab.folder / "eplb.toml").write_text(head + service([listen], [(a, "weight = 0")]))
    told = eplb.reload()
    assert told[-1].startswith("not reloaded")
    assert greeting(lab, eplb) == "a"


def test_a_file_whose_backends_have_no_weight_starts_with_a_warning(lab):
    """As --force of a reload leaves one behind."""
    a, listen = lab.greeter("a"), lab.reserve()
    eplb = lab.configured(service([listen], [(a, "weight = 0")]), listen=[listen])
    assert any("warning: service \"db\" has no backend with a weight above 0" in line for line in list(eplb.lines))
    with contextlib.suppress(ConnectionResetError):
        assert lab.client(eplb).recv(1) == b""
    assert eplb.next_session()["end"] == "no_backend"
    assert eplb.reload(service([listen], [a]))[-1] == "reloaded"
    assert greeting(lab, eplb) == "a"
    done = run_eplb("--strict", "-t", "-c", str(eplb.config))
    assert done.returncode == 0
    eplb.config.write_text(service([listen], [(a, "weight = 0")]))
    assert run_eplb("-t", "-c", str(eplb.config)).returncode == 0
    assert run_eplb("--strict", "-t", "-c", str(eplb.config)).returncode == 2


@pytest.mark.quick
def test_services_may_be_chained_but_not_in_a_circle(lab):
    a, listen = lab.greeter("a"), [lab.reserve(), lab.reserve()]
    chain = service(listen[:1], [listen[1]], name="one") + service(listen[1:], [a], name="two")
    eplb = lab.configured(chain, listen=listen)
    eplb.counting = False  # each client of the first is a session of both
    assert greeting(lab, eplb) == "a"
    told = eplb.reload(chain.replace(a.address, listen[0]))
    assert any("every connection would loop (one -> two -> one)" in line for line in told), told
    assert greeting(lab, eplb) == "a"


def test_what_waits_for_a_restart_is_said_at_each_reload_until_it_is_done(lab):
    a, b, listen = lab.greeter("a"), lab.greeter("b"), lab.reserve()
    eplb = lab.configured(service([listen], [a]), listen=[listen])
    waits = "reload: ~ workers 1 -> 2 (at the next start)"
    assert waits in eplb.reload("workers = 2\n" + service([listen], [a]))
    assert waits in eplb.reload("workers = 2\n" + service([listen], [b]))
    assert waits in eplb.reload()
    told = eplb.reload(service([listen], [b]))
    assert told[-1] == "reloaded: nothing has changed" and waits not in told


# --- eplb reload


@pytest.mark.quick
def test_a_dry_run_prints_the_plan_and_changes_nothing(lab):
    a, b, listen = lab.greeter("a"), lab.greeter("b"), [lab.reserve(), lab.reserve()]
    head = f'control = "unix:{lab.folder}/control"\n'
    named = [(a, 'name = "db1"'), (b, 'name = "db2"\nweight = 0')]
    eplb = lab.configured(head + service(listen[:1], named), listen=listen)
    eplb.baseline = eplb.sockets()
    client = lab.client(eplb)
    assert read_exactly(client, 1) == b"a"
    other = lab.folder / "new.toml"
    other.write_text(
        head + service(listen, [(a, 'name = "db1"\nweight = 3')], 'idle_timeout = "5m"'),
    )
    done = run_eplb("reload", "--dry-run", "-c", str(other))
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.splitlines() == [
        '~ service db: idle_timeout "off" -> "5m"',
        f"= listener {listen[0]} (socket kept)",
        f"+ listener {listen[1]}",
        "- backend db2 (0 sessions: drain 30s)",
        "~ service db: backend db1 weight 1 -> 3",
    ]
    done = run_eplb("reload", "--dry-run", "-c", str(eplb.config))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"= listener {listen[0]} (socket kept)\nnothing would change\n"
    with pytest.raises(ConnectionRefusedError):
        dial(listen[1])
    assert not [text for text in eplb.messages() if "reload" in text]

    # Only its own file can be gone over to.
    done = run_eplb("reload", "-c", str(other))
    assert done.returncode == 1 and "only --dry-run takes another file" in done.stderr
    eplb.config.write_text(other.read_text())
    done = run_eplb("reload", "-c", str(eplb.config))
    assert (done.returncode, done.stderr) == (0, "")
    assert greeting(lab, eplb, 1) == "a"
    eplb.baseline = own_sockets(eplb)
    client.close()


def test_force_leaves_a_service_without_backends(lab):
    a, listen = lab.greeter("a"), lab.reserve()
    head = f'control = "unix:{lab.folder}/control"\n'
    eplb = lab.configured(head + service([listen], [a]), listen=[listen])
    eplb.baseline = eplb.sockets()
    eplb.config.write_text(head + service([listen], [(a, "weight = 0")]))
    done = run_eplb("reload", "-c", str(eplb.config))
    assert done.returncode == 1 and "--force" in done.stderr
    assert greeting(lab, eplb) == "a"
    done = run_eplb("reload", "--force", "-c", str(eplb.config))
    assert (done.returncode, done.stderr) == (0, "")
    eplb.next_session()
    assert ends_with_reset(lab.client(eplb))
    assert eplb.next_session()["end"] == "no_backend"


def test_mistakes_of_eplb_reload_are_explained(lab):
    listen = lab.reserve()
    path = lab.folder / "eplb.toml"
    path.write_text(service([listen], ["127.0.0.1:1"]))
    for arguments, code, message in (
        ((), 2, "which eplb? give its configuration file with -c"),
        (("--dry-run", "--control", "unix:/x"), 2, "give it with -c"),
        (("-c", str(path)), 2, "has no control socket"),
        (("--control", "unix:/nonexistent", "-c", str(path)), 1, "is it running"),
        (("--control", "127.0.0.1:1", "-c", str(path)), 2, "no Unix socket"),
        (("--no-such",), 2, 'unknown option "--no-such"'),
        (("--forse",), 2, 'did you mean "--force"?'),
        (("stray",), 2, 'unexpected argument "stray"'),
        (("-c",), 2, "--config: the value is missing"),
        (("-c", str(path), "-c", str(path)), 2, "--config is given more than once"),
        (("-c", "/nonexistent/eplb.toml"), 2, "No such file"),
    ):
        done = run_eplb("reload", *arguments)
        assert (done.returncode, done.stdout) == (code, ""), (arguments, done)
        assert message in done.stderr and done.stderr.startswith("eplb: "), (arguments, done)
    assert run_eplb("reload", "--help").stdout.startswith("Example:")


def test_it_is_not_ready_without_its_control_socket(lab):
    listen = lab.reserve()
    path = lab.folder / "eplb.toml"
    path.write_text('control = "unix:/nonexistent/control"\n' + service([listen], ["127.0.0.1:1"]))
    done = run_eplb("-c", str(path))
    assert done.returncode == 1
    assert "/nonexistent/control" in done.stderr and "ready" not in done.stderr


def test_only_its_owner_may_use_the_control_socket_and_nobody_can_hang_it(lab):
    a, listen, control = lab.greeter("a"), lab.reserve(), lab.folder / "control"
    eplb = lab.configured(f'control = "unix:{control}"\n' + service([listen], [a]), listen=[listen])
    assert control.stat().st_mode & 0o777 == 0o600
    done = run_eplb("reload", "-n", "-c", str(eplb.config), user="nobody")
    assert done.returncode == 1 and "Permission denied" in done.stderr
    silent = [lab.keep(dial(f"unix:{control}")) for _ in range(30)]
    silent[0].sendall(b"x" * 20_000 + b"\n")
    silent[1].sendall(b"nonsense\n")
    assert b"no message of this version" in read_to_end(silent[1])
    for sock in silent[2:]:
        sock.close()
    done = run_eplb("reload", "-n", "-c", str(eplb.config))
    assert done.returncode == 0, done.stderr
    assert greeting(lab, eplb) == "a"


@pytest.mark.quick
def test_a_successor_has_the_control_socket_while_the_old_one_drains(lab):
    backend, control = lab.backend(), lab.folder / "control"
    listen = [lab.reserve(), lab.reserve()]
    head = f'control = "unix:{control}"\n[defaults]\ndrain_timeout = "1h"\n'
    old = lab.configured(head + service(listen[:1], [backend]), listen=listen[:1])
    session = lab.joined_pair(old, backend)
    old.process.send_signal(signal.SIGTERM)
    old.wait_for_message("1 session left")
    assert not control.exists(), "it keeps its control socket while it drains"
    new = lab.configured(head + service(listen[1:], [backend]), listen=listen[1:])
    for sock in session:
        sock.close()
    old.expect_exit(0)
    assert run_eplb("reload", "-n", "-c", str(new.config)).returncode == 0


def test_what_others_have_put_at_the_path_of_the_control_socket_stays_there(lab):
    control = lab.folder / "control"
    listen = lab.reserve()
    eplb = lab.configured(f'control = "unix:{control}"\n' + service([listen], [lab.greeter("a")]), listen=[listen])
    control.unlink()
    control.write_text("precious")
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit(0)
    assert control.read_text() == "precious"


@pytest.mark.quick
@pytest.mark.parametrize("answer", [b"", b'{"outcome": "unch', b"nonsense\n", b'{"outcome": 7, "report": ""}\n'])
def test_an_eplb_that_does_not_answer_as_it_should_is_told_without_a_librarys_words(lab, answer):
    path = lab.folder / "eplb.toml"
    control = lab.keep(lab.backend(f"unix:{lab.folder}/control").listener)
    path.write_text(f'control = "unix:{lab.folder}/control"\n' + service([lab.reserve()], ["127.0.0.1:1"]))
    command = command_line(["reload", "-c", str(path)])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peer, _ = control.accept()
    assert peer.recv(4096).endswith(b"\n")
    peer.sendall(answer)
    peer.close()
    told = process.communicate(timeout=GUARD)
    assert (process.returncode, told[0]) == (1, "")
    assert re.fullmatch(
        rf"eplb: (eplb on unix:{lab.folder}/control left before it answered"
        rf"|cannot make sense of what eplb on unix:{lab.folder}/control answers: no message of this version)\n",
        told[1],
    ), told


def test_a_storm_of_hangups_is_survived_and_the_last_file_counts(lab):
    a, b, listen = lab.greeter("a"), lab.greeter("b"), lab.reserve()
    head = f'control = "unix:{lab.folder}/control"\n'
    eplb = lab.configured(head + service([listen], [a]), listen=[listen])
    for number in range(300):
        eplb.config.write_text(head + service([listen], [a if number % 2 else b]))
        eplb.process.send_signal(signal.SIGHUP)
    eplb.config.write_text(head + service([listen], [b]))
    eplb.process.send_signal(signal.SIGHUP)
    # Many hangups may be one wish, so nobody knows how many verdicts there will be.
    dry_run = ("reload", "--dry-run", "-c", str(eplb.config))
    wait_until(lambda: run_eplb(*dry_run).returncode == 0, "nothing would change")
    eplb.wait_for_message("^reloaded")
    assert [greeting(lab, eplb) for _ in range(3)] == ["b"] * 3


# --- under load


@contextlib.contextmanager
def child(work, *args):
    """Runs it in a process of its own, until the end of the block; yields a pipe on which it reports."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        code = 1
        with contextlib.suppress(BaseException):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work(writer, *args)
            code = 0
        os._exit(code)
    os.close(writer)
    try:
        yield reader
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)


def serve(report, listener):
    """Greets everybody and echoes until they are gone, all in one process."""
    poll = select.epoll()
    listener.setblocking(False)
    poll.register(listener, select.EPOLLIN)
    socks = {}
    os.write(report, b"!")
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sock, _ = listener.accept()
                        sock.sendall(b"!")
                        socks[sock.fileno()] = sock
                        poll.register(sock, select.EPOLLIN)
                continue
            try:
                data = socks[fd].recv(65536)
                if data:
                    socks[fd].sendall(data)
            except OSError:
                data = b""
            if not data:
                poll.unregister(fd)
                socks.pop(fd).close()


def churn(report, address):
    """Connects, is greeted and leaves, over and over; reports each failure with F, and each hundredth success."""
    count = 0
    while True:
        try:
            with dial(address) as sock:
                if sock.recv(1) != b"!":
                    raise OSError("closed")
            count += 1
            if count % 100 == 0:
                os.write(report, b".")
        except OSError:
            os.write(report, b"F")


def drained(reader):
    os.set_blocking(reader, False)
    with contextlib.suppress(BlockingIOError):
        return os.read(reader, 1 << 20)
    return b""


@pytest.mark.release
@pytest.mark.parametrize("workers", ["1", "2"])
def test_many_reloads_under_load_lose_nothing(lab, workers):
    """`./dev test --all` has it do a thousand."""
    count = int(os.environ.get("EPLB_TEST_RELOADS", "200"))
    listen, extra = lab.reserve(), lab.reserve()
    with contextlib.ExitStack() as stack:
        backends = []
        for _ in range(3):
            backend = lab.backend()
            assert os.read(stack.enter_context(child(serve, backend.listener)), 1) == b"!"
            backends.append(backend)

        def text(number):
            weights = [(backends[0], f"weight = {1 + number % 7}"), (backends[1], "")]
            if number % 3 == 0:
                weights.append(backends[2])
            listeners = [listen, extra] if number % 2 else [listen]
            return service(listeners, weights, f'drain_timeout = "10m"\nidle_timeout = "{1 + number % 5}h"')

        eplb = lab.configured(text(0), "-w", workers, "--log-level", "info", listen=[listen])
        eplb.counting = False
        long = [lab.client(eplb) for _ in range(200)]
        for client in long:
            assert read_exactly(client, 1) == b"!"
        clients = [stack.enter_context(child(churn, listen)) for _ in range(2)]

        def flat():
            return len(eplb.descriptors()), eplb.memory("VmRSS")

        sizes = []
        for number in range(1, count + 1):
            assert eplb.reload(text(number))[-1].startswith("reloaded")
            if number % 50 == 0:
                for index, client in enumerate(long):
                    block = bytes([index % 251]) * 5000
                    client.sendall(block)
                for index, client in enumerate(long):
                    assert read_exactly(client, 5000) == bytes([index % 251]) * 5000
            if number in (count // 5, count):
                sizes.append(flat())
        reports = [drained(reader) for reader in clients]
        assert not any(b"F" in report for report in reports), reports
        assert all(report.count(b".") >= 3 for report in reports), reports
        assert sizes[1][0] <= sizes[0][0] + 16, sizes  # what is being connected at the moment
        assert sizes[1][1] <= sizes[0][1] + (4 << 20), sizes
        for client in long:
            client.close()
    eplb.baseline = own_sockets(eplb)


def test_more_connections_are_let_in_at_once(lab):
    server, listen = lab.greeter("!"), lab.reserve()
    eplb = lab.configured("max_connections = 1\n" + service([listen], [server]), listen=[listen])
    clients = [lab.client(eplb) for _ in range(3)]
    assert read_exactly(clients[0], 1) == b"!"
    assert not select.select(clients[1:], [], [], 0.2)[0]
    assert "reload: ~ max_connections 1 -> 2" in eplb.reload("max_connections = 2\n" + service([listen], [server]))
    assert read_exactly(clients[1], 1) == b"!"
    assert not select.select(clients[2:], [], [], 0.2)[0]
    # Fewer end nobody's session.
    eplb.reload("max_connections = 1\n" + service([listen], [server]))
    clients[0].close()
    clients[1].sendall(b"x")
    assert read_exactly(clients[1], 1) == b"x"
    assert not select.select(clients[2:], [], [], 0.2)[0]
    clients[1].close()
    assert read_exactly(clients[2], 1) == b"!"
