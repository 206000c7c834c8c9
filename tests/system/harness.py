"""Starts the real eplb with real sockets, and plays its clients and its backends.

A test gets a `Lab` (conftest.py) and from it everything else: eplb itself (`lab.eplb`), backends, clients,
reserved ports, network namespaces. What the lab gave out it closes when the test is over, and then it
asks every eplb that it started the same questions, whatever the test was about: `Eplb.check_quiet` and
`Eplb.stop`.

Nothing here waits for a fixed time. A time limit is a guard against hanging, never an expectation.
"""

import contextlib
import ctypes
import errno
import fcntl
import itertools
import json
import os
import pathlib
import random
import re
import resource
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import termios
import threading
import time

import pytest

GUARD = 120  # seconds; far more than anything here takes, even with sanitizers on a busy machine
NOBODY = 65534
# Whom "nobody" stands for where eplb runs. Processes that run tests at the same time have one each, for the kernel
# counts pipes by user.
STRANGER = 60000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def every_way(quick=False):
    """Runs a test, which passes `**way` on to lab.eplb(), in each relay mode, and with and without privileges:
    for an ordinary user the kernel shrinks pipes to two slots once the user has many (pipe(7))."""
    quick_ones = [("auto", "root"), ("splice", "nobody")] if quick else []
    return pytest.mark.parametrize(
        "way",
        [
            pytest.param(
                {"relay": relay, "user": user},
                id=f"{relay}-{user}",
                marks=[pytest.mark.quick] if (relay, user) in quick_ones else [],
            )
            for relay in ("auto", "splice", "copy")
            for user in ("root", "nobody")
        ],
    )


def wait_until(condition, what, timeout=GUARD):
    """Polls until `condition()` is true and returns what it gave."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"gave up after {timeout} s waiting until {what}"
        time.sleep(0.005)


def pattern(size, key=0):
    """Bytes that look like no other key's, nor like themselves at another place."""
    return random.Random(f"{key}").randbytes(size)


# --- addresses and sockets ------------------------------------------------------------------------------


def sockaddr(text):
    """"127.0.0.1:80", "[::1]:80", "unix:/path", "unix:@name" -> (family, what Python's sockets take)."""
    if text.startswith("unix:@"):
        return socket.AF_UNIX, "\0" + text[6:]
    if text.startswith("unix:"):
        return socket.AF_UNIX, text[5:]
    host, port = text.rsplit(":", 1)
    if host.startswith("["):
        host, _, scope = host[1:-1].partition("%")
        return socket.AF_INET6, (host, int(port), 0, socket.if_nametoindex(scope) if scope else 0)
    return socket.AF_INET, (host or "127.0.0.1", int(port))


def text_address(sock):
    """The address that a socket is bound to, as eplb writes it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        if isinstance(name, bytes):
            return "unix:@" + name[1:].decode()
        return "unix:" + name.replace("\0", "@", 1)
    if sock.family == socket.AF_INET:
        return f"{name[0]}:{name[1]}"
    host = name[0].partition("%")[0] + (f"%{socket.if_indextoname(name[3])}" if name[3] else "")
    return f"[{host}]:{name[1]}"


def new_socket(family, rcvbuf=None, sndbuf=None):
    sock = socket.socket(family, socket.SOCK_STREAM)
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    if sndbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
    return sock


def dial(address, rcvbuf=None, sndbuf=None):
    family, target = sockaddr(address)
    sock = new_socket(family, rcvbuf, sndbuf)
    sock.settimeout(GUARD)
    try:
        sock.connect(target)
    except BaseException:
        sock.close()
        raise
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class CutOff(socket.socket):
    """A connection that was made, and reset before connect(2) had returned: the kernel tells a reset once."""

    def _fail(self, *_):
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    recv = recv_into = send = sendall = _fail


def reset(sock):
    """Closes so that the peer gets an RST instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_exactly(sock, size):
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(min(size - len(data), 1 << 20))
        assert chunk, f"end of stream after {len(data)} of {size} bytes"
        data += chunk
    return bytes(data)


def read_to_end(sock):
    """Everything up to the FIN. ConnectionResetError if it ends with an RST instead."""
    data = bytearray()
    while chunk := sock.recv(1 << 20):
        data += chunk
    return bytes(data)


def ends_with_reset(sock):
    """Reads on; True if the stream ends with an RST, False if with a FIN."""
    try:
        read_to_end(sock)
    except ConnectionResetError:
        return True
    return False


def wait_for_reset(sock):
    """For a stream whose FIN was read before: what follows shows in poll(2) only."""
    if isinstance(sock, CutOff):
        return
    poll = select.poll()
    poll.register(sock, 0)
    wait_until(lambda: any(events & select.POLLERR for _, events in poll.poll(100)), "the reset arrives")


def wait_until_acknowledged(sock):
    """Until the peer's kernel has every byte: an RST that follows cannot overtake them."""

    def in_flight():
        return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]

    wait_until(lambda: in_flight() == 0, "sent bytes are acknowledged")


class Backend:
    """A listening socket whose sessions the test plays by hand. `address` is what eplb's -b takes."""

    def __init__(self, where="127.0.0.1:0", rcvbuf=None, sndbuf=None, backlog=1024):
        family, target = sockaddr(where)
        self.listener = new_socket(family, rcvbuf, sndbuf)  # accepted sockets inherit the buffer sizes
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(target)
        self.listener.listen(backlog)
        self.listener.settimeout(GUARD)
        self.address = text_address(self.listener)
        if family == socket.AF_UNIX and target[0] != "\0":
            os.chmod(target, 0o666)  # eplb may run as another user

    def accept(self):
        sock, _ = self.listener.accept()
        sock.settimeout(GUARD)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def pending(self):
        """Whether a connection waits to be accepted."""
        return bool(select.select([self.listener], [], [], 0)[0])

    def close(self):
        self.listener.close()


class Greeter(Backend):
    """Serves by itself: sends its name at once, as server-first protocols do, then echoes until the end."""

    def __init__(self, name, **options):
        super().__init__(**options)
        self.name = name.encode()
        self.served = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        self.listener.settimeout(None)
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.served += 1
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock):
        with sock, contextlib.suppress(OSError):
            sock.sendall(self.name)
            while data := sock.recv(65536):
                sock.sendall(data)

    def close(self):
        # close(2) alone would leave accept(2) in the other thread waiting, and the port open.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        super().close()


# --- many streams at once -------------------------------------------------------------------------------


class Stalled(AssertionError):
    """Nothing moved, although not everything was over."""


class Peer:
    """One end of a stream, for drive(): sends `send`, then a FIN, while it receives.

    With `expect`, every received byte is compared on arrival; without, it is kept in `data`.
    """

    def __init__(self, sock, send=b"", expect=None, fin=True, reading=True, read_size=1 << 18, write_size=1 << 18):
        sock.setblocking(False)
        self.sock = sock
        self.outgoing = memoryview(send)
        self.expect = None if expect is None else memoryview(expect)
        self.fin = fin
        self.reading = reading
        self.read_size = read_size
        self.write_size = write_size
        self.sent = 0
        self.received = 0
        self.data = bytearray()
        self.fin_sent = False
        self.fin_received = False
        self.was_reset = False

    @property
    def all_sent(self):
        return self.sent == len(self.outgoing) and (self.fin_sent or not self.fin)

    @property
    def complete(self):
        """Everything was sent, and everything expected was received, up to the FIN."""
        right_size = self.expect is None or self.received == len(self.expect)
        return self.all_sent and self.fin_received and right_size

    @property
    def over(self):
        return self.was_reset or (self.all_sent and self.fin_received)

    def events(self):
        if self.was_reset:
            return 0
        reads = select.EPOLLIN if self.reading and not self.fin_received else 0
        return reads | (0 if self.all_sent else select.EPOLLOUT)

    def step(self, events):
        try:
            if events & ~select.EPOLLIN and not self.all_sent:
                self._write()
            if events & ~select.EPOLLOUT and self.reading and not self.fin_received:
                self._read()
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
                raise
            self.was_reset = True

    def _write(self):
        if self.sent < len(self.outgoing):
            self.sent += self.sock.send(self.outgoing[self.sent : self.sent + self.write_size])
        # Right behind the last byte, so that they can share a segment.
        if self.sent == len(self.outgoing) and self.fin and not self.fin_sent:
            self.sock.shutdown(socket.SHUT_WR)
            self.fin_sent = True

    def _read(self):
        chunk = self.sock.recv(self.read_size)
        if not chunk:
            self.fin_received = True
        elif self.expect is None:
            self.data += chunk
        else:
            expected = self.expect[self.received : self.received + len(chunk)]
            assert chunk == expected, f"wrong bytes between {self.received} and {self.received + len(chunk)}"
        self.received += len(chunk)

    def __repr__(self):
        return (
            f"<peer sent {self.sent}/{len(self.outgoing)} fin_sent={self.fin_sent} received {self.received}"
            f" fin={self.fin_received} reset={self.was_reset}>"
        )


def drive(peers, until=None, timeout=GUARD):
    """Lets the peers send and receive until `until()`, or until each of them is over."""
    peers = list(peers)
    until = until or (lambda: all(peer.over for peer in peers))
    deadline = time.monotonic() + timeout
    with select.epoll() as poll:
        registered = {}

        def register(peer):
            fd, events = peer.sock.fileno(), peer.events()
            before = registered.get(fd, 0)
            if events and not before:
                poll.register(fd, events)
            elif before and not events:  # epoll reports HUP and ERR unasked: a peer that is done must be out
                poll.unregister(fd)
            elif events != before:
                poll.modify(fd, events)
            registered[fd] = events

        by_fd = {peer.sock.fileno(): peer for peer in peers}
        for peer in peers:
            register(peer)
        while not until():
            ready = poll.poll(max(0.0, deadline - time.monotonic()))
            if not ready:
                waiting = [peer for peer in peers if not peer.over]
                raise Stalled(f"{len(waiting)} of {len(peers)} streams are not over: {waiting[:6]}")
            for fd, events in ready:
                by_fd[fd].step(events)
                register(by_fd[fd])


def drive_until_stalled(peers, eplb=None):
    """Sends as much as the kernel and eplb take, up to the moment when nothing moves any more: not at the ends
    and, where given, not in eplb either."""
    while True:
        before = [(peer.sent, peer.received) for peer in peers]
        with contextlib.suppress(Stalled):
            drive(peers, until=lambda: False, timeout=0.1)
        if eplb:
            eplb.wait_until_settled()
        if before == [(peer.sent, peer.received) for peer in peers]:
            return


# --- network namespaces ---------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


class Namespace:
    """A network of its own, with loopback up. Sockets made inside `with namespace.entered():` belong to it."""

    _numbers = itertools.count()

    def __init__(self):
        self.name = f"eplb-{os.getpid()}-{next(self._numbers)}"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command, stdin=None):
        done = subprocess.run(
            [*self.prefix(), *command], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
        return done.stdout

    def prefix(self):
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def set(self, sysctl, value):
        self.run("sh", "-c", 'echo "$2" > "/proc/sys/$1"', "sh", sysctl, str(value))

    def bound_buffers(self):
        """Limits what the kernel may grow a socket's buffers to. By default it is so much (tens of megabytes from
        end to end) that a receiver who stopped reading is felt late, or never."""
        self.set("net/ipv4/tcp_rmem", "4096 65536 131072")
        self.set("net/ipv4/tcp_wmem", "4096 16384 131072")

    def firewall(self, rules, hook="output"):
        """nft rules, one a line, for what goes out, or comes in (hook="input"). The kernel knows of what is dropped on
        its way out, and does not count it as sent."""
        lines = "\n".join(f"add rule inet t way {rule}" for rule in rules)
        hook = f"add table inet t\nadd chain inet t way {{ type filter hook {hook} priority 0; }}\n"
        self.run("nft", "-f", "-", stdin="flush ruleset\n" + (hook + lines if rules else "") + "\n")

    @contextlib.contextmanager
    def entered(self):
        """This thread only."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            assert _libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert _libc.setns(home.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name], check=True)


# --- eplb -----------------------------------------------------------------------------------------------


def binary():
    path = os.environ.get("EPLB_BIN", "")
    assert os.access(path, os.X_OK), f"EPLB_BIN must name the eplb to test, but is {path!r}"
    return os.path.abspath(path)


_public_binary = None


def binary_for_everyone():
    """A copy that other users may run: the build directory may lie where they cannot go."""
    global _public_binary
    if _public_binary is None:
        folder = tempfile.TemporaryDirectory(prefix="eplb-test-")
        os.chmod(folder.name, 0o755)
        shutil.copy(binary(), folder.name + "/eplb")
        os.chmod(folder.name + "/eplb", 0o755)
        _public_binary = folder
    return _public_binary.name + "/eplb"


def run_eplb(*args, user="root", namespace=None, prefix=()):
    """Runs eplb to its end, for what it says and its exit code."""
    return subprocess.run(
        command_line(args, user, namespace, prefix), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=GUARD,
    )  # fmt: skip


def command_line(args, user="root", namespace=None, prefix=()):
    """Each of the wrappers execs the next, so the process that starts is the eplb that stays."""
    command = [*(namespace.prefix() if namespace else []), *prefix]
    command += ["setpriv", "--pdeathsig", "KILL"]  # whatever ends the tests ends it too
    if user == "nobody":
        command += [f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    return [*command, binary_for_everyone(), *args]


TCP_STATES = {
    "01": "ESTABLISHED", "02": "SYN-SENT", "03": "SYN-RECV", "04": "FIN-WAIT1", "05": "FIN-WAIT2",
    "06": "TIME-WAIT", "07": "CLOSE", "08": "CLOSE-WAIT", "09": "LAST-ACK", "0A": "LISTEN", "0B": "CLOSING",
}  # fmt: skip


class Eplb:
    """A running eplb, its log, and the questions that it is asked after every test."""

    IDLE_SECONDS = 0.35
    IDLE_CPU_SECONDS = 0.03
    IDLE_SWITCHES = 12
    # A worker whose last client has just gone has a timer or two that go with it.
    IDLE_SWITCHES_PER_THREAD = 3
    MAX_RSS_BYTES = 700 << 20  # with sanitizers' shadow and quarantine; a leak of sessions or buffers is far more

    def __init__(self, listen, backends, *args, relay="auto", user="root", namespace=None, nofile=None, starving=False,
                 log="json", stderr=subprocess.PIPE, wait=True, config=None):  # fmt: skip
        self.listeners = list(listen)
        self.config = config  # path of its configuration file, which then says where to listen and who serves
        self._reloads = 0
        self.namespace = namespace
        self.clients = 0  # connections made, each of which must be told of in the log
        self.starving = starving
        self.counting = True  # whether each client is one of ours, so that the log can be held against them
        self.lines = []
        self.events = []
        self._taken_sessions = 0
        self._expected_exit = None
        if config:
            arguments = ["--config", str(config), "--log-format", log, *args]
        else:
            arguments = [*itertools.chain.from_iterable(("--listen", address) for address in listen),
                         *itertools.chain.from_iterable(("--backend", address) for address in backends),
                         "--relay", relay, "--log-format", log, *args]  # fmt: skip
        prefix = [] if nofile is None else ["prlimit", f"--nofile={nofile}:{nofile}"]
        environment = {
            # A large quarantine would hide growth. For starving see check_log().
            "ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=64:detect_stack_use_after_return=1"
            + (":detect_leaks=0" if starving else ""),
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        self.process = subprocess.Popen(
            command_line(arguments, user, namespace, prefix), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=stderr, env={**os.environ, **environment},
        )  # fmt: skip
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        if stderr == subprocess.PIPE:
            self._reader.start()
        if wait:
            self.wait_until_ready()

    # the log

    def _read_log(self):
        for raw in self.process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            self.lines.append(line)
            with contextlib.suppress(json.JSONDecodeError):
                event = json.loads(line)
                if isinstance(event, dict):
                    self.events.append(event)

    def wait_until_ready(self):
        def ready_or_gone():
            if self.process.poll() is not None:
                self._reader.join(GUARD)
                raise AssertionError(f"eplb left with {self.process.returncode}: {self.log()}")
            return any(re.search(r'("message": ?"|info +)ready', line) for line in list(self.lines))

        wait_until(ready_or_gone, "eplb says that it is ready")
        self.baseline = self.sockets()

    def log(self):
        return "\n".join(self.lines)

    def messages(self, level=None):
        """The text of what was logged, except for sessions."""
        return [
            event["message"]
            for event in list(self.events)
            if event.get("event") == "message" and level in (None, event["level"])
        ]

    def sessions(self):
        return [event for event in list(self.events) if event.get("event") == "session"]

    def next_session(self):
        """The log record of the next session to end, in the order of the log."""
        self._taken_sessions += 1
        wait_until(lambda: len(self.sessions()) >= self._taken_sessions, "a session is logged")
        return self.sessions()[self._taken_sessions - 1]

    def forget_sessions(self):
        """next_session() goes on behind those logged so far."""
        self._taken_sessions = len(self.sessions())

    def wait_for_message(self, regex):
        return wait_until(
            lambda: next((text for text in self.messages() if re.search(regex, text)), None), f"the log says {regex!r}"
        )

    def reload(self, text=None):
        """Has it read its configuration again, after `text` was written there. Returns what it says of that, and
        its verdict last."""
        if text is not None:
            self.config.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        self._reloads += 1
        return self.wait_for_reload(self._reloads)

    def verdicts(self):
        """How each reload went."""
        return [text for text in self.messages() if re.match("(not )?reloaded", text)]

    def wait_for_reload(self, count):
        """What is said of the reload number `count`."""
        verdict = re.compile(r"(not )?reloaded")

        def told():
            messages = self.messages()
            ends = [index for index, text in enumerate(messages) if verdict.match(text)]
            if len(ends) < count:
                return None
            begin = ends[count - 2] + 1 if count > 1 else 0
            return [text for text in messages[begin : ends[count - 1] + 1] if re.match("reload:|(not )?reloaded", text)]

        return wait_until(told, "it says how the reload went")

    # traffic

    def connect(self, listener=0, **options):
        """A client, who may have been thrown out already."""
        try:
            sock = dial(self.listeners[listener], **options)
        except ConnectionResetError:
            sock = CutOff()
        self.clients += 1
        return sock

    # the process

    def descriptors(self):
        """fd -> what it is."""
        found = {}
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found[int(fd)] = os.readlink(f"/proc/{self.pid}/fd/{fd}")
        return found

    def sockets(self):
        return sorted(name for name in self.descriptors().values() if name.startswith("socket:"))

    def pipes(self):
        """Descriptors of pipes of its own; stdio are the first three."""
        return [fd for fd, name in self.descriptors().items() if fd > 2 and name.startswith("pipe:")]

    def sessions_by_worker(self):
        """How many each of its epoll sets holds: a session has two sockets there."""
        descriptors = self.descriptors()
        listening = set(self.baseline)
        counts = []
        for fd, name in descriptors.items():
            if name == "anon_inode:[eventpoll]":
                text = pathlib.Path(f"/proc/{self.pid}/fdinfo/{fd}").read_text()
                watched = [descriptors.get(int(number), "") for number in re.findall(r"tfd:\s*(\d+)", text)]
                counts.append(sum(name.startswith("socket:") and name not in listening for name in watched) // 2)
        return counts

    @contextlib.contextmanager
    def stopped(self):
        """For several looks at the same moment."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: self.thread_states() == {"T"}, "eplb stands still")
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def limit_descriptors(self, count):
        """Sets how many it may have, now, in the middle of its life."""
        assert self.starving
        hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (count, hard))

    def leave_descriptors(self, count):
        """Lowers the limit so that it can open just `count` more."""
        used = self.descriptors()
        free = (fd for fd in itertools.count() if fd not in used)
        self.limit_descriptors(next(itertools.islice(free, count, None)))

    def effort(self):
        """CPU seconds and context switches so far, of all its threads."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        switches = 0
        for status in pathlib.Path(f"/proc/{self.pid}/task").glob("*/status"):
            switches += sum(int(n) for n in re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.M))
        return seconds, switches

    def thread_states(self):
        """"S" sleeps, "R" runs or waits for a processor, "T" is stopped."""
        stats = [stat.read_text() for stat in pathlib.Path(f"/proc/{self.pid}/task").glob("*/stat")]
        return {text.rsplit(")", 1)[1].split()[0] for text in stats}

    def wait_until_settled(self):
        """Until it has had nothing to do for a moment. On a busy machine one that has may just not get to it."""
        last, looks = self.effort(), 0

        def settled():
            nonlocal last, looks
            time.sleep(0.02)
            before, last = last, self.effort()
            looks = looks + 1 if last == before and self.thread_states() == {"S"} else 0
            return looks == 5

        wait_until(settled, "eplb settles")

    def check_no_spin(self):
        """Nothing happens, so it must do nothing."""
        trouble = self._unrest()
        if self.starving and trouble:
            trouble = self._unrest()  # UBSan spoke, once, see check_log(); a spinning eplb never rests
        assert not trouble, trouble

    def check_no_spin_while_stalled(self):
        """Receivers have stopped reading. The kernel probes their closed windows, ever less often, and squeezes a few
        bytes through, for which it may wake eplb; in between, eplb must do nothing. One that spins never rests."""
        wait_until(lambda: not self._unrest(), "eplb rests")

    def _unrest(self):
        """What one that has nothing to do did too much of, in IDLE_SECONDS."""
        begin, (cpu, switches) = time.monotonic(), self.effort()
        time.sleep(self.IDLE_SECONDS)  # the measurement itself
        cpu_after, switches_after = self.effort()
        periods = (time.monotonic() - begin) / self.IDLE_SECONDS  # more than one if this process had to wait
        burnt = round(cpu_after - cpu, 3)  # whole ticks, of which three are not a little more than 0.03
        if burnt > self.IDLE_CPU_SECONDS * periods:
            return f"idle, but burnt {burnt} s of CPU"
        woken = switches_after - switches
        most = max(self.IDLE_SWITCHES, self.IDLE_SWITCHES_PER_THREAD * len(os.listdir(f"/proc/{self.pid}/task")))
        return f"idle, but woke {woken} times" if woken > most * periods else ""

    def check_descriptor_flags(self):
        """None may be inherited by a child, and none may block the reactor."""
        for fd, name in self.descriptors().items():
            if fd <= 2:
                continue
            try:
                info = pathlib.Path(f"/proc/{self.pid}/fdinfo/{fd}").read_text()
            except FileNotFoundError:
                continue
            flags = int(re.search(r"flags:\s*(\d+)", info)[1], 8)
            assert flags & os.O_CLOEXEC, f"descriptor {fd} ({name}) is not close-on-exec"
            if name.startswith(("socket:", "pipe:")):
                assert flags & os.O_NONBLOCK, f"descriptor {fd} ({name}) can block"

    def socket_states(self):
        """TCP state of each of its sockets, by "socket:[inode]"."""
        states = {}
        for table in ("tcp", "tcp6"):
            for line in pathlib.Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                states[f"socket:[{fields[9]}]"] = TCP_STATES[fields[3]]
        return {name: states.get(name, "?") for name in self.sockets()}

    def memory(self, which):
        """Bytes; "VmRSS" for now, "VmHWM" for the most ever."""
        return int(re.search(which + r":\s*(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text())[1]) << 10

    @contextlib.contextmanager
    def inject(self, *rules, path=None):
        """Makes system calls fail, e.g. "accept4:error=EMFILE:when=1..3" (strace(1)); a name alone is only
        recorded. With `path`, those that name it. Yields a Trace."""
        assert self.starving or not any(rule.startswith("pipe2:") for rule in rules)
        output = tempfile.NamedTemporaryFile(prefix="eplb-strace-")
        calls = ",".join(rule.split(":")[0] for rule in rules)
        options = itertools.chain.from_iterable(("-e", f"inject={rule}") for rule in rules if ":" in rule)
        if path:
            options = [*options, "-P", str(path)]
        strace = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", output.name, "-e", f"trace={calls}", *options, "-p", str(self.pid)]
        )
        trace = Trace(output.name)
        tasks = pathlib.Path(f"/proc/{self.pid}/task")
        try:
            wait_until(
                lambda: all(f"TracerPid:\t{strace.pid}\n" in s.read_text() for s in tasks.glob("*/status")),
                "strace is attached",
            )
            yield trace
        finally:
            if path:
                strace.kill()  # it would go on waiting for a call that it delays, and keep a process from its end
            else:
                strace.terminate()  # detaches
            strace.wait(GUARD)
            trace.close()
            output.close()

    # the end

    def expect_exit(self, code=0):
        """For tests that end it themselves."""
        self._expected_exit = code
        assert self.process.wait(GUARD) == code, self.log()
        if self.process.stderr:
            self._reader.join(GUARD)  # all that it logged is there

    def check_quiet(self):
        """What must hold when no client is left, whatever happened before."""
        leaked = lambda: set(self.sockets()) - set(self.baseline)
        try:
            wait_until(lambda: not leaked(), "its sockets are closed")
        except AssertionError:
            states = self.socket_states()
            raise AssertionError(f"sockets left open: { {name: states.get(name) for name in leaked()} }") from None
        if self.counting:
            wait_until(lambda: len(self.sessions()) >= self.clients, "each session is logged")
            assert len(self.sessions()) == self.clients, "sessions logged that no client made"
        bad = {n: s for n, s in self.socket_states().items() if s in ("CLOSE-WAIT", "FIN-WAIT2", "LAST-ACK")}
        assert not bad, f"half-dead sockets: {bad}"
        self.check_no_spin()
        self.check_descriptor_flags()
        assert self.memory("VmHWM") < self.MAX_RSS_BYTES

    def stop(self):
        """A clean end by SIGTERM, and a clean log."""
        if self._expected_exit is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(GUARD) == 0, f"exit code {self.process.returncode} after SIGTERM: {self.log()}"
        if self.process.stderr:
            self._reader.join(GUARD)
        self.check_log()

    def check_log(self):
        dirt = [line for line in self.lines if re.search(r"ERROR|BUG|Sanitizer|runtime error|Assertion", line)]
        if self.starving:
            # UBSan's check of vtables opens a pipe to see whether memory can be read. Where it gets none, it
            # reports an object that is no object, and leaks what it writes of it.
            dirt = [line for line in dirt if "which does not point to an object of type" not in line]
        assert not dirt, f"in the log: {dirt}"

    def kill(self):
        """For cleaning up after a test that failed."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Trace:
    """What strace saw."""

    def __init__(self, path):
        self._read = lambda: pathlib.Path(path).read_text().splitlines()

    def close(self):
        lines = self._read()
        self._read = lambda: lines

    def calls(self, name=""):
        return [line for line in self._read() if f"{name}(" in line]

    def injected(self, name=""):
        """How often it failed a call on our behalf: a test in which this is 0 shows nothing."""
        return sum("(INJECTED)" in line for line in self.calls(name))


class Lab:
    """Gives out everything that a test needs, and takes it all back."""

    def __init__(self, folder):
        self.folder = folder  # open to other users: Unix sockets live here
        self.eplbs = []
        self._resources = contextlib.ExitStack()

    def keep(self, thing):
        """Closes it at the end of the test."""
        self._resources.callback(thing.close)
        return thing

    def backend(self, where="127.0.0.1:0", **options):
        return self.keep(Backend(where, **options))

    def backends(self, count):
        return [self.backend() for _ in range(count)]

    def greeter(self, name, **options):
        return self.keep(Greeter(name, **options))

    def namespace(self):
        return self.keep(Namespace())

    def narrow_network(self):
        """Loopback as over a wire, with small segments and modest buffers."""
        namespace = self.namespace()
        namespace.run("ip", "link", "set", "lo", "mtu", "1500")
        namespace.bound_buffers()
        return namespace

    def reserve(self, host="127.0.0.1"):
        """A port that nobody else gets: bound, but not listening. eplb can still listen on it, for both
        sides set SO_REUSEADDR; until it does, connecting to it is refused."""
        family, target = sockaddr(f"{host}:0")
        sock = self.keep(socket.socket(family, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "[::]":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(target)
        return text_address(sock)

    def eplb(self, backends, *args, listen=None, **options):
        """Starts eplb; `backends` are Backends or what -b takes. Listens on a reserved port by default."""
        if listen is None:
            with options["namespace"].entered() if options.get("namespace") else contextlib.nullcontext():
                listen = [self.reserve()]
        addresses = [getattr(backend, "address", backend) for backend in backends]
        eplb = Eplb(listen, addresses, *args, **options)
        self.eplbs.append(eplb)
        return eplb

    def configured(self, text, *args, listen=(), **options):
        """Starts eplb with `text` as its configuration file; `listen` are the listeners that it names."""
        path = self.folder / ("eplb.toml" if not self.eplbs else f"eplb-{len(self.eplbs) + 1}.toml")
        path.write_text(text)
        eplb = Eplb(listen, [], *args, config=path, **options)
        self.eplbs.append(eplb)
        return eplb

    def client(self, eplb, *args, **options):
        return self.keep(eplb.connect(*args, **options))

    def pair(self, eplb, backend, **options):
        """A client, and the backend's end of the session that eplb made for it."""
        client = self.client(eplb, **options)
        return client, self.keep(backend.accept())

    def joined_pair(self, eplb, backend, **options):
        """The same, after one byte from server to client: eplb, too, knows by now that they are connected."""
        client, server = self.pair(eplb, backend, **options)
        server.sendall(b"!")
        assert client.recv(1) == b"!"
        return client, server

    def transfer(self, eplb, backend, up, down, **options):
        """One session: both sides send at once, each a FIN right behind its last byte. Returns what the log
        says of it."""
        client, server = self.pair(eplb, backend, **options)
        peers = [Peer(client, send=up, expect=down), Peer(server, send=down, expect=up)]
        drive(peers)
        assert all(peer.complete for peer in peers), peers
        session = eplb.next_session()
        assert (session["up"], session["down"]) == (len(up), len(down))
        assert session["end"] in ("client_fin", "server_fin")
        return session

    def finish(self, failed):
        """Closes what the test used; then, unless it failed already, puts the questions to every eplb."""
        sockets_first = self._resources.pop_all()
        try:
            sockets_first.close()
            if not failed:
                for eplb in self.eplbs:
                    if eplb._expected_exit is None:
                        eplb.check_quiet()
                    eplb.stop()
        finally:
            for eplb in self.eplbs:
                eplb.kill()
