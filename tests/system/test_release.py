"""What only the optimized, hardened build can show: how it was linked, and how little memory it takes."""

import re
import subprocess

import pytest

from harness import binary, read_exactly, wait_until

pytestmark = pytest.mark.release


def test_the_binary_is_hardened():
    def readelf(*options):
        return subprocess.run(["readelf", "-W", *options, binary()], check=True, stdout=subprocess.PIPE, text=True).stdout

    assert re.search(r"Type:\s+DYN", readelf("-h")), "it is not position-independent"
    assert "BIND_NOW" in readelf("-d"), "functions are bound late"
    segments = readelf("-l")
    assert "GNU_RELRO" in segments, "relocations stay writable"
    assert re.search(r"GNU_STACK\s.*\sRW\s", segments), "the stack is executable"
    symbols = readelf("-s")
    assert "__stack_chk_fail" in symbols, "the stack is not protected"


def open_sessions(lab, eplb, backend, count):
    """Idle ones, after a byte each way."""
    pairs = []
    for _ in range(count):
        client, server = lab.joined_pair(eplb, backend)
        client.sendall(b"x")
        assert read_exactly(server, 1) == b"x"
        pairs.append((client, server))
    return pairs


def test_an_idle_session_takes_512_bytes_at_most_and_a_burst_gives_its_memory_back(lab):
    backend = lab.backend()
    eplb = lab.eplb([backend])
    pairs = open_sessions(lab, eplb, backend, 1000)
    few = eplb.memory("VmRSS")
    pairs += open_sessions(lab, eplb, backend, 8000)
    many = eplb.memory("VmRSS")
    assert (many - few) / 8000 <= 512
    for pair in pairs:
        for end in pair:
            end.close()
    wait_until(lambda: len(eplb.sessions()) == 9000, "all sessions are over")
    # What is left of them is the log's queue, which a line of each went through.
    assert eplb.memory("VmRSS") <= few + (1 << 20)


@pytest.mark.parametrize("limit", [200, 1024, 5000])
def test_within_a_limit_of_descriptors_half_of_them_less_64_are_sessions_and_all_answer(lab, limit):
    backend = lab.backend()
    eplb = lab.eplb([backend], nofile=limit)
    for client, server in open_sessions(lab, eplb, backend, limit // 2 - 64):
        client.sendall(b"still there?")
        assert read_exactly(server, 12) == b"still there?"


def test_nothing_is_sized_by_the_limit_of_descriptors(lab):
    small = lab.eplb([lab.greeter("x")], nofile=1000).memory("VmRSS")
    large = lab.eplb([lab.greeter("x")], nofile=20000).memory("VmRSS")
    assert abs(large - small) < 300_000
