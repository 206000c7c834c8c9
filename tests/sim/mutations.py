#!/usr/bin/env python3
"""Proves that the simulation finds bugs: puts known ones into the sources, and requires it to fail.

usage: mutations.py BUILD_DIRECTORY SOURCE_DIRECTORY [NAME...]

Only a copy of the mutated file is compiled, with the command of the build directory's
compile_commands.json; it is linked in front of the libraries, and so takes the original's place.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

SEEDS = "[seeds]"
WORKERS = "[workers][seeds]"
SCENARIOS = "~[seeds]"
SKIPPED = 77  # meson's word for it

FLOW = "src/relay/flow.cpp"

# Name, file, the tests that must notice, and what to replace by what. Each text must be there exactly
# once: when the sources move on, the mutations must follow.
MUTATIONS = [
    ("nothing is changed", FLOW, None, []),
    (
        # sozu-proxy/sozu#1323: the tail of an answer waits for the idle timeout.
        "a pipe without slots is taken for a drained socket", FLOW, SEEDS,
        [("        if (has_stuck_bytes()) {\n",
          "        if (has_stuck_bytes()) {\n"
          "            if (pipe_.bytes() != 0 && source_.readable()) static_cast<void>(fill_by_splice(budget));\n"),
         ("    case Io::eof:\n        // Not believed",
          "    case Io::eof:\n        if (pipe_.bytes() != 0) return Step::blocked;\n        // Not believed")],
    ),
    (
        # HAProxy 3abf6934a, 48f1e2b6f, 0fcfed9e2.
        "the end is passed on while bytes are in the pipe", FLOW, SEEDS,
        [("        if (has_stuck_bytes()) {\n", "        if (has_stuck_bytes() && !source_ended_) {\n"),
         ("        pipe_.filled(in.bytes);\n",
          "        pipe_.filled(in.bytes);\n        if (source_.hung_up()) source_ended_ = true;\n")],
    ),
    (
        "the end is passed on while bytes are in the rest of a copy", FLOW, SEEDS,
        [("        if (has_stuck_bytes()) {\n", "        if (has_stuck_bytes() && !source_ended_) {\n"),
         ("            source_.clear_readable();\n        }\n",
          "            source_.clear_readable();\n        }\n"
          "        if (in.bytes < scratch.size() && source_.hung_up()) source_ended_ = true;\n")],
    ),
    (
        "a pipe with bytes in it goes back to the pool", "src/relay/pipe.cpp", SEEDS,
        [("        counters_.discarded.add();\n        destroy(std::move(pipe));\n",
          "        pipe.bytes = 0;\n        idle_.push_back(std::move(pipe));\n")],
    ),
    (
        "a reset is passed on as an end", FLOW, SEEDS,
        [("    case Io::error: return source_ended(in.error);\n", "    case Io::error: return source_ended(0);\n")],
    ),
    (
        "splice is believed when it tells the end", FLOW, SEEDS,
        [("    case Io::eof:\n        // Not believed", "    case Io::eof: return source_ended(0);\n        // Not believed")],
    ),
    (
        "splice is believed when it finds nothing, urgent data or not", FLOW, SEEDS,
        [("        if (!splice_moved_ || source_.urgent()) break;\n", "")],
    ),
    (
        "the end is left to close while the other direction goes on", "src/relay/duplex.cpp", SEEDS,
        [("    if (down_.state() == Flow::State::finished) up_.leave_end_to_close();\n",
          "    up_.leave_end_to_close();\n")],
    ),
    (
        "a socket is taken for drained when the budget is spent", FLOW, SEEDS,
        [("            state_ = State::runnable;\n",
          "            source_.clear_readable();\n            state_ = State::blocked;\n")],
    ),
    (
        "a short read counts as drained in front of a hang-up", FLOW, SEEDS,
        [("!source_.hung_up()", "true"), ("!source_.urgent()", "true")],
    ),
    (
        "what the survivor of a reset has not got yet is dropped", "src/relay/duplex.cpp", SEEDS,
        [("    if (unsent == 0 || ", "    if (unsent < SIZE_MAX || ")],
    ),
    (
        "a descriptor leaks when connecting fails", "src/proxy/session_dial.cpp", SEEDS,
        [("    timer().cancel();\n    duplex_.server.close();\n",
          "    timer().cancel();\n    duplex_.server.watch.detach();\n"
          "    static_cast<void>(duplex_.server.fd.release());\n")],
    ),
    (
        "a client for whom there is no memory keeps its place", "src/proxy/worker.cpp", SEEDS,
        [("    if (verdict == Admission::admitted) spec.limits->leave();\n    count_out", "    count_out")],
    ),
    (
        "a want of memory is thrown on", "src/proxy/session.cpp", SEEDS,
        [("    } catch (const std::bad_alloc&) {\n        return out_of_memory();\n",
          "    } catch (const std::bad_cast&) {\n        return out_of_memory();\n")],
    ),
    (
        "timers expire before what has come is seen", "src/reactor/reactor.cpp", SEEDS,
        [("    if (!look_around()) return;  // still due in the next turn, which does not wait\n"
          "    wheel_->advance(look_began_, ", "    wheel_->advance(now_, ")],
    ),
    (
        "an array that was full is all that has come", "src/reactor/reactor.cpp", SEEDS,
        [("        looking_ = seen == events_.size() && unseen_ > 0;\n", "        looking_ = false;\n")],
    ),
    (
        "a timer is looked at before its peers", "src/relay/duplex.cpp", SEEDS,
        [("    const std::size_t turn_bytes = context_.turn_bytes();\n",
          "    if (timed_out()) return Next::done;\n    const std::size_t turn_bytes = context_.turn_bytes();\n")],
    ),
    (
        "what moves in a turn that is held up counts from its beginning", "src/relay/duplex.cpp", SEEDS,
        [("        const TimePoint latest = reactor_.end_of_turn(last_progress_);\n"
          "        if (latest > std::exchange(last_progress_, latest)) return timed_out();\n", "")],
    ),
    (
        "a backend's time to answer begins before it is dialled", "src/proxy/session.cpp", SEEDS,
        [("    const TimePoint due = saturating_add(host_.reactor().end_of_turn(since), timeout);\n",
          "    const TimePoint due = saturating_add(since, timeout);\n")],
    ),
    (
        "an edge is awaited after EMFILE", "src/reactor/acceptor.cpp", SCENARIOS,
        [("            retry_.start(retry_delay);\n", "")],
    ),
    (
        "room that a worker is told of, and has no use for, is kept from the others", "src/proxy/worker_admission.cpp", WORKERS,
        [("    admission_.catalog_.pass_room_on();\n", "")],
    ),
    (
        "a place of the proxy that a worker has no use for is kept from the others", "src/proxy/worker_admission.cpp", WORKERS,
        [("    admission_.budget_.pass_on();\n", "")],
    ),
    (
        "a worker switches its listeners over before all have learnt for whom", "src/proxy/rollout.cpp", WORKERS,
        [("    case Step::learn: return worker.learn(plan.generation);\n",
          "    case Step::learn: worker.learn(plan.generation); return worker.switch_over(plan.generation, [] {});\n")],
    ),
    (
        "a service is removed while other workers still accept for it", "src/proxy/worker_catalog.cpp", WORKERS,
        [("    contexts_.keep_those_of(services_);\n}\n\nvoid WorkerCatalog::learn_frontends",
          "    for (const auto& service : services_) {\n"
          "        const auto is_it = [&](const auto& spec) { return spec->id == service->id(); };\n"
          "        if (std::ranges::none_of(generation.services, is_it)) service->remove();\n"
          "    }\n"
          "    contexts_.keep_those_of(services_);\n}\n\nvoid WorkerCatalog::learn_frontends")],
    ),
]


# The seed that found each when somebody last looked: tried first, which spares the search for it. One that does not
# find it any more, because worlds are made otherwise now, costs time alone; the search prints the new one.
FOUND_WITH = {
    "a pipe without slots is taken for a drained socket": 16,
    "the end is passed on while bytes are in the pipe": 1,
    "the end is passed on while bytes are in the rest of a copy": 2,
    "a pipe with bytes in it goes back to the pool": 1,
    "a reset is passed on as an end": 2,
    "splice is believed when it tells the end": 19,
    "splice is believed when it finds nothing, urgent data or not": 165,
    "the end is left to close while the other direction goes on": 4,
    "a socket is taken for drained when the budget is spent": 7,
    "a short read counts as drained in front of a hang-up": 7,
    "what the survivor of a reset has not got yet is dropped": 74,
    "a descriptor leaks when connecting fails": 1,
    "a client for whom there is no memory keeps its place": 66,
    "timers expire before what has come is seen": 69,
    "an array that was full is all that has come": 31,
    "a timer is looked at before its peers": 1157,
    "what moves in a turn that is held up counts from its beginning": 61,
    "room that a worker is told of, and has no use for, is kept from the others": 690,
    "a place of the proxy that a worker has no use for is kept from the others": 2418,
    "a worker switches its listeners over before all have learnt for whom": 142,
    "a service is removed while other workers still accept for it": 13,
    "a backend's time to answer begins before it is dialled": 45,
}

MOST_SEEDS = 4000


class Failure(Exception):
    pass


def mutate(text, replacements, path):
    for old, new in replacements:
        if text.count(old) != 1:
            raise Failure(f"{path} has this {text.count(old)} times, not once; bring the mutation up to date:\n{old}")
        text = text.replace(old, new)
    return text


def run(command, directory, what):
    done = subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure(f"cannot {what}:\n{shlex.join(command)}\n{done.stdout}")
    return done.stdout


class Build:
    def __init__(self, build, source):
        self.directory = build
        self.source = source
        commands = json.loads((build / "compile_commands.json").read_text())
        self.compile = {os.path.realpath(os.path.join(c["directory"], c["file"])): c for c in commands}
        ninja = os.environ.get("NINJA") or shutil.which("ninja") or "ninja"
        target = "tests/sim/eplb-sim"
        lines = run([*shlex.split(ninja), "-t", "commands", target], build, "ask ninja for the link command")
        self.link = shlex.split(lines.strip().splitlines()[-1])
        if target not in self.link:
            raise Failure(f"this does not look like the command that links {target}: {self.link}")
        self.link[self.link.index(target)] = "OUTPUT"

    def compile_file(self, path, mutated, output):
        entry = self.compile[os.path.realpath(self.source / path)]
        words = shlex.split(entry["command"])
        words[words.index(entry["file"])] = str(mutated)
        for option, value in (("-o", output), ("-MQ", output), ("-MF", f"{output}.d")):
            if option in words:
                words[words.index(option) + 1] = str(value)
        run(words, entry["directory"], f"compile {path}")

    def link_with(self, extra, output):
        words = [str(output) if word == "OUTPUT" else word for word in self.link]
        words.insert(words.index(str(output)) + 1, str(extra))
        run(words, self.directory, "link")


def try_mutation(build, mutation, scratch):
    """Returns what went wrong, or None."""
    name, path, tests, replacements = mutation
    folder = scratch / re.sub(r"\W+", "-", name)
    folder.mkdir()
    mutated = folder / pathlib.Path(path).name
    mutated.write_text(mutate((build.source / path).read_text(), replacements, path))
    build.compile_file(path, mutated, folder / "mutated.o")
    program = folder / "eplb-sim"
    build.link_with(folder / "mutated.o", program)

    def simulate(**seeds):
        # What the mutant counts is its own failures: here each is a success.
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("EPLB_SIM_SEED", "EPLB_SIM_SEEDS", "EPLB_TEST_COUNTS")}
        try:
            return subprocess.run([program, "--abort", *([tests] if tests else [])], env={**environment, **seeds},
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200)
        except subprocess.TimeoutExpired:
            raise Failure("hangs, and the simulation should have noticed") from None

    if tests is None:
        done = simulate(EPLB_SIM_SEEDS="60")
        return f"{name}, but the simulation fails:\n{done.stdout}" if done.returncode != 0 else None
    if name in FOUND_WITH and simulate(EPLB_SIM_SEED=str(FOUND_WITH[name])).returncode != 0:
        return None
    done = simulate(EPLB_SIM_SEEDS=str(MOST_SEEDS))
    program.unlink()
    if done.returncode == 0:
        return f"{name}: not found"
    if found := re.search(r"^  seed (\d+) \(", done.stdout, re.M):
        print(f"seed {found[1]}: {name}", flush=True)
    return None


def main():
    build_directory, source = (pathlib.Path(arg).resolve() for arg in sys.argv[1:3])
    wanted = sys.argv[3:]
    if not (build_directory / "build.ninja").exists():
        print("only with the ninja backend")
        return SKIPPED
    build = Build(build_directory, source)
    mutations = [m for m in MUTATIONS if not wanted or m[0] in wanted]
    failures = 0
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = {pool.submit(try_mutation, build, m, pathlib.Path(folder)): m[0] for m in mutations}
        for job in concurrent.futures.as_completed(jobs):
            try:
                problem = job.result()
            except Failure as failure:
                problem = f"{jobs[job]}: {failure}"
            failures += problem is not None
            print(f"FAILED {problem}" if problem else f"ok     {jobs[job]}", flush=True)
    if "EPLB_TEST_COUNTS" in os.environ:
        with open(os.environ["EPLB_TEST_COUNTS"], "a", encoding="ascii") as counts:
            counts.write(f"sim-mutations {len(jobs) - failures} {failures} 0\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
