#!/usr/bin/env python3
"""A race on one machine: plain Redis, nutcracker, and Ringroad with one worker.

Each proxy has a core to itself; four redis-servers and redis-benchmark share another. Every target runs every workload in
turn, round after round, so that a drift of the machine hits all of them alike. The figure to trust is the proxy's own CPU
time per request: requests per second depend on who else is busy. The tables are Markdown.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVERS = 4
KEYS = 100_000
BIG_KEYS = 100
BIG = "x" * 16384
SMALL = "x" * 64


def key(count=1):
    return ["key:__rand_int__"] * count


# Name: (what it is, requests in a round, redis-benchmark's arguments).
WORKLOADS = {
    "get_c50": ("GET, 50 clients", 100_000, ["-c", "50", "-r", KEYS, "GET", *key()]),
    "set_c50": ("SET, 50 clients", 100_000, ["-c", "50", "-r", KEYS, "SET", *key(), SMALL]),
    "get_c1000": ("GET, 1000 clients", 100_000, ["-c", "1000", "-r", KEYS, "GET", *key()]),
    "get_p16": ("GET, pipeline of 16", 600_000, ["-c", "50", "-P", "16", "-r", KEYS, "GET", *key()]),
    "set_p16": ("SET, pipeline of 16", 600_000, ["-c", "50", "-P", "16", "-r", KEYS, "SET", *key(), SMALL]),
    "get_p128": ("GET, pipeline of 128", 1_200_000, ["-c", "8", "-P", "128", "-r", KEYS, "GET", *key()]),
    "mget_10": ("MGET of 10 keys", 50_000, ["-c", "50", "-r", KEYS, "MGET", *key(10)]),
    "mget_100": ("MGET of 100 keys", 10_000, ["-c", "20", "-P", "4", "-r", KEYS, "MGET", *key(100)]),
    "get_16k": ("GET, 16 kB", 50_000, ["-c", "20", "-P", "4", "-r", BIG_KEYS, "GET", "big:__rand_int__"]),
    "set_16k": ("SET, 16 kB", 50_000, ["-c", "20", "-P", "4", "-r", BIG_KEYS, "SET", "big:__rand_int__", BIG]),
}


@dataclasses.dataclass
class Target:
    """What the load generator talks to. Plain Redis has no process whose CPU time counts."""

    name: str
    address: tuple
    process: subprocess.Popen | None = None


@dataclasses.dataclass
class Run:
    """One workload, one round. The proxy's CPU time and its peak of resident memory while it lasted."""

    per_second: float
    cpu_us: float
    p99_ms: float
    peak_mb: float


class Machine:
    """Starts processes on chosen cores and ends them all."""

    def __init__(self, proxy_cpus, load_cpus):
        self.proxy_cpus, self.load_cpus = proxy_cpus, load_cpus
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="race-"))
        self.processes = []
        # An address of 127/8 for each listener: no port can be taken.
        self.network = f"127.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}"
        self.hosts = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_host(self):
        self.hosts += 1
        return f"{self.network}.{self.hosts}"

    def start(self, cpus, arguments, address):
        log = self.folder / f"{address[0]}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(pinned(cpus, arguments), stdout=out, stderr=out, cwd=self.folder)
        self.processes.append(process)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(address, 1).close()
                return process
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"{arguments[0]} does not listen on {address}: {log.read_text()[-500:]}")

    def redis_server(self):
        address = (self.new_host(), 6379)
        options = "--save,,--appendonly,no,--maxclients,20000,--dir".split(",")
        where = ["--bind", address[0], "--port", str(address[1])]
        self.start(self.load_cpus, ["redis-server", *where, *options, str(self.folder)], address)
        return address

    def proxy(self, name, program, extra, servers):
        address = (self.new_host(), 22121)
        conf = self.folder / f"{name}.yml"
        listed = "".join(f"    - {host}:{port}:1 s{n}\n" for n, (host, port) in enumerate(servers))
        conf.write_text(
            f"race:\n  listen: {address[0]}:{address[1]}\n  hash: murmur\n  distribution: ketama\n"
            f"  redis: true\n  timeout: 5000\n  servers:\n{listed}"
        )
        arguments = [program, "-c", str(conf), "-o", "", "-a", address[0], "-s", "22222", *extra]
        return Target(name, address, self.start(self.proxy_cpus, arguments, address))

    def load(self, target, requests, arguments):
        host, port = target.address
        command = ["redis-benchmark", "-h", host, "-p", port, "-n", requests, "--csv", *arguments]
        command = pinned(self.load_cpus, [str(word) for word in command])
        before = cpu_seconds(target.process)
        forget_peak(target.process)
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        spent = cpu_seconds(target.process) - before
        rows = [line for line in done.stdout.splitlines() if line.startswith('"')]
        if done.returncode or len(rows) < 2:
            raise SystemExit(f"{target.name}: redis-benchmark failed: {done.stdout[-300:]} {done.stderr[-300:]}")
        # The columns: test, requests a second, then latencies avg, min, p50, p95, p99, max.
        columns = rows[-1].strip('"').split('","')
        peak_mb = memory_mb(target.process, "VmHWM")
        return Run(float(columns[1]), spent / requests * 1e6, float(columns[6]), peak_mb)


def pinned(cpus, arguments):
    return ["taskset", "-c", cpus, *arguments]


def cpu_seconds(process):
    """On-CPU time of all its threads, in nanosecond precision from the scheduler."""
    if process is None:
        return 0.0
    tasks = pathlib.Path(f"/proc/{process.pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def forget_peak(process):
    """Makes the kernel count the peak of resident memory anew."""
    if process is not None:
        pathlib.Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def memory_mb(process, field):
    if process is None:
        return 0.0
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"no {field} for {process.pid}")


def measure(machine, targets, chosen, rounds, scale):
    """All runs by workload and target."""
    for target in targets:
        machine.load(target, KEYS * 2, ["-c", "20", "-P", "32", "-r", KEYS, "SET", *key(), SMALL])
        machine.load(target, BIG_KEYS * 8, ["-c", "4", "-r", BIG_KEYS, "SET", "big:__rand_int__", BIG])
    runs = {}
    for number in range(rounds):
        for name in chosen:
            _, requests, arguments = WORKLOADS[name]
            for target in targets:
                run = machine.load(target, max(int(requests * scale), 1000), arguments)
                runs.setdefault((name, target.name), []).append(run)
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    return runs


def median(runs, field):
    return statistics.median(getattr(run, field) for run in runs)


def ratio(runs, base, field):
    """The median of the rounds' own ratios, in which a drift of the machine cancels out."""
    return statistics.median(getattr(run, field) / getattr(other, field) for run, other in zip(runs, base))


def report(targets, runs, chosen, base):
    for name in chosen:
        print(f"\n{WORKLOADS[name][0]}\n")
        print(f"| target | requests/s | p99 ms | CPU us/request | peak MB | requests/s to {base} | CPU to {base} |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for target in targets:
            mine, theirs = runs[name, target.name], runs.get((name, base))
            cells = [f"{median(mine, 'per_second'):.0f}", f"{median(mine, 'p99_ms'):.2f}"]
            cells.append(f"{median(mine, 'cpu_us'):.2f}" if target.process else "")
            peak_mb = max(run.peak_mb for run in mine)
            cells.append(f"{peak_mb:.1f}" if target.process else "")
            cells.append(f"{ratio(mine, theirs, 'per_second'):.2f}" if theirs else "")
            cells.append(f"{ratio(mine, theirs, 'cpu_us'):.2f}" if theirs and target.process else "")
            print(f"| {target.name} | {' | '.join(cells)} |")
    print("\n| target | memory at the end MB |\n|---|---:|")
    for target in targets:
        if target.process:
            print(f"| {target.name} | {memory_mb(target.process, 'VmRSS'):.1f} |")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help=f"workloads, with commas between: {','.join(WORKLOADS)}")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual number of requests")
    parser.add_argument("--ringroad", default=str(ROOT / "target/release/ringroad"), help="the binary to race")
    parser.add_argument("--workers", default="1", help="of Ringroad")
    parser.add_argument("--without", default="", help="targets to leave out, with commas between")
    parser.add_argument("--proxy-cpus", default="0")
    parser.add_argument("--load-cpus", default="1")
    return parser.parse_args()


def main():
    options = arguments()
    chosen = options.only.split(",") if options.only else list(WORKLOADS)
    unknown = [name for name in chosen if name not in WORKLOADS]
    if unknown:
        raise SystemExit(f"no such workload: {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    if os.cpu_count() < 2:
        raise SystemExit("a race needs two cores: one for the proxy, one for servers and load")
    os.environ["PATH"] += ":/usr/sbin"
    left_out = options.without.split(",")
    with Machine(options.proxy_cpus, options.load_cpus) as machine:
        servers = [machine.redis_server() for _ in range(SERVERS)]
        targets = [Target("direct", servers[0])]
        if "nutcracker" not in left_out:
            targets.append(machine.proxy("nutcracker", "nutcracker", [], servers))
        if "ringroad" not in left_out:
            workers = ["--workers", options.workers]
            targets.append(machine.proxy("ringroad", options.ringroad, workers, servers))
        targets = [target for target in targets if target.name not in left_out]
        runs = measure(machine, targets, chosen, options.rounds, options.scale)
        report(targets, runs, chosen, "nutcracker")


if __name__ == "__main__":
    main()
