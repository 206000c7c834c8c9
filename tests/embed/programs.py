"""Runs programs that have eplb inside, and reads what they say."""

import re
import signal
import subprocess
import threading
import time

from harness import GUARD

# What a program must never say, whatever the test is about.
DIRT = re.compile(r"Sanitizer|runtime error|Assertion|terminate called")


class Program:
    """One that runs. `lines` is its standard output, `errors` its standard error."""

    def __init__(self, command, prefix=()):
        self.name = str(command[0])
        self.process = subprocess.Popen(
            [*prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines, self.errors = [], []
        self._seen = 0  # how many of the lines expect() has gone past
        self._reading = 2
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=pipe, daemon=True)
            for pipe in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe, lines):
        with pipe:
            for line in pipe:
                with self._news:
                    lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._reading -= 1
            self._news.notify_all()

    def expect(self, pattern):
        """Waits for the next line of output that matches, and goes past it. Returns the match."""
        deadline = time.monotonic() + GUARD
        with self._news:
            while True:
                while self._seen < len(self.lines):
                    self._seen += 1
                    if match := re.fullmatch(pattern, self.lines[self._seen - 1]):
                        return match
                assert self._reading, f"it ended without saying {pattern!r}: {self}"
                assert self._news.wait(deadline - time.monotonic()), f"it does not say {pattern!r}: {self}"

    def address(self):
        """The one that it says it listens on."""
        return self.expect(r"(?:[a-z]+ )+([\d.]+:\d+|\[.*\]:\d+|unix:.*)")[1]

    def exit_code(self):
        """Waits until it ends."""
        code = self.process.wait(GUARD)
        for reader in self._readers:
            reader.join(GUARD)
        assert not any(DIRT.search(line) for line in self.errors), self
        return code

    def stop(self, signal_number=signal.SIGTERM):
        """Asks it to end, and returns its exit code."""
        self.process.send_signal(signal_number)
        return self.exit_code()

    def close(self):
        """For the end of a test. It ends well, too, if the test has not seen to that."""
        try:
            if self.process.poll() is None:
                assert self.stop() in (0, -signal.SIGTERM), self
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def __repr__(self):
        return f"<{self.name} code={self.process.poll()} output={self.lines[-20:]} errors={self.errors[-20:]}>"
