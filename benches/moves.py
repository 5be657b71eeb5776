#!/usr/bin/env python3
"""What clients notice of moves of keys, and what copying costs, in one run.

The first table: clients send requests while the keys of their pool move from two servers to three and back, again and
again, and before and after that, round after round. At a fixed rate a latency is counted from the time at which its
request was due, so a request that waits for a held key delays none that it does not stand before. Without a rate, each
client asks again when it has its answer: the throughput. Any error reply and any missing key ends the run.

The second table: `ringroad copy --once` from one server to another, without and with a limit; processor time of each.

The tables are Markdown."""

import argparse
import json
import os
import resource
import statistics
import subprocess
import threading
import time

from race import build_own_load
from racing.machine import ROOT, Machine, Target, cpu_seconds, memory_mb, table
from racing.workloads import KEYS, Workload

SERVERS = 3
POOL_KEYS = KEYS[64][1]
PHASES = ("before", "during", "after")


def main():
    options = arguments()
    cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
    proxy_cpus, load_cpus = options.proxy_cpus or cpus, options.load_cpus or cpus
    load = options.load or build_own_load()
    with Machine("redis", load, 0.0, proxy_cpus, load_cpus) as machine:
        if options.rounds:
            measure_moves(machine, options)
        if options.copy_keys:
            measure_copies(machine, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of the first table; 0 leaves it out")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each run")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rate", type=int, default=5000, help="requests per second of all clients")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two moves")
    parser.add_argument("--options", default="", help="more options of ringroad reshard, such as '--rate 20000'")
    parser.add_argument("--workers", default="2", help="worker threads of Ringroad")
    parser.add_argument("--copy-keys", type=int, default=1_000_000, help="of the second table; 0 leaves it out")
    parser.add_argument("--copy-rate", type=int, default=50_000, help="the limit of the second copy")
    parser.add_argument("--load", help="binary of the load generator; built if not given")
    parser.add_argument("--ringroad", default=str(ROOT / "target/release/ringroad"), help="the binary to benchmark")
    parser.add_argument("--proxy-cpus", help="default: all")
    parser.add_argument("--load-cpus", help="default: all")
    return parser.parse_args()


class Pool:
    """A proxy before servers, and files with two of them and with all."""

    def __init__(self, machine, options):
        self.options, self.machine = options, machine
        self.servers = [machine.server() for _ in range(SERVERS)]
        self.address = (machine.new_host(), 22121)
        self.files = [self.write(f"{count}.yml", count) for count in (SERVERS - 1, SERVERS)]
        arguments = [options.ringroad, "-c", str(self.files[0]), "-o", "", "-a", self.address[0], "-s", "22222"]
        process = machine.start(machine.proxy_cpus, [*arguments, "--workers", options.workers], self.address)
        self.target = Target("ringroad", self.address, process)
        # The index of the file that is in force.
        self.now = 0

    def write(self, name, count):
        listed = "".join(f"    - {host}:{port}:1 s{n}\n" for n, (host, port) in enumerate(self.servers[:count]))
        path = self.machine.folder / name
        path.write_text(
            f"moves:\n  listen: {self.address[0]}:{self.address[1]}\n  redis: true\n  hash: murmur\n"
            f"  distribution: ketama\n  placement_guard: true\n  servers:\n{listed}"
        )
        return path

    def move(self):
        """Returns its duration."""
        now, to = self.files[self.now], self.files[1 - self.now]
        command = [self.options.ringroad, "reshard", "start", "-c", str(now), "--to", str(to), "--yes", "--json"]
        started = time.monotonic()
        done = subprocess.run([*command, *self.options.options.split()], capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise ValueError(f"{done.stdout[-500:]} {done.stderr[-500:]}")
        self.now = 1 - self.now
        return time.monotonic() - started


class Mover(threading.Thread):
    """Moves there and back until it is stopped."""

    def __init__(self, pool, pause):
        super().__init__()
        self.pool, self.pause = pool, pause
        self.seconds, self.stopped, self.failure = [], threading.Event(), None

    def run(self):
        try:
            while not self.stopped.wait(self.pause):
                self.seconds.append(self.pool.move())
        except Exception as failure:
            self.failure = failure


def measure_moves(machine, options):
    pool = Pool(machine, options)
    filling = Workload("filling", POOL_KEYS, "set", 4, 32, in_turn=True)
    machine.load(pool.target, filling, POOL_KEYS)
    runs, moves = {}, []
    for _ in range(options.rounds):
        for phase in PHASES:
            mover = Mover(pool, options.pause) if phase == "during" else None
            if mover:
                mover.start()
            for kind, pace in (("get", options.rate), ("set", options.rate), ("get", None)):
                runs.setdefault((kind, pace, phase), []).append(load(machine, pool, kind, pace, options))
            if mover:
                mover.stopped.set()
                mover.join()
                if mover.failure:
                    raise SystemExit(f"a move failed: {mover.failure}")
                moves += mover.seconds
    verified = subprocess.run(
        [options.ringroad, "verify", "-c", str(pool.files[pool.now])], capture_output=True, text=True
    )
    if verified.returncode:
        raise SystemExit(f"keys are misplaced: {verified.stdout[-500:]}")
    print(
        f"\n{POOL_KEYS} keys, {options.clients} clients, {options.rounds} rounds of {options.seconds:g} s, "
        f"{options.workers} workers; {len(moves)} moves between two and three servers, of {min(moves):.1f} to "
        f"{max(moves):.1f} s, with {options.pause:g} s between them\n"
    )
    table(
        ["load", "moves", "per second", "p50 ms", "p99 ms", "p99.9 ms", "worst ms", "p99 to before"],
        [row(kind, pace, phase, runs) for kind, pace, phase in runs],
    )


def load(machine, pool, kind, pace, options):
    asked = Workload("moves", 0, kind, options.clients, 1)
    paced = ["--seconds", options.seconds, *(["--rate", pace] if pace else [])]
    command = machine.command(pool.target, asked, paced)
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    told = json.loads(done.stdout) if done.returncode == 0 else None
    if told is None or told["errors"] or told["misses"]:
        raise SystemExit(f"load failed: {done.stdout[-300:]} {done.stderr[-300:]}")
    return told


def row(kind, pace, phase, runs):
    """Medians of the rounds; the worst of all."""
    mine, before = runs[kind, pace, phase], runs[kind, pace, "before"]
    latency = lambda run, name: run["latency_us"][name] / 1000
    ratio = statistics.median(latency(run, "p99") / latency(base, "p99") for run, base in zip(mine, before))
    name = f"{kind.upper()}, {pace} a second" if pace else f"{kind.upper()}, as fast as it goes"
    cells = [name, phase, f"{statistics.median(run['rps'] for run in mine):,.0f}"]
    cells += [f"{statistics.median(latency(run, name) for run in mine):.2f}" for name in ("p50", "p99", "p99.9")]
    return [*cells, f"{max(latency(run, 'max') for run in mine):.1f}", f"{ratio:.2f}"]


def children_seconds():
    """Processor time of the children that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure_copies(machine, options):
    rows = []
    for rate in (None, options.copy_rate):
        addresses, processes = [], []
        for _ in range(2):
            addresses.append(machine.server(["--enable-debug-command", "yes"]))
            processes.append(machine.processes[-1])
        ask = ["redis-cli", "-h", addresses[0][0], "DEBUG", "POPULATE", str(options.copy_keys), "key", "100"]
        subprocess.run(ask, check=True, capture_output=True)
        files = []
        for name, (host, port) in zip(("from.yml", "to.yml"), addresses):
            files.append(machine.folder / name)
            files[-1].write_text(
                f"copies:\n  listen: 127.0.0.1:1\n  redis: true\n  hash: murmur\n  servers:\n    - {host}:{port}:1\n"
            )
        before = [cpu_seconds(process) for process in processes]
        children_before = children_seconds()
        command = [options.ringroad, "copy", "--from", str(files[0]), "--to", str(files[1]), "--once", "--yes", "--json"]
        started = time.monotonic()
        limit = ["--rate", str(rate)] if rate else []
        copier = subprocess.Popen([*command, *limit], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        memory = 0.0
        while copier.poll() is None:
            try:
                memory = max(memory, memory_mb(copier, "VmHWM"))
            except (OSError, SystemExit):
                pass
            time.sleep(0.01)
        took = time.monotonic() - started
        # Its threads end before it does, so its own account of their time is of no use; its parent has that of the whole.
        used = children_seconds() - children_before
        if copier.returncode:
            raise SystemExit(f"a copy failed: {copier.stderr.read()[-500:]}")
        spent = [cpu_seconds(process) - base for process, base in zip(processes, before)]
        each = lambda seconds: f"{seconds / options.copy_keys * 1e6:.1f}"
        rows.append(
            [f"{rate:,} a second" if rate else "none", f"{options.copy_keys / took:,.0f}", each(spent[0])]
            + [f"{spent[0] / took:.0%}", each(spent[1]), each(used), f"{memory:.0f}"]
        )
    print(f"\n`ringroad copy --once`, {options.copy_keys} values of 100 bytes\n")
    columns = ["limit", "keys per second", "source, us a key", "of a core", "destination, us a key"]
    table([*columns, "ringroad, us a key", "its memory, MiB"], rows)


if __name__ == "__main__":
    main()
