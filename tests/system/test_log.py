"""What is told, and that telling it never gets in the way."""

import json
import os
import re
import signal

import pytest

from harness import read_exactly, wait_until

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


def start_with_pipe(lab, backend, log):
    """eplb, ready, and both ends of the pipe that it logs to."""
    reading, writing = os.pipe()
    eplb = lab.eplb([backend], log=log, stderr=writing, wait=False)
    started = b""
    while b"ready" not in started:
        started += os.read(reading, 4096)
    eplb.baseline = eplb.sockets()
    eplb.counting = False
    return eplb, reading, writing


@pytest.mark.quick
@pytest.mark.parametrize("log", ["text", "json"])
def test_a_log_that_nobody_reads_stops_neither_traffic_nor_the_end(lab, log):
    backend = lab.backend()
    eplb, reading, writing = start_with_pipe(lab, backend, log)
    # Filled through a description of its own, or eplb would share its O_NONBLOCK.
    filler = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(filler, b"x")
    os.close(filler)
    os.close(writing)

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
