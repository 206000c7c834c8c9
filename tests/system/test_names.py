"""Backends by name: a real name server changes its answers, fails, comes back, and no client notices who should
not."""

import contextlib
import itertools
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from harness import GUARD, ends_with_reset, read_exactly, run_eplb, wait_until

A, TXT, AAAA, SRV = 1, 16, 28, 33
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


def wire_name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def question_of(message):
    """(name, type, where it ends)"""
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += message[at] + 1
    return ".".join(labels), struct.unpack_from(">H", message, at + 1)[0], at + 5


def port_for_dns(lab):
    """Free for UDP and TCP."""
    while True:
        address = lab.reserve()
        port = int(address.rsplit(":", 1)[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Dnsmasq:
    """The real thing. `hosts`: lines of a hosts file, which SIGHUP reads again; `more`: its options."""

    def __init__(self, lab, *more, ttl=1):
        self.lab = lab
        self.port = port_for_dns(lab)
        self.address = f"127.0.0.1:{self.port}"
        self.hosts = lab.folder / f"hosts-{self.port}"
        self.hosts.write_text("")
        self.hosts.chmod(0o644)
        self.ttl = ttl
        self.process = None
        self.start(*more)
        lab.keep(self)

    def start(self, *more):
        if more:
            self.more = more
        options = [f"--port={self.port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--keep-in-foreground",
                   "--no-resolv", "--no-hosts", f"--addn-hosts={self.hosts}", "--local=/example/", "--pid-file=",
                   "--conf-file=/dev/null", "--user=root", f"--local-ttl={self.ttl}", "--log-facility=/dev/null",
                   *getattr(self, "more", ())]  # fmt: skip
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "dnsmasq", *options])
        wait_until(lambda: self.ask("any.example", TXT) is not None, "dnsmasq answers")

    def ask(self, name, kind):
        """How many records it says there are; None: it is not there."""
        assert self.process.poll() is None, "dnsmasq has left"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.connect(("127.0.0.1", self.port))
            query = struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + wire_name(name) + struct.pack(">HH", kind, 1)
            try:
                sock.send(query)
                return struct.unpack_from(">H", sock.recv(4096), 6)[0]
            except OSError:
                return None

    def set(self, name, *addresses):
        """Other addresses for the one name that it knows, at once."""
        self.hosts.write_text("".join(f"{address} {name}\n" for address in addresses))
        self.process.send_signal(signal.SIGHUP)
        v6 = sum(":" in address for address in addresses)
        wait_until(
            lambda: (self.ask(name, A), self.ask(name, AAAA)) == (len(addresses) - v6, v6), "dnsmasq has read it"
        )

    def stop(self):
        self.process.terminate()
        self.process.wait(GUARD)

    def restart(self, *more):
        self.stop()
        self.start(*more)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(GUARD)


class Oracle:
    """A name server for what dnsmasq does not do: it says what the test wants at this moment, even nothing.
    `answers`: (name, type) -> (rcode, data of records), or None for silence; what is not there is NXDOMAIN."""

    def __init__(self, lab, ttl=1):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.ttl = ttl
        self.answers = {}
        self.asked = []  # (when, name, type)
        self.queries = []  # (the message, who sent it)
        self.closed = False
        threading.Thread(target=self._serve, daemon=True).start()
        lab.keep(self)

    def set(self, name, *addresses):
        self.answers[name, A] = (NOERROR, [socket.inet_aton(address) for address in addresses])

    def set_srv(self, name, *records):
        """Of (priority, weight, port, host)."""
        self.answers[name, SRV] = (NOERROR, [struct.pack(">HHH", *r[:3]) + wire_name(r[3]) for r in records])

    def count(self, name):
        return sum(asked == name for _, asked, _ in list(self.asked))

    def wait_for_questions(self, name, more=2):
        """Until `more` questions have come from now on, so that an earlier one has been answered, too."""
        before = self.count(name)
        wait_until(lambda: self.count(name) >= before + more, f"{name} is asked for {more} times")

    def end_silence(self, name, rcode):
        """Those who have asked get their answer now."""
        self.answers[name, A] = (rcode, [])
        for query, peer in list(self.queries):
            if question_of(query)[0] == name:
                self._answer(query, peer)

    def _serve(self):
        while True:
            query, peer = self.socket.recvfrom(4096)
            if self.closed:
                return self.socket.close()
            self.queries.append((query, peer))
            self.asked.append((time.monotonic(), *question_of(query)[:2]))
            self._answer(query, peer)

    def _answer(self, query, peer):
        name, kind, end = question_of(query)
        answer = self.answers.get((name, kind), (NXDOMAIN, []))
        if answer is None:
            return
        rcode, records = answer
        reply = query[:2] + struct.pack(">HHHHH", 0x8180 | rcode, 1, len(records), 0, 0) + query[12:end]
        for data in records:
            reply += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, self.ttl, len(data)) + data
        self.socket.sendto(reply, peer)

    def close(self):
        self.closed = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self.socket.getsockname())


def greeters(lab, names, first_host=2):
    """One for each letter, at 127.0.0.2, .3, ..., all at the same port."""
    while True:
        first = lab.greeter(names[0], where=f"127.0.0.{first_host}:0")
        port = int(first.address.rsplit(":", 1)[1])
        with contextlib.suppress(OSError):
            more = [
                lab.greeter(name, where=f"127.0.0.{first_host + n}:{port}") for n, name in enumerate(names[1:], 1)
            ]
            return port, [first, *more]


def host_of(greeter):
    return greeter.address.rsplit(":", 1)[0]


def config(listen, dns, *backends, service="", more='min_ttl = "200ms"', timeout="60s", head=""):
    """A name server that stalls for less than a fifth of `timeout` is waited for, and not even asked again."""
    text = f'{head}\n[dns]\nservers = ["{dns.address}"]\ntimeout = "{timeout}"\n{more}\n'
    text += f'[[service]]\nname = "db"\nlisten = "{listen}"\n{service}\n'
    for backend in backends:
        text += f'[[service.backend]]\naddress = "{backend}"\n'
    return text


def greeting(lab, eplb):
    client = lab.client(eplb)
    said = read_exactly(client, 1)
    client.close()
    return said.decode()


def wait_for_all(lab, eplb, names):
    """Until new clients are served by these and nobody else."""
    wait_until(lambda: {greeting(lab, eplb) for _ in range(2 * len(names))} == set(names), f"{names} serve")


def wait_for_count(eplb, regex, count):
    wait_until(
        lambda: sum(bool(re.search(regex, text)) for text in eplb.messages()) >= count, f"{regex!r} is told {count} times"
    )


# --- answers that change


@pytest.mark.quick
@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize("policy", ["drain", "close", "keep"])
def test_backends_follow_the_addresses_of_a_name(lab, policy, workers):
    port, (a, b, c) = greeters(lab, "abc")
    dns, listen = Dnsmasq(lab), lab.reserve()
    dns.set("db.example", host_of(a), host_of(b))
    text = config(
        listen,
        dns,
        f"db.example:{port}",
        more=f'min_ttl = "200ms"\non_absent = "{policy}"',
        service='drain_timeout = "300ms"\non_remove = "close"',
    )
    eplb = lab.configured(text, "-w", workers, listen=[listen])
    messages = eplb.messages()
    assert f"backend db.example/{a.address} weight 1" in messages
    assert f"backend db.example/{b.address} weight 1" in messages
    clients = [lab.client(eplb) for _ in range(8)]
    by_name = {name: [] for name in "ab"}
    for client in clients:
        by_name[read_exactly(client, 1).decode()].append(client)
    assert all(by_name.values())

    dns.set("db.example", host_of(c), host_of(b))
    eplb.wait_for_message(f"^name db.example: \\+ {host_of(c)} - {host_of(a)}$")
    eplb.wait_for_message(f"^names: \\+ backend db.example/{c.address} weight 1$")
    gone = f"- backend db.example/{a.address}"
    if policy == "keep":
        gone = f"~ backend db.example/{a.address} is absent from what its name stands for"
    eplb.wait_for_message(f"^names: {gone} \\({len(by_name['a'])} sessions?: {policy}")
    wait_for_all(lab, eplb, "bc")
    if policy == "keep":
        for client in by_name["a"]:
            client.sendall(b"x")
            assert read_exactly(client, 1) == b"x"
    else:
        assert all(ends_with_reset(client) for client in by_name["a"])
    for client in by_name["b"]:
        client.sendall(b"x")
        assert read_exactly(client, 1) == b"x"
    for client in clients:
        client.close()


def test_the_ttl_is_honoured_and_nothing_is_told_of_answers_in_another_order(lab):
    dns, listen = Oracle(lab, ttl=1), lab.reserve()
    port, (a, b) = greeters(lab, "ab")
    dns.set("db.example", host_of(a), host_of(b))
    eplb = lab.configured(config(listen, dns, f"db.example:{port}", more='min_ttl = "100ms"'), listen=[listen])
    dns.wait_for_questions("db.example")
    dns.set("db.example", host_of(b), host_of(a))
    dns.wait_for_questions("db.example")
    times = [when for when, _, _ in dns.asked]
    assert all(later - earlier >= 0.99 for earlier, later in itertools.pairwise(times)), times
    assert not [text for text in eplb.messages() if text.startswith("name")]


def test_a_name_may_have_ipv6_addresses_only(lab):
    a = lab.greeter("a", where="[::1]:0")
    port = a.address.rsplit(":", 1)[1]
    dns, listen = Dnsmasq(lab), lab.reserve()
    dns.set("db.example", "::1")
    eplb = lab.configured(config(listen, dns, f"db.example:{port}"), listen=[listen])
    assert f"backend db.example/{a.address} weight 1" in eplb.messages()
    assert greeting(lab, eplb) == "a"


@pytest.mark.quick
def test_srv_records_say_ports_weights_and_who_is_a_backup(lab):
    port, (a, b) = greeters(lab, "ab")
    other, (c,) = greeters(lab, "c", first_host=4)
    hosts = [f"--host-record={name}.example,{host_of(greeter)}" for name, greeter in zip("abc", (a, b, c))]

    def srv(host, its_port, priority, weight):
        return f"--srv-host=_db._tcp.example,{host}.example,{its_port},{priority},{weight}"

    dns, listen = Dnsmasq(lab, *hosts, srv("a", port, 10, 3), srv("c", other, 10, 0)), lab.reserve()
    eplb = lab.configured(config(listen, dns, "srv:_db._tcp.example"), listen=[listen])
    assert f"backend _db._tcp.example/{a.address} weight 3" in eplb.messages()
    assert f"backend _db._tcp.example/{c.address} weight 1" in eplb.messages()
    said = [greeting(lab, eplb) for _ in range(8)]
    assert (said.count("a"), said.count("c")) == (6, 2)
    dns.restart(*hosts, srv("a", port, 10, 5), srv("b", port, 10, 1), srv("c", other, 20, 0))
    eplb.wait_for_message(f"^names: ~ service db: backend _db._tcp.example/{c.address} is a backup$")  # told last
    assert f"names: + backend _db._tcp.example/{b.address} weight 1" in eplb.messages()
    assert f"names: ~ service db: backend _db._tcp.example/{a.address} weight 3 -> 5" in eplb.messages()


def test_localhost_on_the_command_line_is_this_machine(lab):
    a = lab.greeter("a")
    port = a.address.rsplit(":", 1)[1]
    eplb = lab.eplb([f"localhost:{port}"])
    assert f"backend localhost/127.0.0.1:{port} weight 1" in eplb.messages()
    assert greeting(lab, eplb) == "a"


# --- answers that fail


FAILURES = {
    "NXDOMAIN": ((NXDOMAIN, []), "there is no such name"),
    "empty": ((NOERROR, []), "it has no address"),
    "SERVFAIL": ((SERVFAIL, []), r"the name server failed \(SERVFAIL\)"),
    "REFUSED": ((REFUSED, []), r"the name server refused to answer \(REFUSED\)"),
    "silence": (None, "(no answer within 300ms|no name server answers)"),  # whose time was over first
}


@pytest.mark.parametrize("failure", FAILURES)
def test_the_last_good_answer_stays_while_dns_fails(lab, failure):
    answer, problem = FAILURES[failure]
    port, (a, b) = greeters(lab, "ab")
    dns, listen = Oracle(lab), lab.reserve()
    dns.set("db.example", host_of(a))
    text = config(listen, dns, f"db.example:{port}", more='min_ttl = "200ms"\nmax_ttl = "400ms"')
    eplb = lab.configured(text, listen=[listen])
    old = lab.client(eplb)
    assert read_exactly(old, 1) == b"a"
    again = "answers again: "
    if answer is None:
        eplb.reload(text.replace("60s", "300ms"))
        again = "(answers again: )?"  # where a stall was taken for the second silence, it may do so before
    dns.answers["db.example", A] = answer
    told = f"^name db.example: .*{problem}; its last addresses stay$"
    eplb.wait_for_message(told)
    dns.wait_for_questions("db.example")
    assert {greeting(lab, eplb) for _ in range(4)} == {"a"}
    dns.set("db.example", host_of(a))
    eplb.wait_for_message("^name db.example: answers again$")
    dns.answers["db.example", A] = answer
    wait_for_count(eplb, told, 2)
    dns.set("db.example", host_of(b))
    eplb.wait_for_message(f"^name db.example: {again}\\+ {host_of(b)} - {host_of(a)}$")
    wait_for_all(lab, eplb, "b")
    assert [text for text in eplb.messages() if "stay" in text] == eplb.messages("warning")
    old.close()


@pytest.mark.quick
def test_the_name_server_goes_and_comes_back(lab):
    port, (a, b) = greeters(lab, "ab")
    dns, listen = Dnsmasq(lab), lab.reserve()
    dns.set("db.example", host_of(a))
    eplb = lab.configured(config(listen, dns, f"db.example:{port}"), listen=[listen])
    dns.stop()
    eplb.wait_for_message(f"^name db.example: .*; its last addresses stay$")
    assert greeting(lab, eplb) == "a"
    dns.hosts.write_text(f"{host_of(b)} db.example\n")
    dns.start()
    eplb.wait_for_message(f"^name db.example: answers again: \\+ {host_of(b)} - {host_of(a)}$")
    wait_for_all(lab, eplb, "b")


def test_what_dnsmasq_calls_empty_and_missing_keeps_the_addresses(lab):
    port, (a,) = greeters(lab, "a")
    record = f"--host-record=db.example,{host_of(a)}"
    dns, listen = Dnsmasq(lab, record), lab.reserve()
    eplb = lab.configured(config(listen, dns, f"db.example:{port}"), listen=[listen])
    dns.restart("--txt-record=db.example,only text")
    wait_until(lambda: any("its last addresses stay" in text for text in eplb.messages()), "it is told")
    assert greeting(lab, eplb) == "a"
    dns.restart(record)
    eplb.wait_for_message("^name db.example: answers again$")
    dns.restart("--txt-record=other.example,x")
    wait_for_count(eplb, "its last addresses stay", 2)
    assert greeting(lab, eplb) == "a"


# --- the start


@pytest.mark.quick
@pytest.mark.parametrize("how", ["missing", "strict"])
def test_a_name_that_is_not_there_at_the_start_can_be_an_error_at_its_place(lab, how):
    dns, listen = Dnsmasq(lab, "--txt-record=empty.example,x"), lab.reserve()
    path = lab.folder / "bad.toml"
    more = 'missing = "fail"' if how == "missing" else 'missing = "wait"'
    path.write_text(config(listen, dns, "dbb.example:1", "empty.example:1", "srv:_db._tcp.example", more=more))
    done = run_eplb("-c", str(path), *(["--strict"] if how == "strict" else []))
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 3
    assert f'{path}:11:11: error: cannot resolve "dbb.example" in "dbb.example:1": there is no such name' in errors
    assert f'{path}:13:11: error: cannot resolve "empty.example" in "empty.example:1": it has no address' in errors
    assert f'{path}:15:11: error: cannot resolve "_db._tcp.example" in "srv:_db._tcp.example": there is no such name' in errors


@pytest.mark.quick
def test_a_service_whose_name_is_not_there_waits_for_it_and_the_others_are_served(lab):
    port, (a, b) = greeters(lab, "ab")
    dns, listen, other = Oracle(lab), lab.reserve(), lab.reserve()
    # Nor is one that stands for what cannot be a server.
    dns.set("zero.example", "0.0.0.0")
    text = config(listen, dns, f"db.example:{port}", f"zero.example:{port}")
    text += f'[[service]]\nname = "other"\nlisten = "{other}"\n[[service.backend]]\naddress = "{a.address}"\n'
    eplb = lab.configured(text, listen=[listen, other])
    warnings = eplb.messages("warning")
    assert f'cannot resolve "db.example" in "db.example:{port}": there is no such name; waiting for it' in warnings
    assert f'cannot resolve "zero.example" in "zero.example:{port}": 0.0.0.0 is the address of no server; waiting for it' in warnings
    assert "service db is not ready: it has no backend that takes connections" in warnings
    client = lab.client(eplb, 1)
    assert read_exactly(client, 1) == b"a"
    client.close()
    # What is waited for already is no reason to refuse a reload; what is new is, unless it is forced.
    assert eplb.reload(text.replace("[[service]]", '[[service]]\nidle_timeout = "5m"', 1))[-1] == "reloaded"
    told = eplb.reload(text.replace("zero.example", "new.example"))
    assert told[-1].startswith("not reloaded")
    assert "--force waits for it" in told[-2]
    dns.set("db.example", host_of(b))
    eplb.wait_for_message("^service db is ready$")
    wait_for_all(lab, eplb, "b")


def test_a_reload_with_a_name_that_is_not_there_can_be_forced(lab):
    port, (a,) = greeters(lab, "a")
    dns, listen = Oracle(lab), lab.reserve()
    dns.set("a.example", host_of(a))
    head = f'control = "unix:{lab.folder}/control"\n'
    eplb = lab.configured(config(listen, dns, f"a.example:{port}", head=head), listen=[listen])
    eplb.config.write_text(config(listen, dns, f"new.example:{port}", head=head))
    assert run_eplb("reload", "-c", str(eplb.config)).returncode == 1
    assert greeting(lab, eplb) == "a"
    assert run_eplb("reload", "--force", "-c", str(eplb.config)).returncode == 0
    eplb.wait_for_message("^service db is not ready")
    dns.set("new.example", host_of(a))
    eplb.wait_for_message("^service db is ready$")
    wait_for_all(lab, eplb, "a")


@pytest.mark.parametrize("failure", ["gone", "SERVFAIL", "silence"])
def test_it_starts_without_dns_and_gets_its_backends_when_there_is_one(lab, failure):
    port, (a,) = greeters(lab, "a")
    listen = lab.reserve()
    if failure == "gone":
        dns = Dnsmasq(lab)
        dns.hosts.write_text(f"{host_of(a)} db.example\n")
        dns.stop()
    else:
        dns = Oracle(lab)
        dns.answers["db.example", A] = FAILURES[failure][0]
    text = config(listen, dns, f"db.example:{port}", more='min_ttl = "200ms"\nmax_ttl = "400ms"', timeout="1s")
    eplb = lab.configured(text, listen=[listen])
    (warning, not_ready) = eplb.messages("warning")
    assert not_ready == "service db is not ready: it has no backend that takes connections"
    assert warning.startswith(f'cannot resolve "db.example" in "db.example:{port}": ')
    assert warning.endswith("it gets its backends when it answers")
    assert ends_with_reset(lab.client(eplb))
    assert eplb.next_session()["end"] == "no_backend"
    # A reload takes nothing from a service that has nothing, so it is not refused.
    assert eplb.reload(text.replace("[[service]]", '[[service]]\nidle_timeout = "5m"'))[-1] == "reloaded"
    if failure == "gone":
        dns.start()
    else:
        dns.set("db.example", host_of(a))
    eplb.wait_for_message("^names: \\+ backend db.example weight 1$")
    wait_for_all(lab, eplb, "a")


def test_it_can_be_stopped_while_it_waits_for_names(lab):
    dns, listen = Oracle(lab), lab.reserve()
    dns.answers["db.example", A] = None
    text = config(listen, dns, "db.example:1")
    eplb = lab.configured(text, listen=[listen], wait=False)
    wait_until(lambda: dns.count("db.example"), "it asks")
    eplb.process.send_signal(signal.SIGTERM)
    eplb.expect_exit(0)


def test_a_check_asks_nobody(lab):
    dns, listen = Oracle(lab), lab.reserve()
    path = lab.folder / "checked.toml"
    path.write_text(config(listen, dns, "db.example:1", "srv:_db._tcp.example"))
    for option in ("-t", "-T"):
        assert run_eplb(option, "-c", str(path)).returncode == 0
    assert run_eplb("-t", "-l", ":1", "-b", "srv:_db._tcp.example,weight=2").returncode == 0
    assert not dns.asked


# --- reloads


@pytest.mark.quick
def test_a_reload_asks_for_new_names_only(lab):
    port, (a, b) = greeters(lab, "ab")
    dns, listen = Oracle(lab, ttl=60), lab.reserve()
    dns.set("a.example", host_of(a))
    dns.set("b.example", host_of(b))
    head = f'control = "unix:{lab.folder}/control"\n'
    long = 'max_ttl = "1h"'
    one = config(listen, dns, f"a.example:{port}", more=long, head=head)
    two = config(listen, dns, f"a.example:{port}", f"b.example:{port}", more=long, head=head)
    eplb = lab.configured(one, listen=[listen])
    eplb.baseline = eplb.sockets()
    other = lab.folder / "new.toml"
    other.write_text(two)
    done = run_eplb("reload", "--dry-run", "-c", str(other))
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.splitlines()[-1] == "+ backend b.example weight 1"
    assert (dns.count("a.example"), dns.count("b.example")) == (1, 1)
    assert greeting(lab, eplb) == "a"
    assert eplb.reload(two)[-2:] == ["reload: + backend b.example weight 1", "reloaded"]
    wait_for_all(lab, eplb, "ab")
    assert eplb.reload()[-1] == "reloaded: nothing has changed"
    assert (dns.count("a.example"), dns.count("b.example")) == (1, 2)

    # One that is not there is a slip; and one that nobody answers for is not taken for a backend.
    told = eplb.reload(two + '[[service.backend]]\naddress = "c.example:1"\n')
    assert told[-1].startswith("not reloaded")
    assert any('cannot resolve "c.example" in "c.example:1": there is no such name' in text for text in told)
    dns.answers["c.example", A] = (SERVFAIL, [])
    told = eplb.reload(two + '[[service.backend]]\naddress = "c.example:1"\n')
    assert told[-1] == "reloaded: nothing has changed" or told[-1] == "reloaded"
    assert any('warning: cannot resolve "c.example" in "c.example:1"' in text for text in told)
    wait_for_all(lab, eplb, "ab")
    told = eplb.reload(config(listen, dns, "c.example:1", more=long, head=head))
    assert told[-1].startswith("not reloaded")
    assert "--force" in told[-2]
    wait_for_all(lab, eplb, "ab")


def test_other_name_servers_are_asked_after_a_reload(lab):
    port, (a, b) = greeters(lab, "ab")
    first, second, listen = Oracle(lab), Oracle(lab), lab.reserve()
    first.set("db.example", host_of(a))
    second.set("db.example", host_of(b))
    eplb = lab.configured(config(listen, first, f"db.example:{port}"), listen=[listen])
    told = eplb.reload(config(listen, second, f"db.example:{port}"))
    assert f'reload: ~ dns servers ["{first.address}"] -> ["{second.address}"]' in told
    assert told[-1] == "reloaded"
    wait_for_all(lab, eplb, "b")
    count = first.count("db.example")
    second.wait_for_questions("db.example")
    assert first.count("db.example") == count


def test_sessions_go_on_while_a_reload_waits_for_a_name(lab):
    port, (a,) = greeters(lab, "a")
    dns, listen = Oracle(lab), lab.reserve()
    dns.set("a.example", host_of(a))
    dns.answers["silent.example", A] = None
    dns.answers["mute.example", A] = None
    text = config(listen, dns, f"a.example:{port}")
    eplb = lab.configured(text, listen=[listen])
    old = lab.client(eplb)
    assert read_exactly(old, 1) == b"a"
    eplb.config.write_text(text + '[[service.backend]]\naddress = "silent.example:1"\n')
    eplb.process.send_signal(signal.SIGHUP)
    wait_until(lambda: dns.count("silent.example"), "it asks")
    for _ in range(20):
        old.sendall(b"x")
        assert read_exactly(old, 1) == b"x"
        assert greeting(lab, eplb) == "a"
    assert not eplb.verdicts()
    dns.end_silence("silent.example", SERVFAIL)
    eplb.wait_for_reload(1)
    # It does not wait for ever.
    eplb.config.write_text(text.replace("60s", "300ms") + '[[service.backend]]\naddress = "mute.example:1"\n')
    eplb.process.send_signal(signal.SIGHUP)
    told = eplb.wait_for_reload(2)
    assert told[-1] == "reloaded"
    assert any(re.search(f'"mute.example:1": {FAILURES["silence"][1]}', text) for text in told)
    old.close()


def test_a_name_that_changes_while_a_reload_waits_for_another_one_is_not_forgotten(lab):
    port, (a, b) = greeters(lab, "ab")
    dns, listen = Oracle(lab), lab.reserve()
    dns.set("a.example", host_of(a))
    dns.answers["silent.example", A] = None
    text = config(listen, dns, f"a.example:{port}", more='min_ttl = "200ms"\nmax_ttl = "200ms"')
    eplb = lab.configured(text, listen=[listen])
    eplb.config.write_text(text + '[[service.backend]]\naddress = "silent.example:1"\n')
    eplb.process.send_signal(signal.SIGHUP)
    wait_until(lambda: dns.count("silent.example"), "it asks")
    dns.set("a.example", host_of(b))
    eplb.wait_for_message(f"^name a.example: \\+ {host_of(b)} - {host_of(a)}$")
    assert not eplb.verdicts()
    dns.end_silence("silent.example", SERVFAIL)
    assert eplb.wait_for_reload(1)[-1] == "reloaded"
    wait_for_all(lab, eplb, "b")
    dns.wait_for_questions("a.example")
    assert len([text for text in eplb.messages() if text.startswith("name a.example")]) == 1


# --- answers that flap


@pytest.mark.parametrize("workers", ["1", "3"])
def test_no_client_fails_while_names_flap_and_reloads_come(lab, workers):
    port, greeted = greeters(lab, "abcd")
    dns, listen = Oracle(lab, ttl=0), lab.reserve()
    sets = [greeted[1:3], greeted[2:], [], [greeted[3], greeted[0]], greeted[:2]]
    dns.set("db.example", *map(host_of, sets[-1]))
    text = config(
        listen, dns, f"db.example:{port}", more='min_ttl = "100ms"', service='on_remove = "drain"\ndrain_timeout = "30s"'
    )
    eplb = lab.configured(text, "-w", workers, listen=[listen])
    served = set()
    changes = 0
    idle = ["5m", "6m"]

    def changed():
        return sum(text.startswith("name db.example") for text in eplb.messages())

    for turn, group in enumerate(itertools.islice(itertools.cycle(sets), 15)):
        dns.set("db.example", *map(host_of, group))
        if turn % 3 == 0:
            eplb.config.write_text(text.replace("[[service]]", f'[[service]]\nidle_timeout = "{idle[turn % 2]}"'))
            eplb.process.send_signal(signal.SIGHUP)
        while True:
            client = lab.client(eplb)
            served.add(read_exactly(client, 1))
            client.sendall(b"x")
            assert read_exactly(client, 1) == b"x"
            client.close()
            if changed() > changes:
                break
        changes = changed()
    assert served == {b"a", b"b", b"c", b"d"}
    wait_until(lambda: len(eplb.verdicts()) == 5, "all reloads are over")
    assert set(eplb.verdicts()) <= {"reloaded", "reloaded: nothing has changed"}
    dns.ttl = 60
    dns.set("db.example", host_of(greeted[0]))
    wait_for_all(lab, eplb, "a")
    assert not [session for session in eplb.sessions() if session["end"] != "client_fin"]


# --- answers that say little


@pytest.mark.quick
@pytest.mark.parametrize("bad", ["0.0.0.0", "our own listener", "too many to check"])
def test_a_bad_answer_keeps_nobody_else_from_being_followed(lab, bad):
    """Nor a reload from being made, and it is told once when it begins and once when it ends."""
    port, (a, b, c) = greeters(lab, "abc")
    dns, listen, other = Oracle(lab, ttl=0), lab.reserve(), lab.reserve()
    own = int(other.rsplit(":", 1)[1])
    if bad == "our own listener":
        (c,) = [lab.greeter("c", where=f"127.0.0.9:{own}")]
    else:
        own = port
    dns.set("a.example", host_of(a))
    dns.set("bad.example", host_of(c))
    text = config(listen, dns, f"a.example:{port}", more='min_ttl = "100ms"\nmax_ttl = "200ms"', head="max_connections = 150")
    text += f'[[service]]\nname = "other"\nlisten = "{other}"\ncheck.type = "tcp"\ncheck.interval = "1h"\n'
    text += f'[[service.backend]]\naddress = "bad.example:{own}"\n'
    eplb = lab.configured(text, listen=[listen, other], nofile=400)
    worst = {"0.0.0.0": ["0.0.0.0"], "our own listener": [other.rsplit(":", 1)[0]]}
    dns.set("bad.example", *worst.get(bad, [f"127.1.0.{n + 1}" for n in range(60)]))
    eplb.wait_for_message("^name bad.example: .*; its last addresses stay$")
    dns.set("a.example", host_of(b))
    wait_for_all(lab, eplb, "b")
    assert eplb.reload(text.replace("1h", "2h"))[-1] == "reloaded"
    client = lab.client(eplb, 1)
    assert read_exactly(client, 1) == b"c"
    client.close()
    dns.set("bad.example", host_of(c))
    eplb.wait_for_message("^name bad.example: answers again$")
    assert sum("its last addresses stay" in text for text in eplb.messages()) == 1


def test_sessions_live_through_rotating_answers_and_their_address_gets_clients_when_it_returns(lab):
    port, greeted = greeters(lab, "abcde")
    dns, listen = Oracle(lab, ttl=0), lab.reserve()
    first, second = greeted[:2], greeted[2:4]
    dns.set("db.example", *map(host_of, first))
    text = config(listen, dns, f"db.example:{port}", more='min_ttl = "100ms"', service='drain_timeout = "100ms"')
    eplb = lab.configured(text, "-w", "2", listen=[listen])
    held = []
    for group, names in [(first, "ab"), (second, "cd"), (first, "ab"), (second, "cd")]:
        dns.set("db.example", *map(host_of, group))
        wait_for_all(lab, eplb, names)
        held += [lab.client(eplb) for _ in range(2)]
        # Each worker has turns of its own, so both may have got the same one.
        assert {read_exactly(client, 1) for client in held[-2:]} <= {name.encode() for name in names}
        # A reload changes nothing of that.
        assert eplb.reload(text.replace("[[service]]", f'[[service]]\nidle_timeout = "{len(held)}m"'))[-1] == "reloaded"
    for client in held:
        client.sendall(b"x")
        assert read_exactly(client, 1) == b"x"
    assert any("is absent from what its name stands for (" in text for text in eplb.messages())
    # Who takes the name away, takes all of it. (One of its addresses by itself would only be called otherwise.)
    assert eplb.reload(config(listen, dns, greeted[4].address))[-1] == "reloaded"
    assert all(ends_with_reset(client) for client in held)


@pytest.mark.parametrize("policy", ["close", "keep"])
def test_a_name_that_has_moved_from_one_address_to_one_other_follows_on_remove(lab, policy):
    port, (a, b) = greeters(lab, "ab")
    dns, listen = Oracle(lab, ttl=0), lab.reserve()
    dns.set("db.example", host_of(a))
    text = config(listen, dns, f"db.example:{port}", service=f'on_remove = "{policy}"')
    eplb = lab.configured(text, listen=[listen])
    old = lab.client(eplb)
    assert read_exactly(old, 1) == b"a"
    dns.set("db.example", host_of(b))
    eplb.wait_for_message(f"^names: - backend db.example/{a.address} \\(1 session: {policy}\\)$")
    wait_for_all(lab, eplb, "b")
    if policy == "close":
        assert ends_with_reset(old)
    else:
        old.sendall(b"x")
        assert read_exactly(old, 1) == b"x"
        old.close()


def test_another_port_of_a_name_needs_no_name_server(lab):
    port, (a,) = greeters(lab, "a")
    b = lab.greeter("b", where=host_of(a) + ":0")
    dns, listen = Oracle(lab, ttl=0), lab.reserve()
    dns.set("db.example", host_of(a))
    text = config(listen, dns, f"db.example:{port}", timeout="1s")
    eplb = lab.configured(text, listen=[listen])
    dns.answers["db.example", A] = None
    other = b.address.rsplit(":", 1)[1]
    assert eplb.reload(text.replace(f"db.example:{port}", f"db.example:{other}"))[-1] == "reloaded"
    wait_for_all(lab, eplb, "b")


@pytest.mark.quick
def test_signals_that_come_while_names_are_asked_for_are_obeyed_when_it_is_ready(lab):
    dns, first, second, listen = Oracle(lab), lab.greeter("1"), lab.greeter("2"), [lab.reserve(), lab.reserve()]
    dns.answers["late.example", A] = None
    waiting = f'[[service]]\nname = "late"\nlisten = "{listen[1]}"\n[[service.backend]]\naddress = "late.example:1"\n'
    eplb = lab.configured(config(listen[0], dns, first.address) + waiting, listen=listen, wait=False)
    wait_until(lambda: dns.count("late.example"), "it asks")
    eplb.config.write_text(config(listen[0], dns, second.address) + waiting)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        eplb.process.send_signal(number)
    eplb.wait_for_message("SIGUSR2")  # the numbers of the others are lower, so they were told before
    dns.set("late.example", "127.0.0.1")
    for query, peer in list(dns.queries):
        dns._answer(query, peer)
    eplb.wait_until_ready()
    assert eplb.wait_for_reload(1)[-1].startswith("reloaded")
    assert greeting(lab, eplb) == "2"
    eplb.baseline = eplb.sockets()
