#!/usr/bin/env python3
"""What clients notice of reloads of a large pool, in one run.

Clients send GETs at a fixed rate to a pool of 1,000 servers, while its file is reloaded again and again, and while it is
not, in turn, round after round. The servers of the ring are names of a few redis-servers. A latency is counted from the
time at which its request was due, so a stall shows in every request that it delays. The table is Markdown.

Kinds of reloads: a setting alone, which all workers adopt with the servers that they have; a server that comes and goes,
for which a ring is built and compared. A reload is asked for over the admin socket, and the next one follows a pause
after its answer."""

import argparse
import http.client
import json
import os
import pathlib
import socket
import statistics
import subprocess
import threading
import time

from race import build_own_load
from racing.machine import ROOT, Machine, Target, cpu_seconds, table
from racing.workloads import Workload

REAL_SERVERS = 4
KEYS = 100_000
QUIET = "none"


def main():
    options = arguments()
    cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0)))
    proxy_cpus, load_cpus = options.proxy_cpus or cpus, options.load_cpus or cpus
    load = options.load or build_own_load()
    with Machine("redis", load, 0.0, proxy_cpus, load_cpus) as machine:
        pool = Pool(machine, options)
        fill(machine, pool.real)
        runs = {}
        for _ in range(options.rounds):
            for what in (QUIET, *KINDS):
                runs.setdefault(what, []).append(measure(machine, pool, what, options))
        report(runs, options)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run")
    parser.add_argument("--servers", type=int, default=1000, help="in the ring")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rate", type=int, default=5000, help="GETs per second of all clients")
    parser.add_argument("--pause", type=float, default=0.25, help="seconds between two reloads")
    parser.add_argument("--workers", default="1", help="worker threads of Ringroad")
    parser.add_argument("--directives", default="", help="more lines of the pool, separated by semicolons")
    parser.add_argument("--load", help="binary of the load generator; built if not given")
    parser.add_argument("--ringroad", default=str(ROOT / "target/release/ringroad"), help="the binary to benchmark")
    parser.add_argument("--proxy-cpus", help="default: all")
    parser.add_argument("--load-cpus", help="default: all")
    return parser.parse_args()


class Pool:
    """A proxy with one pool of many names."""

    def __init__(self, machine, options):
        self.real = [machine.server() for _ in range(REAL_SERVERS)]
        self.names = [f"{self.real[n % REAL_SERVERS][0]}:6379:1 s{n}" for n in range(options.servers)]
        self.spare = f"{self.real[0][0]}:6379:1 spare"
        self.more = "".join(f"  {line.strip()}\n" for line in options.directives.split(";") if line.strip())
        self.address = (machine.new_host(), 22121)
        self.conf, self.socket = machine.folder / "pool.yml", machine.folder / "ctl.sock"
        self.write(self.names)
        arguments = [options.ringroad, "-c", str(self.conf), "-o", "", "-a", self.address[0], "-s", "22222"]
        arguments += ["--workers", options.workers, "--admin", str(self.socket)]
        process = machine.start(machine.proxy_cpus, arguments, self.address)
        self.target = Target("ringroad", self.address, process)

    def write(self, servers, timeout=5000):
        listed = "".join(f"    - {server}\n" for server in servers)
        head = f"reloads:\n  listen: {self.address[0]}:{self.address[1]}\n  redis: true\n  hash: murmur\n"
        head += f"  distribution: ketama\n  on_placement_change: swap\n  timeout: {timeout}\n{self.more}"
        # Nobody reads half of it.
        new = pathlib.Path(f"{self.conf}.new")
        new.write_text(f"{head}  servers:\n{listed}")
        new.replace(self.conf)

    def change_setting(self, number):
        self.write(self.names, 5000 + number % 2)

    def change_server(self, number):
        self.write([*self.names, self.spare] if number % 2 else self.names)

    def reload(self):
        """Returns the number of pools that have changed."""
        connection = http.client.HTTPConnection("proxy")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(str(self.socket))
        connection.request("POST", "/reload", "{}")
        told = json.loads(connection.getresponse().read())
        connection.close()
        return len(told["pools"])


KINDS = {"a setting": Pool.change_setting, "a server comes or goes": Pool.change_server}


class Reloader(threading.Thread):
    """Reloads until it is stopped."""

    def __init__(self, pool, change, pause):
        super().__init__()
        self.pool, self.change, self.pause = pool, change, pause
        self.seconds, self.stopped, self.failure = [], threading.Event(), None

    def run(self):
        try:
            number = 0
            while not self.stopped.wait(self.pause):
                number += 1
                self.change(self.pool, number)
                started = time.monotonic()
                if self.pool.reload() != 1:
                    raise ValueError("a reload has changed nothing")
                self.seconds.append(time.monotonic() - started)
        except Exception as failure:
            self.failure = failure


def fill(machine, servers):
    """Every server has every key: one that comes takes keys over."""
    for address in servers:
        filling = Workload("filling", KEYS, "set", 4, 32, value_bytes=64, in_turn=True)
        machine.load(Target("server", address), filling, KEYS)


def measure(machine, pool, what, options):
    # Everybody begins with the same file.
    pool.write(pool.names)
    pool.reload()
    reloader = Reloader(pool, KINDS[what], options.pause) if what != QUIET else None
    asked = Workload("reloads", 0, "get", options.clients, 16)
    pace = ["--seconds", options.seconds, "--rate", options.rate]
    before = cpu_seconds(pool.target.process)
    if reloader:
        reloader.start()
    done = subprocess.run(machine.command(pool.target, asked, pace), capture_output=True, text=True, timeout=600)
    if reloader:
        reloader.stopped.set()
        reloader.join()
        if reloader.failure:
            raise SystemExit(f"reload failed: {reloader.failure}")
    told = json.loads(done.stdout) if done.returncode == 0 else None
    if told is None or told["errors"] or told["misses"]:
        raise SystemExit(f"load failed: {done.stdout[-300:]} {done.stderr[-300:]}")
    spent = cpu_seconds(pool.target.process) - before
    return told, reloader.seconds if reloader else [], spent


def report(runs, options):
    print(
        f"\n{options.servers} servers in the ring, {options.clients} clients, {options.rate} GETs a second, "
        f"{options.workers} workers, {options.rounds} rounds of {options.seconds:g} s\n"
    )
    columns = ["reloads", "per second", "ms each", "p50 ms", "p99 ms", "p99.9 ms", "worst ms", "p99 to none", "CPU %"]
    table(columns, [row(what, mine, runs[QUIET]) for what, mine in runs.items()])


def row(what, mine, quiet):
    """Medians of the rounds; the worst of all."""
    latency = lambda run, name: run[0]["latency_us"][name] / 1000
    ratio = statistics.median(latency(run, "p99") / latency(base, "p99") for run, base in zip(mine, quiet))
    took = [seconds for run in mine for seconds in run[1]]
    per_second = statistics.median(len(run[1]) / run[0]["seconds"] for run in mine)
    cells = [what, f"{per_second:.1f}", f"{statistics.median(took) * 1000:.0f}" if took else ""]
    cells += [f"{statistics.median(latency(run, name) for run in mine):.2f}" for name in ("p50", "p99", "p99.9")]
    cells += [f"{max(latency(run, 'max') for run in mine):.1f}", f"{ratio:.2f}"]
    return [*cells, f"{statistics.median(run[2] / run[0]['seconds'] for run in mine):.0%}"]


if __name__ == "__main__":
    main()
