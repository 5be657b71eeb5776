"""Starts servers and proxies on chosen cores, sends load, and measures its cost."""

import dataclasses
import getpass
import json
import os
import pathlib
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

from .envoy import configuration
from .workloads import KEYS, Workload

ROOT = pathlib.Path(__file__).resolve().parents[2]
# How often a disturbed run is repeated.
TRIES = 6


@dataclasses.dataclass
class Target:
    """A target of the load generator. A plain server has no process whose CPU time counts. One with a CA speaks TLS; the
    CPU time of a process behind it counts too."""

    name: str
    address: tuple
    process: subprocess.Popen | None = None
    ca: str | None = None
    behind: subprocess.Popen | None = None


@dataclasses.dataclass
class Run:
    """One workload, one round. The proxy's CPU time and its peak of resident memory while it lasted. redis-benchmark
    reports no p99.9."""

    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    peak_mb: float
    p999_ms: float = 0.0


class Machine:
    """Starts processes on chosen cores and stops them all."""

    def __init__(self, protocol, own_load, quiet, proxy_cpus, load_cpus):
        self.protocol, self.own_load, self.quiet = protocol, own_load, quiet
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

    def server(self, more=()):
        if self.protocol == "redis":
            address = (self.new_host(), 6379)
            options = "--save,,--appendonly,no,--maxclients,20000,--dir".split(",")
            where = ["--bind", address[0], "--port", str(address[1])]
            arguments = ["redis-server", *where, *options, str(self.folder)]
        else:
            address = (self.new_host(), 11211)
            options = ["-t", "1", "-m", "256", "-c", "20000", "-u", getpass.getuser()]
            arguments = ["memcached", "-l", address[0], "-p", str(address[1]), *options]
        self.start(self.load_cpus, [*arguments, *more], address)
        return address

    def proxy(self, name, program, extra, servers, more=""):
        address = (self.new_host(), 22121)
        conf = self.folder / f"{name}.yml"
        listed = "".join(f"    - {host}:{port}:1 s{n}\n" for n, (host, port) in enumerate(servers))
        conf.write_text(
            f"race:\n  listen: {address[0]}:{address[1]}\n  hash: murmur\n  distribution: ketama\n"
            f"  redis: {str(self.protocol == 'redis').lower()}\n  timeout: 5000\n{more}  servers:\n{listed}"
        )
        arguments = [program, "-c", str(conf), "-o", "", "-a", address[0], "-s", "22222", *extra]
        return Target(name, address, self.start(self.proxy_cpus, arguments, address))

    def envoy(self, name, program, servers, gathering):
        address = (self.new_host(), 22121)
        conf = self.folder / f"{name}.yaml"
        conf.write_text(configuration(address, servers, gathering))
        options = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
        arguments = [program, "-c", str(conf), *options]
        return Target(name, address, self.start(self.proxy_cpus, arguments, address))

    def command(self, target, workload, pace):
        """`pace` are the arguments for the amount of load: a number of requests, or a rate and a time."""
        if self.own_load:
            command = workload.of_own_load(self.own_load, self.protocol, target, pace)
        else:
            command = workload.of_redis_benchmark(target, pace)
        return pinned(self.load_cpus, [str(word) for word in command])

    def background(self, target, workload, pace):
        """Load that runs until it is killed, or has sent all requests."""
        process = subprocess.Popen(self.command(target, workload, pace), stdout=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def load(self, target, workload, requests):
        return self.paced(target, workload, ["-n" if self.own_load is None else "--requests", requests])

    def paced(self, target, workload, pace):
        """The first undisturbed run, or the least disturbed of a few."""
        runs = []
        for _ in range(TRIES if self.quiet else 1):
            foreign = self.foreign_seconds()
            started = time.monotonic()
            run = self.once(target, workload, pace)
            share = (self.foreign_seconds() - foreign) / (time.monotonic() - started)
            runs.append((share, run))
            if self.quiet and share <= self.quiet:
                break
        return min(runs, key=lambda run: run[0])[1]

    def foreign_seconds(self):
        """CPU time of everything on the machine that is not part of the benchmark."""
        fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        # user, nice, system, then idle and waiting, then interrupts.
        busy = sum(int(field) for field in fields[:3] + fields[5:7]) / os.sysconf("SC_CLK_TCK")
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        alive = sum(cpu_seconds(process) for process in self.processes if process.poll() is None)
        return busy - alive - ended.ru_utime - ended.ru_stime

    def once(self, target, workload, pace):
        before = cpu_seconds(target.process) + cpu_seconds(target.behind)
        forget_peak(target.process)
        command = self.command(target, workload, pace)
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        spent = cpu_seconds(target.process) + cpu_seconds(target.behind) - before
        peak_mb = memory_mb(target.process, "VmHWM")
        read = read_own_load if self.own_load else read_redis_benchmark
        found = None if done.returncode else read(done.stdout)
        if found is None:
            raise SystemExit(f"{target.name}: {workload.what} failed: {done.stdout[-300:]} {done.stderr[-300:]}")
        requests = found.pop("requests") or pace[1]
        return Run(cpu_us=spent / requests * 1e6, peak_mb=peak_mb, **found)


def read_redis_benchmark(text):
    """Columns: test, requests per second, latencies in ms: avg, min, p50, p95, p99, max."""
    rows = [line for line in text.splitlines() if line.startswith('"')]
    if len(rows) < 2:
        return None
    columns = rows[-1].strip('"').split('","')
    return {
        "requests": None,
        "per_second": float(columns[1]),
        "p50_ms": float(columns[4]),
        "p99_ms": float(columns[6]),
    }


def read_own_load(text):
    told = json.loads(text)
    if told["errors"] or told["misses"]:
        return None
    latency = {name: micros / 1000 for name, micros in told["latency_us"].items()}
    return {
        "requests": told["requests"],
        "per_second": told["rps"],
        "p50_ms": latency["p50"],
        "p99_ms": latency["p99"],
        "p999_ms": latency["p99.9"],
    }


def pinned(cpus, arguments):
    return ["taskset", "-c", cpus, *arguments]


def cpu_seconds(process):
    """On-CPU time of all its threads, in nanosecond precision from the scheduler."""
    if process is None:
        return 0.0
    tasks = pathlib.Path(f"/proc/{process.pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def forget_peak(process):
    """Resets the kernel's peak of resident memory."""
    if process is not None:
        pathlib.Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def memory_mb(process, field):
    if process is None:
        return 0.0
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"no {field} for {process.pid}")


def fill(machine, targets, sizes):
    """Sets every key of values of these sizes, in each target: they may place keys differently."""
    for target in targets:
        for value_bytes in sorted(sizes):
            # redis-benchmark picks random keys: after eight times as many requests hardly any key has no value.
            count = KEYS[value_bytes][1] * (1 if machine.own_load else 8)
            pipeline = 32 if value_bytes == 64 else 1
            filling = Workload("filling", count, "set", 4, pipeline, value_bytes=value_bytes, in_turn=True)
            machine.load(target, filling, filling.requests)


def median(runs, field):
    return statistics.median(getattr(run, field) for run in runs)


def ratio(runs, base, field):
    """The median of the rounds' own ratios, in which drift of the machine cancels out."""
    return statistics.median(getattr(run, field) / getattr(other, field) for run, other in zip(runs, base))


def table(columns, rows):
    print(f"| {' | '.join(columns)} |")
    # Names to the left, figures to the right.
    print(f"|---|{'---:|' * (len(columns) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
