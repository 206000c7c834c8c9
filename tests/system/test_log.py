"""What is told, and that telling it never gets in the way."""

import json
import os
import pathlib
import pty
import re
import resource
import select
import signal

import pytest

from harness import GUARD, read_exactly, run_eplb, wait_until

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.mark.quick
def test_the_start_tells_version_limits_listeners_backends_and_readiness(lab):
    backends = [lab.reserve(), lab.reserve()]
    eplb = lab.eplb([backends[0] + ",name=db1,weight=3", backends[1]], "--max-connections", "123")
    told = eplb.messages("info")
    assert told[-1].startswith("ready")
    text = "\n".join(told)
    for fact in (r"eplb \d+\.\d+\.\d+", r"\d+ open files", "123", "auto", *eplb.listeners, *backends, "db1"):
        assert re.search(fact.replace("[", r"\["), text), f"{fact} is not in: {text}"


def test_the_effective_address_of_a_bare_port_is_told(lab):
    port = lab.reserve("[::]").rsplit(":", 1)[1]
    eplb = lab.eplb([lab.reserve()], listen=[f":{port}"])
    assert any(re.search(rf"(\[::\]|0\.0\.0\.0):{port}\b", text) for text in eplb.messages())


@pytest.mark.quick
def test_text_lines_have_time_level_and_message(lab):
    refusing, server = lab.reserve(), lab.greeter("hello")
    eplb = lab.eplb([refusing, server.address + ",name=db1"], log="text")
    client = lab.client(eplb)
    client.sendall(b"abc")
    assert read_exactly(client, 8) == b"helloabc"
    local = "{}:{}".format(*client.getsockname())
    client.close()
    line = wait_until(lambda: next((line for line in eplb.lines if " session " in line), None), "it is logged")
    assert re.fullmatch(
        rf"{TIME} info +session client={local} service=default listener={eplb.listeners[0]} backend=(db1/)?{server.address}"
        rf" attempts=2 up=3 down=8 connect_ms=\d+\.\d ms=\d+\.\d end=client_fin"
        rf" tried={refusing}\(refused\)",
        line,
    ), line
    for line in eplb.lines:
        assert re.match(rf"{TIME} (debug|info|warning|error) +\S", line), line
    eplb.counting = False  # it cannot count in text


def test_every_json_line_is_one_object_with_time_level_and_event(lab):
    eplb = lab.eplb([lab.reserve()], "--log-level", "debug")
    lab.client(eplb)
    eplb.next_session()
    for line in eplb.lines:
        event = json.loads(line)
        assert re.fullmatch(TIME, event["ts"])
        assert event["level"] in ("debug", "info", "warning", "error")
        assert event["event"] in ("message", "session")


def test_a_name_cannot_write_into_the_log(lab):
    backend = lab.backend("unix:@quote\"back\\slash\ttab")
    eplb = lab.eplb([backend])
    session = lab.transfer(eplb, backend, up=b"x", down=b"y")
    assert session["backend"] == r"unix:@quote\x22back\x5cslash\x09tab"


@pytest.mark.parametrize("quiet", [["-q"], ["--log-level", "warning"], ["--log-level", "error"]])
def test_when_told_to_be_quiet_it_says_nothing_of_sessions(lab, quiet):
    eplb = lab.eplb([lab.greeter("!")], *quiet, wait=False)
    wait_until(lambda: connects(lab, eplb), "it listens")
    client = lab.client(eplb)
    assert read_exactly(client, 1) == b"!"
    client.close()
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit(0)
    eplb.stop()
    assert eplb.lines == []


def connects(lab, eplb):
    try:
        eplb.connect().close()
    except ConnectionRefusedError:
        return False
    return True


def wait_until_ready(reading):
    started = b""
    while b"ready" not in started:
        text = os.read(reading, 4096)
        assert text, started
        started += text


def start_with_pipe(lab, backend, log):
    """eplb, ready, and both ends of the pipe that it logs to."""
    reading, writing = os.pipe()
    eplb = lab.eplb([backend], log=log, stderr=writing, wait=False)
    wait_until_ready(reading)
    eplb.baseline = eplb.sockets()
    eplb.counting = False
    return eplb, reading, writing


def fill(writing):
    """A pipe, through a description of its own, or eplb would share its O_NONBLOCK."""
    filler = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(filler, b"x")
    os.close(filler)
    os.close(writing)


def check_traffic(lab, eplb, backend, session):
    """The session that there is goes on, and new clients are served."""
    client, server = session
    client.sendall(b"ping")
    assert read_exactly(server, 4) == b"ping"
    client, server = lab.joined_pair(eplb, backend)
    client.close()
    server.close()


def service(listen, backend, log=""):
    return (
        f'[log]\n{log}\n[[service]]\nname = "db"\nlisten = "{listen}"\n'
        f'[[service.backend]]\naddress = "{backend.address}"\n'
    )


@pytest.mark.quick
@pytest.mark.parametrize("log", ["text", "json"])
def test_a_log_that_nobody_reads_stops_neither_traffic_nor_the_end(lab, log):
    backend = lab.backend()
    eplb, reading, writing = start_with_pipe(lab, backend, log)
    fill(writing)

    for number in range(300):
        client, server = eplb.connect(), backend.accept()
        client.sendall(b"ping")
        assert read_exactly(server, 4) == b"ping"
        client.close()
        server.close()
    eplb.check_quiet()
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit(0)
    os.close(reading)


def test_more_lines_than_any_queue_holds_do_not_fill_the_memory(lab):
    server = lab.greeter("!")
    eplb, reading, writing = start_with_pipe(lab, server, "json")
    os.close(writing)
    sizes = []
    for _ in range(4):
        for _ in range(4000):
            client = eplb.connect()
            assert read_exactly(client, 1) == b"!"
            client.close()
        sizes.append(eplb.memory("VmRSS"))
    assert sizes[-1] - sizes[-2] < 1 << 20, f"it grows: {sizes}"
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit(0)
    os.close(reading)


def test_a_log_whose_reader_is_gone_stops_neither_traffic_nor_the_end(lab):
    backend = lab.backend()
    eplb, reading, writing = start_with_pipe(lab, backend, "json")
    os.close(reading)
    os.close(writing)
    for _ in range(20):
        client, server = eplb.connect(), backend.accept()
        client.sendall(b"ping")
        assert read_exactly(server, 4) == b"ping"
        client.close()
        server.close()
    eplb.check_quiet()


@pytest.mark.quick
@pytest.mark.parametrize("how", ["SIGUSR1", "SIGHUP", "eplb reload"])
def test_opening_the_log_anew_while_nobody_reads_standard_error_stops_nothing(lab, how):
    backend, listen, control = lab.backend(), lab.reserve(), f"unix:{lab.folder}/control"
    reading, writing = os.pipe()
    text = f'control = "{control}"\n' + service(listen, backend)
    eplb = lab.configured(text, listen=[listen], stderr=writing, wait=False)
    wait_until_ready(reading)
    eplb.baseline = eplb.sockets()
    eplb.counting = False
    session = lab.joined_pair(eplb, backend)
    fill(writing)
    for _ in range(3):
        if how == "eplb reload":
            done = run_eplb("reload", "-c", str(eplb.config))
            assert (done.returncode, done.stderr) == (0, "")
        else:
            eplb.process.send_signal(getattr(signal, how))
        check_traffic(lab, eplb, backend, session)
    assert run_eplb("reload", "-n", "-c", str(eplb.config)).returncode == 0
    for sock in session:
        sock.close()
    eplb.check_quiet()
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit(0)
    os.close(reading)


class Fifo:
    """A log that is a FIFO, and who reads it."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)
        self.reading = None
        self.text = ""

    def open(self):
        self.reading = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def close(self):
        os.close(self.reading)

    def wait_for(self, regex):
        def told():
            if select.select([self.reading], [], [], 0.1)[0]:
                self.text += os.read(self.reading, 65536).decode()
            return re.search(regex, self.text)

        wait_until(told, f"the FIFO has {regex!r}")


@pytest.mark.quick
@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGHUP])
def test_a_fifo_whose_reader_died_stops_nothing_and_the_next_reader_has_lines_again(lab, how):
    backend, listen, fifo = lab.backend(), lab.reserve(), Fifo(lab.folder / "fifo")
    fifo.open()
    eplb = lab.configured(service(listen, backend, f'file = "{fifo.path}"'), listen=[listen], wait=False)
    fifo.wait_for("ready")
    eplb.baseline = eplb.sockets()
    eplb.counting = False
    session = lab.joined_pair(eplb, backend)
    fifo.close()
    for _ in range(3):
        eplb.process.send_signal(how)
        check_traffic(lab, eplb, backend, session)
    fifo.open()
    check_traffic(lab, eplb, backend, session)
    fifo.wait_for('"session"')
    for sock in session:
        sock.close()
    eplb.check_quiet()
    eplb.process.send_signal(signal.SIGTERM)
    fifo.wait_for("stopped")
    eplb.expect_exit(0)
    fifo.close()


def test_at_the_start_a_fifo_that_nobody_reads_is_told_and_its_lines_wait_for_a_reader(lab):
    backend, listen, fifo = lab.backend(), lab.reserve(), Fifo(lab.folder / "fifo")
    eplb = lab.configured(service(listen, backend, f'file = "{fifo.path}"'), listen=[listen], wait=False)
    problem = f"eplb: cannot write the log file {fifo.path}: it is a FIFO that nobody reads; its lines wait"
    wait_until(lambda: problem in eplb.lines, "it is told")
    wait_until(lambda: connects(lab, eplb), "it listens")
    backend.accept().close()
    eplb.counting = False
    fifo.open()
    fifo.wait_for("ready")
    eplb.baseline = eplb.sockets()
    session = lab.joined_pair(eplb, backend)
    check_traffic(lab, eplb, backend, session)
    fifo.close()


def test_a_file_system_that_hangs_when_the_log_is_opened_stops_neither_traffic_nor_a_reload_nor_the_end(lab):
    backend, listen, control = lab.backend(), lab.reserve(), f"unix:{lab.folder}/control"
    file = lab.folder / "log"
    text = f'control = "{control}"\n' + service(listen, backend, f'file = "{file}"')
    eplb = lab.configured(text, listen=[listen], wait=False)
    wait_until(lambda: file.exists() and "ready" in file.read_text(), "it is ready")
    eplb.baseline = eplb.sockets()
    eplb.counting = False
    session = lab.joined_pair(eplb, backend)
    with eplb.inject(f"openat:delay_enter={GUARD * 10_000_000}", path=file):
        eplb.process.send_signal(signal.SIGUSR1)
        check_traffic(lab, eplb, backend, session)
        done = run_eplb("reload", "-c", str(eplb.config))
        assert done.returncode == 0, done.stderr
        assert f"the log file {file} takes long to open; the old log goes on until then" in done.stdout
        check_traffic(lab, eplb, backend, session)
        for sock in session:
            sock.close()
        eplb.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Z" in eplb.thread_states(), "it leaves; the thread that hangs is held by strace")
    eplb.expect_exit(0)


@pytest.mark.quick
def test_a_file_that_takes_no_more_stops_nothing_and_has_whole_lines_and_the_number_of_those_lost(lab):
    """RLIMIT_FSIZE is a full disk for one process."""
    backend, listen, file = lab.greeter("!"), lab.reserve(), lab.folder / "log"
    eplb = lab.configured(service(listen, backend, f'file = "{file}"'), listen=[listen], wait=False)
    wait_until(lambda: file.exists() and "ready" in file.read_text(), "it is ready")
    eplb.baseline = eplb.sockets()
    eplb.counting = False

    def sessions(count):
        for _ in range(count):
            client = eplb.connect()
            assert read_exactly(client, 1) == b"!"
            client.close()

    soft, hard = resource.prlimit(eplb.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(eplb.pid, resource.RLIMIT_FSIZE, (file.stat().st_size + 5000, hard))
    sessions(300)
    wait_until(lambda: any("cannot write the log file" in line for line in list(eplb.lines)), "standard error has it")
    resource.prlimit(eplb.pid, resource.RLIMIT_FSIZE, (soft, hard))
    sessions(20)
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit(0)
    events = [json.loads(line) for line in file.read_text().splitlines()]
    told = [event["message"] for event in events if "dropped" in event.get("message", "")]
    assert told and all("could not be written (File too large)" in text for text in told)
    lost = sum(int(text.split()[0]) for text in told)
    assert sum(event["event"] == "session" for event in events) + lost == 320
    assert len(eplb.lines) == 1, "standard error is flooded"


@pytest.mark.quick
def test_a_reload_goes_over_to_another_file_and_not_to_one_that_cannot_be_written(lab):
    backend, listen, control = lab.greeter("!"), lab.reserve(), f"unix:{lab.folder}/control"
    files = [lab.folder / "one", lab.folder / "two"]
    head = f'control = "{control}"\n'
    eplb = lab.configured(head + service(listen, backend, f'file = "{files[0]}"'), listen=[listen], wait=False)
    wait_until(lambda: files[0].exists() and "ready" in files[0].read_text(), "it is ready")
    eplb.baseline = eplb.sockets()
    eplb.counting = False
    eplb.config.write_text(head + service(listen, backend, 'file = "/nonexistent/log"'))
    done = run_eplb("reload", "-c", str(eplb.config))
    assert done.returncode == 1
    assert "cannot write the log file /nonexistent/log: No such file or directory" in done.stderr
    wait_until(lambda: "not reloaded" in files[0].read_text(), "it is told")

    eplb.config.write_text(head + service(listen, backend, f'file = "{files[1]}"'))
    assert run_eplb("reload", "-n", "-c", str(eplb.config)).returncode == 3
    assert not files[1].exists(), "a dry run has made it"
    assert run_eplb("reload", "-c", str(eplb.config)).returncode == 0
    wait_until(lambda: '"reloaded"' in files[1].read_text(), "the new file has it")
    assert '"message":"reloaded"' not in files[0].read_text()
    assert str(files[0]) not in [os.readlink(fd) for fd in pathlib.Path(f"/proc/{eplb.pid}/fd").iterdir()]


def read_terminal(master, regex):
    text = ""
    while not re.search(regex, text):
        assert select.select([master], [], [], GUARD)[0]
        text += os.read(master, 65536).decode()
    return text


@pytest.mark.parametrize("terminal, colour", [("xterm", True), ("dumb", False)])
def test_levels_have_colours_on_a_terminal_that_shows_them(lab, monkeypatch, terminal, colour):
    monkeypatch.setenv("TERM", terminal)
    master, slave = pty.openpty()
    eplb = lab.eplb([lab.reserve()], log="text", stderr=slave, wait=False)
    os.close(slave)
    text = read_terminal(master, "ready")
    assert ("\x1b[32minfo   \x1b[m ready" in text) == colour, text
    eplb.baseline = eplb.sockets()
    eplb.counting = False
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit(0)
    os.close(master)
