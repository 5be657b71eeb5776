#!/usr/bin/env python3
"""A race on one machine: a plain server, nutcracker, and Ringroad with one worker.

Each proxy has a core to itself; four servers and the load generator share another. Every target runs every workload
in turn, round after round, so that a drift of the machine hits all of them alike. The figure to trust is the proxy's
own CPU time per request: requests per second depend on who else is busy. The tables are Markdown.

Redis is asked by redis-benchmark, memcached (--memcached) by this project's own load generator, benches/load. That one
checks the replies: an error, a miss or a reply that is none ends the race.
"""

import argparse
import dataclasses
import getpass
import json
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
# Bytes of a value: the beginning of its keys, and how many there are.
KEYS = {64: ("key:", 100_000), 1024: ("mid:", 10_000), 16384: ("big:", 100)}


@dataclasses.dataclass
class Workload:
    """Requests of one kind: get, set, or mget of several keys."""

    what: str
    requests: int
    kind: str
    clients: int = 50
    pipeline: int = 1
    keys: int = 1
    value_bytes: int = 64
    in_turn: bool = False

    def of_redis_benchmark(self, target, requests):
        prefix, space = KEYS[self.value_bytes]
        value = ["x" * self.value_bytes] if self.kind == "set" else []
        options = ["-c", self.clients, "-P", self.pipeline, "-r", space]
        asked = [self.kind.upper(), *[f"{prefix}__rand_int__"] * self.keys, *value]
        where = ["-h", target.address[0], "-p", target.address[1]]
        return ["redis-benchmark", *where, "-n", requests, "--csv", *options, *asked]

    def of_own_load(self, program, protocol, target, requests):
        prefix, space = KEYS[self.value_bytes]
        where = ["--host", target.address[0], "--port", target.address[1], "--protocol", protocol]
        which = ["--prefix", prefix, "--key-space", space, *(["--in-turn"] if self.in_turn else [])]
        how = ["--clients", self.clients, "--pipeline", self.pipeline, "--requests", requests]
        what = ["--workload", self.kind, "--keys", self.keys, "--value-bytes", self.value_bytes]
        return [program, *where, *which, *how, *what]


REDIS = {
    "get_c50": Workload("GET, 50 clients", 100_000, "get"),
    "set_c50": Workload("SET, 50 clients", 100_000, "set"),
    "get_c1000": Workload("GET, 1000 clients", 100_000, "get", clients=1000),
    "get_p16": Workload("GET, pipeline of 16", 600_000, "get", pipeline=16),
    "set_p16": Workload("SET, pipeline of 16", 600_000, "set", pipeline=16),
    "get_p128": Workload("GET, pipeline of 128", 1_200_000, "get", clients=8, pipeline=128),
    "mget_10": Workload("MGET of 10 keys", 50_000, "mget", keys=10),
    "mget_100": Workload("MGET of 100 keys", 10_000, "mget", clients=20, pipeline=4, keys=100),
    "get_16k": Workload("GET, 16 kB", 50_000, "get", clients=20, pipeline=4, value_bytes=16384),
    "set_16k": Workload("SET, 16 kB", 50_000, "set", clients=20, pipeline=4, value_bytes=16384),
}
MEMCACHED = {
    "get_c50": Workload("get, 50 clients", 100_000, "get"),
    "get_c1000": Workload("get, 1000 clients", 100_000, "get", clients=1000),
    "get_p16": Workload("get, pipeline of 16", 600_000, "get", pipeline=16),
    "mget_10": Workload("get of 10 keys", 50_000, "mget", keys=10),
    "mget_100": Workload("get of 100 keys", 10_000, "mget", clients=20, pipeline=4, keys=100),
    "set_1k": Workload("set, 1 kB", 100_000, "set", value_bytes=1024),
    "get_16k": Workload("get, 16 kB", 50_000, "get", clients=20, pipeline=4, value_bytes=16384),
}


@dataclasses.dataclass
class Target:
    """What the load generator talks to. A plain server has no process whose CPU time counts."""

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

    def __init__(self, protocol, own_load, proxy_cpus, load_cpus):
        self.protocol, self.own_load = protocol, own_load
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

    def server(self):
        if self.protocol == "redis":
            address = (self.new_host(), 6379)
            options = "--save,,--appendonly,no,--maxclients,20000,--dir".split(",")
            where = ["--bind", address[0], "--port", str(address[1])]
            arguments = ["redis-server", *where, *options, str(self.folder)]
        else:
            address = (self.new_host(), 11211)
            options = ["-t", "1", "-m", "256", "-c", "20000", "-u", getpass.getuser()]
            arguments = ["memcached", "-l", address[0], "-p", str(address[1]), *options]
        self.start(self.load_cpus, arguments, address)
        return address

    def proxy(self, name, program, extra, servers):
        address = (self.new_host(), 22121)
        conf = self.folder / f"{name}.yml"
        listed = "".join(f"    - {host}:{port}:1 s{n}\n" for n, (host, port) in enumerate(servers))
        conf.write_text(
            f"race:\n  listen: {address[0]}:{address[1]}\n  hash: murmur\n  distribution: ketama\n"
            f"  redis: {str(self.protocol == 'redis').lower()}\n  timeout: 5000\n  servers:\n{listed}"
        )
        arguments = [program, "-c", str(conf), "-o", "", "-a", address[0], "-s", "22222", *extra]
        return Target(name, address, self.start(self.proxy_cpus, arguments, address))

    def load(self, target, workload, requests):
        if self.own_load:
            command = workload.of_own_load(self.own_load, self.protocol, target, requests)
        else:
            command = workload.of_redis_benchmark(target, requests)
        command = pinned(self.load_cpus, [str(word) for word in command])
        before = cpu_seconds(target.process)
        forget_peak(target.process)
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        spent = cpu_seconds(target.process) - before
        peak_mb = memory_mb(target.process, "VmHWM")
        read = read_own_load if self.own_load else read_redis_benchmark
        found = None if done.returncode else read(done.stdout)
        if found is None:
            raise SystemExit(f"{target.name}: {workload.what} failed: {done.stdout[-300:]} {done.stderr[-300:]}")
        return Run(found[0], spent / requests * 1e6, found[1], peak_mb)


def read_redis_benchmark(text):
    """Requests per second and p99 in ms. Columns: test, requests per second, latencies avg, min, p50, p95, p99, max."""
    rows = [line for line in text.splitlines() if line.startswith('"')]
    if len(rows) < 2:
        return None
    columns = rows[-1].strip('"').split('","')
    return float(columns[1]), float(columns[6])


def read_own_load(text):
    told = json.loads(text)
    if told["errors"] or told["misses"]:
        return None
    return told["rps"], told["latency_us"]["p99"] / 1000


def build_own_load():
    """The path of the load generator. It has a target directory to itself: built as a benchmark, Cargo builds Ringroad
    with it, with the features of the tests, and must not put that in the place of the release."""
    command = "cargo bench --locked --no-run --bench load --target-dir target/load --message-format json".split()
    quick = os.environ | {"CARGO_PROFILE_BENCH_LTO": "false", "CARGO_PROFILE_BENCH_CODEGEN_UNITS": "16"}
    done = subprocess.run(command, cwd=ROOT, env=quick, stdout=subprocess.PIPE, text=True, check=True)
    built = [json.loads(line) for line in done.stdout.splitlines()]
    return next(one["executable"] for one in built if one.get("target", {}).get("name") == "load" and one["executable"])


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


def measure(machine, targets, workloads, rounds, scale):
    """All runs by workload and target."""
    for target in targets:
        for value_bytes in sorted({workload.value_bytes for workload in workloads.values()}):
            # redis-benchmark draws the keys by chance: after eight times as many requests hardly one has no value.
            count = KEYS[value_bytes][1] * (1 if machine.own_load else 8)
            pipeline = 32 if value_bytes == 64 else 1
            fill = Workload("filling", count, "set", 4, pipeline, value_bytes=value_bytes, in_turn=True)
            machine.load(target, fill, fill.requests)
    runs = {}
    for number in range(rounds):
        for name, workload in workloads.items():
            for target in targets:
                run = machine.load(target, workload, max(int(workload.requests * scale), 1000))
                runs.setdefault((name, target.name), []).append(run)
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    return runs


def median(runs, field):
    return statistics.median(getattr(run, field) for run in runs)


def ratio(runs, base, field):
    """The median of the rounds' own ratios, in which a drift of the machine cancels out."""
    return statistics.median(getattr(run, field) / getattr(other, field) for run, other in zip(runs, base))


def report(targets, runs, workloads, base):
    for name, workload in workloads.items():
        print(f"\n{workload.what}\n")
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
    parser.add_argument("--memcached", action="store_true", help="memcached instead of Redis")
    names = f"Redis: {','.join(REDIS)}; memcached: {','.join(MEMCACHED)}"
    parser.add_argument("--only", help=f"workloads, with commas between. {names}")
    parser.add_argument("--own-load", action="store_true", help="benches/load for Redis too")
    parser.add_argument("--load", help="the load generator's binary; without it, it is built if need be")
    parser.add_argument("--scale", type=float, default=1.0, help="times the usual number of requests")
    parser.add_argument("--ringroad", default=str(ROOT / "target/release/ringroad"), help="the binary to race")
    parser.add_argument("--workers", default="1", help="of Ringroad")
    parser.add_argument("--without", default="", help="targets to leave out, with commas between")
    parser.add_argument("--proxy-cpus", default="0")
    parser.add_argument("--load-cpus", default="1")
    return parser.parse_args()


def main():
    options = arguments()
    workloads = MEMCACHED if options.memcached else REDIS
    chosen = options.only.split(",") if options.only else list(workloads)
    unknown = [name for name in chosen if name not in workloads]
    if unknown:
        raise SystemExit(f"no such workload: {', '.join(unknown)}; there are {', '.join(workloads)}")
    workloads = {name: workloads[name] for name in chosen}
    if os.cpu_count() < 2:
        raise SystemExit("a race needs two cores: one for the proxy, one for servers and load")
    os.environ["PATH"] += ":/usr/sbin"
    left_out = options.without.split(",")
    protocol = "memcached" if options.memcached else "redis"
    own_load = None
    if options.memcached or options.own_load:
        own_load = options.load or build_own_load()
    with Machine(protocol, own_load, options.proxy_cpus, options.load_cpus) as machine:
        servers = [machine.server() for _ in range(SERVERS)]
        targets = [Target("direct", servers[0])]
        if "nutcracker" not in left_out:
            targets.append(machine.proxy("nutcracker", "nutcracker", [], servers))
        if "ringroad" not in left_out:
            workers = ["--workers", options.workers]
            targets.append(machine.proxy("ringroad", options.ringroad, workers, servers))
        targets = [target for target in targets if target.name not in left_out]
        runs = measure(machine, targets, workloads, options.rounds, options.scale)
        report(targets, runs, workloads, "nutcracker")


if __name__ == "__main__":
    main()
