"""Backends are asked whether they work: what real servers make of that, and what clients notice of one that is gone."""

import collections
import concurrent.futures
import contextlib
import json
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from harness import GUARD, NOBODY, Backend, Lab, dial, ends_with_reset, read_exactly, sockaddr, wait_until

HERE = pathlib.Path(__file__).parent
ELSEWHERE = "192.0.2.1"  # an address of a namespace that is not a loopback one: servers trust those more


# --- eplb with checks ---------------------------------------------------------------------------------------


def check(**keys):
    """A busy server may take its time, unless a test says how much."""
    keys = {"timeout": f"{GUARD}s", **keys}
    return "[service.check]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def service(listen, backends, checks="", *lines, name="db"):
    text = f'[[service]]\nname = "{name}"\nlisten = "{listen}"\n' + "".join(f"{line}\n" for line in lines) + checks
    for backend in backends:
        text += f'[[service.backend]]\naddress = "{getattr(backend, "address", backend)}"\n'
    return text


def without_checks(text):
    return re.sub(r"^\[service\.check\]\n([^\[\n].*\n)*", "", text, flags=re.M)


@pytest.fixture
def lab(lab, request):
    """The questions at the end of each test are for an eplb that has nothing to do."""
    yield lab
    if not getattr(request.node, "failed", True):
        for eplb in lab.eplbs:
            eplb.reload(without_checks(eplb.config.read_text()))


def start(lab, backends, checks, *lines, host="127.0.0.1", workers=1, namespace=None):
    with namespace.entered() if namespace else contextlib.nullcontext():
        listen = lab.reserve(host)
    text = f"workers = {workers}\n" + service(listen, backends, checks, *lines)
    return lab.configured(text, listen=[listen], namespace=namespace)


def start_many(lab, backend, count, checks, namespace):
    """So many services that all check `backend`: many checks soon, and still time for each one's farewell."""
    with namespace.entered():
        listen = [lab.reserve(ELSEWHERE) for _ in range(count)]
    text = "".join(service(address, [backend], checks, name=address) for address in listen)
    return lab.configured(text, listen=listen, namespace=namespace)


def connections_taken(eplb):
    """By whoever listens in the network of eplb, eplb itself included."""
    text = pathlib.Path(f"/proc/{eplb.pid}/net/snmp").read_text()
    names, values = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("PassiveOpens")])


def time_waits(eplb, address):
    """Sockets that eplb's side of connections to `address` has left behind in the kernel."""
    rows = [line.split() for line in pathlib.Path(f"/proc/{eplb.pid}/net/tcp").read_text().splitlines()[1:]]
    port = f":{sockaddr(address)[1][1]:04X}"
    return sum(row[3] == "06" and row[2].endswith(port) for row in rows)


# --- clients that note what they see ------------------------------------------------------------------------

Visit = collections.namedtuple("Visit", "client begin waited name served")


def visit(eplb):
    """A client that says hello to a Greeter: where it came from, when, how long it waited, and for whom."""
    begin = time.monotonic()
    client, name, waited, served = None, b"", None, False
    with contextlib.suppress(ConnectionError), contextlib.closing(dial(eplb.listeners[0])) as sock:
        client = "{}:{}".format(*sock.getsockname())
        name = sock.recv(1)
        waited = time.monotonic() - begin
        if name:
            sock.sendall(b"x")
            served = sock.recv(1) == b"x"
    return Visit(client, begin, waited, name.decode(), served)


def visits(eplb, count, namespace=None):
    """So many clients at once."""

    def one(_):
        with namespace.entered() if namespace else contextlib.nullcontext():
            return visit(eplb)

    eplb.clients += count
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


class Churn:
    """Clients that come and go, some at a time, until stop()."""

    def __init__(self, eplb, width=4, namespace=None):
        self.eplb = eplb
        self.namespace = namespace
        self.seen = []
        self._enough = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(width)
        self._threads = [self._pool.submit(self._run) for _ in range(width)]

    def _run(self):
        with self.namespace.entered() if self.namespace else contextlib.nullcontext():
            while not self._enough.is_set():
                self.seen.append(visit(self.eplb))

    def since(self, begin):
        return [visit for visit in list(self.seen) if visit.begin > begin]

    def wait_for(self, count, since, name=None):
        """Until so many that came later were with `name`, whoever that is."""
        wait_until(
            lambda: sum(name in (None, visit.name) for visit in self.since(since)) >= count, f"{count} clients come"
        )

    def stop(self):
        self._enough.set()
        for thread in self._threads:
            thread.result()  # or what went wrong in it
        self.eplb.clients += len(self.seen)

    def close(self):
        self._enough.set()
        self._pool.shutdown()


def attempts(eplb, visits):
    """How many backends eplb tried for each of them."""
    wait_until(lambda: len(eplb.sessions()) >= eplb.clients, "each session is logged")
    logged = {session["client"]: session["attempts"] for session in eplb.sessions()}
    return [logged[visit.client] for visit in visits]


# --- servers ------------------------------------------------------------------------------------------------


class Server:
    """A process of its own, with a log."""

    def __init__(self, folder, command, answers, namespace=None, user=None, stop=signal.SIGTERM):
        self.log = folder / "log"
        self.stop = stop
        prefix = [*(namespace.prefix() if namespace else []), "setpriv", "--pdeathsig", stop.name[3:]]
        if user:
            prefix += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([*prefix, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def up():
            assert self.process.poll() is None, self.log.read_text()
            return answers(self.log.read_text())

        wait_until(up, f"{command[0]} is up")

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(self.stop)
        try:
            self.process.wait(GUARD)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def ask(*command, sql=None, namespace=None):
    """Runs a server's own client, for what it says."""
    return subprocess.run(
        [*(namespace.prefix() if namespace else []), *command], input=sql, capture_output=True, text=True, timeout=GUARD
    )


def told(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@contextlib.contextmanager
def room_for_a_server(*tools):
    """What a server needs that several tests share. `tools`: programs, and the Debian package that has them."""
    for tool, package in tools:
        assert shutil.which(tool), f"{tool} is missing: apt-get install {package}"
    with tempfile.TemporaryDirectory(prefix="eplb-checks-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        lab = Lab(folder)
        stack.callback(lab.finish, failed=True)
        network = lab.namespace()
        network.run("ip", "address", "add", f"{ELSEWHERE}/24", "dev", "lo")
        with network.entered():
            address = lab.reserve(ELSEWHERE)
        yield lab, network, address


# --- MariaDB ------------------------------------------------------------------------------------------------


class MariaDb:
    """One that has little patience with those who connect and do not log in, unless they come from 127.0.0.1."""

    def __init__(self, lab, network, address):
        self.address, self.network = address, network
        self.socket = lab.folder / "socket"
        # One that starts removes from its tmpdir the temporary tables of all others.
        files = [f"--datadir={lab.folder}/data", f"--tmpdir={lab.folder}", "--user=root"]
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", *files, "--skip-test-db",
             "--auth-root-authentication-method=normal"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        host, port = address.rsplit(":", 1)
        # It counts the mistakes of hosts whose names it could look up, or knows that they have none.
        hosts = lab.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{host} balancer\n")
        with_hosts = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
        self.server = lab.keep(
            Server(
                lab.folder,
                [*with_hosts, "mariadbd", "--no-defaults", *files, f"--socket={self.socket}", f"--bind-address={host}",
                 f"--port={port}", f"--pid-file={lab.folder}/pid", "--max-connect-errors=10", "--log-warnings=2",
                 "--userstat=1", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"],
                lambda log: "ready for connections" in log,
                namespace=network,
            )
        )  # fmt: skip
        self.query("CREATE USER eplb@'%'; CREATE USER app@'%';")

    def query(self, sql):
        return told(self.client("--socket", str(self.socket), "--user=root", sql=sql))

    def client(self, *where, sql="SELECT 'hello';"):
        return ask("mariadb", "--no-defaults", "--batch", "--skip-column-names", "--skip-ssl", *where, sql=sql,
                   namespace=self.network)  # fmt: skip

    def through(self, eplb):
        host, port = eplb.listeners[0].rsplit(":", 1)
        eplb.clients += 1
        return self.client("--host", host, "--port", port, "--protocol=tcp", "--user=app")

    def aborted_connects(self):
        return int(self.query("SHOW GLOBAL STATUS LIKE 'Aborted_connects';")[1])


@pytest.fixture(scope="module")
def shared_mariadb():
    tools = (("mariadbd", "mariadb-server"), ("mariadb-install-db", "mariadb-server"), ("mariadb", "mariadb-client"))
    with room_for_a_server(*tools) as room:
        yield MariaDb(*room)


@pytest.fixture
def mariadb(shared_mariadb):
    shared_mariadb.query("FLUSH HOSTS;")
    return shared_mariadb


def test_a_thousand_checks_are_no_mistakes_for_mariadb(lab, mariadb):
    log, aborted = mariadb.server.log.read_text(), mariadb.aborted_connects()
    checks = check(type="mysql", user="eplb", interval="500ms", fall=1)
    eplb = start_many(lab, mariadb, 100, checks, mariadb.network)
    logins = "SELECT coalesce(sum(total_connections), 0) FROM information_schema.user_statistics WHERE user = 'eplb';"
    wait_until(lambda: int(mariadb.query(f"DO SLEEP(0.1); {logins}")[0]) >= 1000, "mariadbd has seen 1000 logins")
    assert time_waits(eplb, mariadb.address) == 0
    assert told(mariadb.through(eplb)) == ["hello"]
    assert mariadb.aborted_connects() == aborted
    assert mariadb.server.log.read_text() == log
    assert not [text for text in eplb.messages() if "is down" in text]


def test_mariadb_takes_those_who_only_listen_to_it_for_attackers(lab, mariadb):
    """So the test above is about something: whoever leaves without an answer to the greeting is counted."""
    aborted = mariadb.aborted_connects()
    checks = check(type="send_expect", expect="MariaDB", interval="10ms")
    eplb = start(lab, [mariadb], checks, host=ELSEWHERE, namespace=mariadb.network)
    eplb.wait_for_message("is down")
    assert mariadb.aborted_connects() >= aborted + 10
    done = mariadb.through(eplb)
    assert done.returncode != 0
    assert "1129" in done.stderr


def test_mariadb_complains_of_tcp_checks(lab, mariadb):
    """They are gone before it has accepted them, as a rule, and then it does not know whose mistake that was."""
    log, aborted = mariadb.server.log.read_text(), mariadb.aborted_connects()
    eplb = start(lab, [mariadb], check(type="tcp", interval="10ms"), host=ELSEWHERE, namespace=mariadb.network)
    wait_until(lambda: mariadb.aborted_connects() >= aborted + 20, "mariadbd has seen 20 checks")
    wait_until(lambda: "unauthenticated" in mariadb.server.log.read_text()[len(log) :], "it logs them")
    assert not [text for text in eplb.messages() if "is down" in text]


# --- PostgreSQL ---------------------------------------------------------------------------------------------


class Postgres:
    HELPERS = ("autovacuum", "background writer", "checkpointer", "logical replication", "walwriter")  # processes

    def __init__(self, lab, network, address):
        self.address, self.network, self.folder = address, network, lab.folder / "postgres"
        self.folder.mkdir()
        shutil.chown(self.folder, NOBODY, NOBODY)
        data = self.folder / "data"
        as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        subprocess.run(
            [*as_nobody, self.program("initdb"), "--pgdata", data, "--username=postgres", "--auth=trust", "--no-sync",
             "--encoding=UTF8", "--locale=C"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=self.folder, check=True,
        )  # fmt: skip
        with open(data / "pg_hba.conf", "a") as rules:
            rules.write(f"host all all {ELSEWHERE}/32 trust\n")
        host, self.port = address.rsplit(":", 1)
        self.server = lab.keep(
            Server(
                lab.folder,
                [self.program("postgres"), "-D", str(data), "-h", host, "-p", self.port, "-k", str(self.folder), "-F",
                 "-c", "shared_buffers=16MB"],
                lambda log: "ready to accept connections" in log,
                namespace=network,
                user=NOBODY,
                stop=signal.SIGINT,
            )
        )  # fmt: skip
        self.query("CREATE ROLE eplb LOGIN;", host=self.folder, port=self.port)

    @staticmethod
    def program(name):
        return str(max(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))

    def is_at_rest(self):
        """Nobody waits to be accepted, and the processes that serve clients, whatever they have to log, are gone."""
        port = f":{int(self.port):04X}"
        table = pathlib.Path(f"/proc/{self.server.process.pid}/net/tcp").read_text()
        sockets = [line.split() for line in table.splitlines()]
        waiting = [int(row[4].split(":")[1], 16) for row in sockets if row[1].endswith(port) and row[3] == "0A"]
        assert len(waiting) == 1
        children = ask("ps", "-o", "args=", "--ppid", str(self.server.process.pid)).stdout.splitlines()
        return waiting == [0] and all(any(helper in title for helper in self.HELPERS) for title in children)

    def query(self, sql, host, port, user="postgres"):
        return told(
            ask(self.program("psql"), "-XAtq", "-h", str(host), "-p", port, "-U", user, "postgres", sql=sql,
                namespace=self.network)
        )  # fmt: skip


@pytest.fixture(scope="module")
def postgres():
    assert list(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")), "missing: apt-get install postgresql"
    with room_for_a_server() as room:
        yield Postgres(*room)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"type": "postgres", "user": "eplb", "database": "postgres", "interval": "1s"}, id="user"),
        pytest.param({"type": "postgres", "interval": "200ms"}, id="no-user"),
        pytest.param({"type": "tcp", "interval": "200ms"}, id="tcp"),
    ],
)
def test_postgres_logs_nothing_of_its_own_checks(lab, postgres, keys):
    wait_until(postgres.is_at_rest, "the checks of another test, cut off at its end, are over")
    log = postgres.server.log.read_text()
    eplb = start_many(lab, postgres, 30, check(**keys, fall=1), postgres.network)
    before = connections_taken(eplb)
    wait_until(lambda: connections_taken(eplb) >= before + 200, "postgres has seen 200 checks")
    host, port = eplb.listeners[0].rsplit(":", 1)
    eplb.clients += 1
    assert postgres.query("SELECT 'hello';", host, port, user="eplb") == ["hello"]
    assert not [text for text in eplb.messages() if "is down" in text]
    news = postgres.server.log.read_text()[len(log) :]
    if keys["type"] == "tcp":  # or the others would show nothing
        assert "could not receive data from client" in news
    else:
        assert news == ""


# --- Redis --------------------------------------------------------------------------------------------------


@pytest.fixture
def redis(lab):
    assert shutil.which("redis-server"), "redis-server is missing: apt-get install redis-server"
    address = lab.reserve()
    folder = lab.folder / "redis"
    folder.mkdir()
    port = address.rsplit(":", 1)[1]
    server = Server(
        folder,
        ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", str(folder), "--save", "",
         "--appendonly", "no", "--requirepass", "open sesame"],
        lambda log: "Ready to accept connections" in log,
    )  # fmt: skip
    server.address = address
    return lab.keep(server)


def test_a_redis_that_is_stopped_is_down_until_it_goes_on(lab, redis):
    patient, impatient = f'timeout = "{GUARD}s"', 'timeout = "200ms"'
    checks = check(type="redis", interval="50ms", password="open sesame", rise=2, fall=3)
    eplb = start(lab, [redis], checks, 'when_all_down = "refuse"')

    def is_refused():
        with lab.client(eplb) as client, contextlib.suppress(ConnectionResetError):
            client.sendall(b"PING\r\n")
            return read_exactly(client, 7) != b"-NOAUTH"
        return True

    assert not is_refused()
    redis.process.send_signal(signal.SIGSTOP)
    eplb.reload(eplb.config.read_text().replace(patient, impatient))
    eplb.wait_for_message("is down: timeout after 200ms while waiting for the answer to AUTH")
    assert is_refused()
    eplb.reload(eplb.config.read_text().replace(impatient, patient))
    redis.process.send_signal(signal.SIGCONT)
    eplb.wait_for_message("is up")
    assert not is_refused()
    eplb.reload(eplb.config.read_text().replace("open sesame", "open says me"))
    eplb.wait_for_message("is down: redis: WRONGPASS")


# --- backends that are gone ---------------------------------------------------------------------------------


class GreeterProcess:
    """A Greeter that can be killed."""

    CODE = "import harness, signal, sys; print(harness.Greeter(sys.argv[1], where=sys.argv[2]).address); signal.pause()"

    def __init__(self, name, where):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-u", "-c", self.CODE, name, where],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=HERE, text=True,
        )  # fmt: skip
        self.address = self.process.stdout.readline().strip()
        assert self.address, "it did not start"

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_backend_that_is_killed_costs_no_more_than_the_sessions_on_it(lab, workers):
    a, b = lab.keep(GreeterProcess("a", lab.reserve())), lab.greeter("b")
    checks = check(type="tcp", interval="50ms", fall=2)
    eplb = start(lab, [a, b], checks, "eject_after = 0", workers=workers)
    churn = lab.keep(Churn(eplb))
    churn.wait_for(20, 0, "a")

    a.close()
    killed = time.monotonic()
    eplb.wait_for_message(rf"{a.address} .* is down: connect: Connection refused")
    down = time.monotonic()
    churn.wait_for(100, down)
    while_down = churn.since(down)
    back = lab.keep(GreeterProcess("a", a.address))
    assert back.address == a.address
    eplb.wait_for_message(rf"{a.address} .* is up")
    churn.wait_for(20, time.monotonic(), "a")
    churn.stop()

    assert all(visit.served for visit in churn.since(killed))
    assert {visit.name for visit in while_down} == {"b"}
    assert set(attempts(eplb, while_down)) == {1}
    assert all(visit.name in ("", "a") for visit in churn.seen if not visit.served)


@pytest.fixture
def black_hole(lab):
    """A network in which the connections to backend "a" can be made to vanish."""
    network = lab.namespace()
    with network.entered():
        a, b = lab.greeter("a"), lab.greeter("b")
    port = a.address.rsplit(":", 1)[1]
    return network, a, b, [f"tcp dport {port} tcp flags & (syn | ack) == syn drop"]


def test_a_black_hole_is_out_after_a_few_checks_and_costs_nobody_more_than_a_timeout(lab, black_hole):
    network, a, b, swallow = black_hole
    checks = check(type="tcp", interval="50ms", timeout="200ms", fall=3)
    eplb = start(lab, [a, b], checks, 'connect_timeout = "4s"', "eject_after = 0", namespace=network)
    churn = lab.keep(Churn(eplb, namespace=network))
    churn.wait_for(10, 0, "a")

    network.firewall(swallow, hook="input")
    eplb.wait_for_message(rf"{a.address} .* is down: timeout after 200ms while connecting")
    down = time.monotonic()
    churn.wait_for(50, down)
    while_down = churn.since(down)
    network.firewall([])
    eplb.wait_for_message(rf"{a.address} .* is up")
    churn.wait_for(10, time.monotonic(), "a")
    churn.stop()

    assert all(visit.served for visit in churn.seen)
    assert set(attempts(eplb, churn.seen)) == {1, 2}
    timed_out = {"backend": a.address, "error": "timeout"}
    assert all(session.get("tried", [timed_out]) == [timed_out] for session in eplb.sessions())
    assert {visit.name for visit in while_down} == {"b"}
    assert set(attempts(eplb, while_down)) == {1}


def test_a_black_hole_without_checks_is_left_alone_when_three_clients_have_waited(lab, black_hole):
    network, a, b, swallow = black_hole
    eplb = start(lab, [a, b], "", 'connect_timeout = "4s"', 'ejection_time = "1m"', namespace=network)
    network.firewall(swallow, hook="input")
    first = visits(eplb, 6, network)
    assert sorted(attempts(eplb, first)) == [1, 1, 1, 2, 2, 2]
    eplb.wait_for_message(rf"{a.address} .* is left alone for 1m: 3 clients in a row could not connect")
    later = visits(eplb, 10, network)
    assert set(attempts(eplb, later)) == {1}
    assert {visit.name for visit in first + later} == {"b"}
    assert all(visit.served for visit in first + later)


# --- HTTP ---------------------------------------------------------------------------------------------------


class StatusPage(Backend):
    """Says `status` to whoever asks; first what is in `script`, as long as there is any."""

    def __init__(self, where="127.0.0.1:0", status=200):
        super().__init__(where)
        self.status = status
        self.script = collections.deque()
        self.requests = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        self.listener.settimeout(None)
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.settimeout(GUARD)
                request = b""
                while b"\r\n\r\n" not in request and (data := sock.recv(4096)):
                    request += data
                if not request:
                    continue
                status = self.answer()
                sock.sendall(f"HTTP/1.0 {status} Whatever\r\n\r\nbody".encode())
                self.requests.append(request.decode().splitlines()[0])

    def answer(self):
        return self.script.popleft() if self.script else self.status

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        super().close()


class SlowPage(StatusPage):
    """Says nothing before it is told to."""

    def __init__(self, *args):
        self.may_answer = threading.Event()
        self.asked = threading.Event()
        super().__init__(*args)

    def answer(self):
        self.asked.set()
        assert self.may_answer.wait(GUARD)
        return self.status


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("status", [200, 503])
def test_a_backend_that_comes_by_a_reload_waits_for_its_first_check(lab, workers, status):
    network = lab.namespace()  # where a port is free on both hosts
    with network.entered():
        servers = [lab.greeter(name, where=f"127.0.0.{n}:0") for n, name in ((1, "a"), (2, "b"))]
        pages = [lab.keep(StatusPage())]
        port = int(pages[0].address.rsplit(":", 1)[1])
        pages.append(lab.keep(SlowPage(f"127.0.0.2:{port}", status)))
    keys = check(type="http", port=port, path="/", status=200, interval="20ms", rise=1)
    eplb = start(lab, servers[:1], keys, workers=workers, namespace=network)

    def names(count):
        with network.entered():
            return {read_exactly(lab.client(eplb), 1) for _ in range(count)}

    wait_until(lambda: pages[0].requests, "the first one was asked")
    with network.entered():  # clients all the time, not only when everybody knows
        clients = [lab.keep(eplb.connect()) for _ in range(20)]
        eplb.reload(f"workers = {workers}\n" + service(eplb.listeners[0], servers, keys))
        clients += [lab.keep(eplb.connect()) for _ in range(20)]
    assert {read_exactly(client, 1) for client in clients} == {b"a"}
    assert pages[1].asked.wait(GUARD)
    assert names(20) == {b"a"}
    pages[1].may_answer.set()
    if status == 200:
        eplb.wait_for_message(rf"{servers[1].address} .* is up")
        wait_until(lambda: names(4) == {b"a", b"b"}, "it serves")
        return
    eplb.wait_for_message(rf"{servers[1].address} .* is down: http: status 503")
    assert names(20) == {b"a"}
    # Out and in again: it is not up because of that.
    one, two = (f"workers = {workers}\n" + service(eplb.listeners[0], s, keys) for s in (servers[:1], servers))
    pages[1].may_answer.clear()
    for text in (one, one + "\n", two):
        eplb.reload(text)
    assert names(20) == {b"a"}
    pages[1].may_answer.set()


@pytest.mark.quick
@pytest.mark.parametrize("workers", [1, 3])
def test_sessions_are_reset_when_the_primary_moves_and_new_ones_follow_it(lab, workers):
    network = lab.namespace()  # where a port is free on both hosts
    with network.entered():
        databases = [lab.greeter(name, where=f"127.0.0.{n}:0") for n, name in ((1, "a"), (2, "b"))]
        pages = [lab.keep(StatusPage())]
        port = int(pages[0].address.rsplit(":", 1)[1])
        pages.append(lab.keep(StatusPage(f"127.0.0.2:{port}", 503)))
    keys = {"type": "http", "port": port, "path": "/primary", "status": 200, "interval": "20ms"}
    lines = ['on_down = "close"', 'when_all_down = "refuse"']
    eplb = start(lab, databases, check(**keys), *lines, workers=workers, namespace=network)
    eplb.wait_for_message(rf"{databases[1].address} .* is down: http: status 503")

    def clients(count):
        with network.entered():
            return [lab.client(eplb) for _ in range(count)]

    old = clients(6)
    assert [read_exactly(client, 1) for client in old] == [b"a"] * 6
    pages[0].status, pages[1].status = 503, 200
    assert all(ends_with_reset(client) for client in old)
    assert {eplb.next_session()["end"] for _ in old} == {"backend_down"}
    eplb.wait_for_message(rf"{databases[1].address} .* is up")
    new = clients(6)
    assert [read_exactly(client, 1) for client in new] == [b"b"] * 6
    assert {request for page in pages for request in page.requests} == {"GET /primary HTTP/1.1"}


@pytest.mark.quick
def test_one_failure_less_than_fall_changes_nothing(lab):
    page = lab.keep(StatusPage())
    eplb = start(lab, [page], check(type="http", interval="10ms", rise=2, fall=3))

    def answer(*statuses):
        page.script.extend(statuses)
        count = len(page.requests) + len(statuses)
        wait_until(lambda: len(page.requests) > count, "it was asked all that, and once more")
        return [text for text in eplb.messages() if re.search("is (down|up)", text)]

    assert answer(200, 503, 503, 200, 503, 503, 200) == []
    page.status = 503
    eplb.wait_for_message("is down: http: status 503")
    assert len(answer(200, 503, 200, 503)) == 1
    page.status = 200
    eplb.wait_for_message("is up")


# --- servers that are no good -------------------------------------------------------------------------------


class Nuisance(Backend):
    """Takes one connection after another and misbehaves until the other side has enough of it."""

    def __init__(self, misbehave):
        super().__init__()
        self.misbehave = misbehave
        self.current = 0  # number of the connection that it has, else 0
        self.durations = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        self.listener.settimeout(None)
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            begin = time.monotonic()
            self.current = len(self.durations) + 1
            with sock, contextlib.suppress(ConnectionError):
                sock.settimeout(GUARD)
                self.misbehave(sock)
            self.current = 0
            self.durations.append(time.monotonic() - begin)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        super().close()


def say_nothing(sock):
    while sock.recv(4096):
        pass


def say_a_byte_at_a_time(sock):
    while not select.select([sock], [], [], 0.01)[0] or sock.recv(4096):
        sock.sendall(b"P")


def say_too_much(sock):
    while True:
        sock.sendall(bytes(1 << 16))


@pytest.mark.quick
@pytest.mark.parametrize("misbehave", [say_nothing, say_a_byte_at_a_time, say_too_much])
def test_a_server_that_is_asked_in_vain_holds_nobody_up(lab, misbehave):
    database, nuisance = lab.greeter("a"), lab.keep(Nuisance(misbehave))
    keys = {"type": "send_expect", "send": "PING\r\n", "expect": "PONG", "address": nuisance.address}
    quick = misbehave is say_too_much  # which ends a check by itself
    if not quick:
        keys["timeout"] = "300ms"
    eplb = start(lab, [database], check(**keys, interval="10ms"))
    client = lab.client(eplb)
    assert read_exactly(client, 1) == b"a"
    answered_meanwhile = 0
    # On a busy machine some are accepted late, or all of the answers come between two of them.
    while len(nuisance.durations) < 4 or not (quick or answered_meanwhile and max(nuisance.durations) > 0.25):
        before = nuisance.current
        client.sendall(b"x")
        assert read_exactly(client, 1) == b"x"
        answered_meanwhile += nuisance.current == before != 0
    cause = "4096 bytes without" if quick else "timeout after 300ms while waiting for"
    eplb.wait_for_message(f"is down: {cause} the expected answer")


# --- reload -------------------------------------------------------------------------------------------------


@pytest.mark.quick
def test_a_reload_changes_how_backends_are_asked(lab):
    a, b, listen = lab.greeter("a"), lab.greeter("b"), lab.reserve()
    eplb = lab.configured(service(listen, [a, b], check(type="tcp", interval="10ms")), listen=[listen])
    wait_until(lambda: min(a.served, b.served) >= 5, "both are asked")
    vain = {"type": "send_expect", "send": "?", "expect": "never", "interval": "10ms", "timeout": "50ms"}
    eplb.reload(service(listen, [a, b], check(**vain)))
    for backend in (a, b):
        eplb.wait_for_message(rf"{backend.address} of db is down: timeout after 50ms")
    # The greeter's name is an answer, too.
    eplb.reload(service(listen, [a, b], check(**{**vain, "expect": "a", "timeout": f"{GUARD}s"})))
    eplb.wait_for_message(rf"{a.address} of db is up")
    assert {visit.name for visit in visits(eplb, 6)} == {"a"}
    eplb.reload(service(listen, [a, b]))
    eplb.wait_for_message(rf"{b.address} of db is not checked any more")
    assert {visit.name for visit in visits(eplb, 6)} == {"a", "b"}


@pytest.mark.quick
@pytest.mark.parametrize("gone", ["backend", "check", "service"])
def test_nobody_asks_a_backend_that_is_gone(lab, gone):
    a, b, listen = lab.greeter("a"), lab.greeter("b"), [lab.reserve(), lab.reserve()]
    checks = check(type="tcp", interval="10ms")
    stays = service(listen[0], [a], checks, name="stays")
    eplb = lab.configured(stays + service(listen[1], [a, b], checks), listen=listen)
    wait_until(lambda: b.served >= 5, "it is asked")
    after = {
        "backend": service(listen[1], [a], checks),
        "check": service(listen[1], [a, b]),
        "service": "",
    }
    eplb.reload(stays + after[gone])

    def until_others_are_asked():
        count = a.served + 20
        wait_until(lambda: a.served >= count, "the other one is asked")
        return b.served

    assert until_others_are_asked() == until_others_are_asked()


# --- what checks take, and what they say --------------------------------------------------------------------


def test_checks_leave_no_descriptors_behind(lab):
    network, kinds = lab.namespace(), {}  # where the TIME_WAITs are ours
    with network.entered():
        page = lab.keep(StatusPage())
        kinds["tcp"] = (lab.greeter("a"), {"type": "tcp"})
        kinds["expect"] = (lab.greeter("b"), {"type": "send_expect", "send": "?", "expect": "?"})
        kinds["send"] = (lab.greeter("c"), {"type": "send_expect", "send": "?"})
        kinds["disappointed"] = (lab.greeter("d"), {"type": "redis"})
        kinds["http"] = (page, {"type": "http"})
        kinds["refused"] = (lab.reserve(), {"type": "tcp"})
        listen = {name: lab.reserve() for name in kinds}
    text = "".join(
        service(listen[name], [backend], check(**keys, interval="10ms"), name=name)
        for name, (backend, keys) in kinds.items()
    )
    eplb = lab.configured(without_checks(text), listen=list(listen.values()), namespace=network)
    before = eplb.descriptors()
    eplb.reload(text)
    greeters = [backend for backend, _ in kinds.values() if hasattr(backend, "served")]
    wait_until(lambda: min(len(page.requests), *(g.served for g in greeters)) >= 200, "all have seen 200 checks")
    assert len(eplb.descriptors()) <= len(before) + len(kinds)
    eplb.reload(without_checks(text))
    assert eplb.descriptors().keys() == before.keys()
    # Nor anything in the kernel, where a reset does no harm.
    assert time_waits(eplb, kinds["tcp"][0].address) == 0


@pytest.mark.quick
def test_a_backend_that_expects_a_proxy_header_gets_one_for_nobody(lab):
    backend, listen = lab.backend(), lab.reserve()
    checks = check(type="send_expect", send="?", expect="!", interval="10ms")
    text = service(listen, [backend], checks, 'send_proxy = "v2"')
    eplb = lab.configured(text, listen=[listen])

    def read_header(sock):
        head = read_exactly(sock, 16)
        assert head[:12] == b"\r\n\r\n\x00\r\nQUIT\n"
        read_exactly(sock, struct.unpack("!H", head[14:])[0])
        return head[12]

    local, proxy = 0x20, 0x21
    for _ in range(3):
        with backend.accept() as sock:
            assert read_header(sock) == local
            assert read_exactly(sock, 1) == b"?"
            sock.sendall(b"!")
    eplb.reload(without_checks(text))
    lab.client(eplb).sendall(b"hello")
    while True:  # the last checks may still be in the backlog
        with backend.accept() as sock, contextlib.suppress(ConnectionResetError, AssertionError):
            if read_header(sock) == proxy:
                assert read_exactly(sock, 5) == b"hello"
                break
    assert not [text for text in eplb.messages() if "is down" in text]


def test_checks_are_for_all_workers_together(lab):
    backend = lab.greeter("a")
    eplb = start(lab, [backend], check(type="tcp", interval="50ms"), workers=3)
    wait_until(lambda: backend.served > 0 and not backend.pending(), "it is asked")
    begin, before = time.monotonic(), backend.served
    wait_until(lambda: backend.served >= before + 30, "it was asked 30 times")
    count = backend.served - before
    # An interval may be a tenth shorter; some connections may have waited to be accepted, and counted.
    assert count <= (time.monotonic() - begin) / 0.045 + 5
    assert any("3 worker" in text for text in eplb.messages("info"))
