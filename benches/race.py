#!/usr/bin/env python3
"""A benchmark on one machine: a plain server, nutcracker, Envoy if it is installed, and Ringroad with one worker.

The proxies run on one core, one at a time; four servers and the load generator share another. Every target runs every
workload in turn, round after round, so that drift of the machine affects all of them equally. The most reliable figure is
the proxy's own CPU time per request: requests per second depend on other load. The tables are Markdown.

The load generator for Redis is redis-benchmark, for memcached (--memcached) it is this project's own, benches/load, which
checks the replies: an error, a miss or a malformed reply aborts the benchmark. --tail, --fairness and --idle measure
other properties instead of the workloads, also with benches/load. --tls compares TLS towards clients, and handshakes.
"""

import argparse
import json
import os
import subprocess
import sys

from racing import envoy, fairness, idle, tail, tls
from racing.machine import ROOT, Machine, Target, fill, median, memory_mb, ratio, table
from racing.workloads import MEMCACHED, REDIS

SERVERS = 4
BASE = "nutcracker"


def main():
    options = arguments()
    workloads = chosen(options)
    if os.cpu_count() < 2:
        raise SystemExit("the benchmark needs two cores: one for the proxy, one for servers and load generator")
    os.environ["PATH"] += ":/usr/sbin"
    protocol = "memcached" if options.memcached else "redis"
    own_load = None
    if options.memcached or options.own_load or options.tail or options.fairness or options.idle:
        own_load = options.load or build_own_load()
    with Machine(protocol, own_load, options.quiet, options.proxy_cpus, options.load_cpus) as machine:
        if options.tls:
            return race_tls(machine, options, workloads)
        targets = line_up(machine, options)
        if options.tail or options.fairness or options.idle:
            fill(machine, targets, {64})
        if options.tail:
            base = BASE if any(target.name == BASE for target in targets) else targets[-1].name
            found = tail.measure(machine, targets, options.rounds, options.scale, base)
            tail.report(targets, *found, base)
        if options.fairness:
            fairness.report(targets, fairness.measure(machine, targets, options.rounds, options.scale))
        if options.idle:
            idle.report(idle.measure(machine, targets))
        if not (options.tail or options.fairness or options.idle):
            fill(machine, targets, {workload.value_bytes for workload in workloads.values()})
            report(targets, measure(machine, targets, workloads, options.rounds, options.scale), workloads)


def race_tls(machine, options, workloads):
    targets = tls.line_up(machine, options)
    if not options.only:
        workloads = {name: workloads[name] for name in tls.WORKLOADS}
    fill(machine, targets[:1], {workload.value_bytes for workload in workloads.values()})
    runs = measure(machine, targets, workloads, options.rounds, options.scale)
    tls.report(targets, runs, workloads, tls.handshakes(machine, targets, options.rounds))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memcached", action="store_true", help="memcached instead of Redis")
    names = f"Redis: {','.join(REDIS)}; memcached: {','.join(MEMCACHED)}"
    parser.add_argument("--only", help=f"comma-separated workloads. {names}")
    parser.add_argument("--tail", action="store_true", help="latencies at fractions of each target's capacity, open loop")
    parser.add_argument("--fairness", action="store_true", help="a client with single requests next to a flood")
    parser.add_argument("--idle", action="store_true", help="memory with idle clients")
    parser.add_argument("--tls", action="store_true", help="TLS: Ringroad with and without, and HAProxy before nutcracker")
    parser.add_argument("--own-load", action="store_true", help="benches/load for Redis too")
    parser.add_argument("--load", help="binary of the load generator; built if not given")
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the number of requests, or the time")
    quiet = "repeat a run, up to five times, in which other processes used more than this part of a core; typically 0.1"
    parser.add_argument("--quiet", type=float, default=0.0, help=quiet)
    parser.add_argument("--ringroad", default=str(ROOT / "target/release/ringroad"), help="the binary to benchmark")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=FILE", help="another Ringroad next to it")
    parser.add_argument("--workers", default="1", help="worker threads of Ringroad")
    with_help = "envoy, included by default if installed, or envoy-at-once, which does not batch"
    parser.add_argument("--with", dest="more", default="", help=f"{with_help}; comma-separated")
    parser.add_argument("--without", default="", help="comma-separated targets to leave out")
    parser.add_argument("--proxy-cpus", default="0")
    parser.add_argument("--load-cpus", default="1")
    return parser.parse_args()


def chosen(options):
    workloads = MEMCACHED if options.memcached else REDIS
    names = options.only.split(",") if options.only else list(workloads)
    unknown = [name for name in names if name not in workloads]
    if unknown:
        raise SystemExit(f"no such workload: {', '.join(unknown)}; there are {', '.join(workloads)}")
    return {name: workloads[name] for name in names}


def line_up(machine, options):
    """Starts the servers and the targets; the first target is a plain server."""
    without = options.without.split(",")
    more = [name for name in options.more.split(",") if name]
    servers = [machine.server() for _ in range(SERVERS)]
    targets = [Target("direct", servers[0])]
    if BASE not in without:
        targets.append(machine.proxy(BASE, "nutcracker", [], servers))
    program = envoy.program()
    if more and (program is None or machine.protocol != "redis"):
        raise SystemExit("Envoy supports Redis only, and must be installed: .ci/setup.sh race")
    if program and machine.protocol == "redis" and "envoy" not in more:
        more.insert(0, "envoy")
    for name in more:
        if name not in ("envoy", "envoy-at-once"):
            raise SystemExit(f"no such target: {name}")
        if name not in without:
            targets.append(machine.envoy(name, program, servers, gathering=name == "envoy"))
    for name, program in [("ringroad", options.ringroad), *(pair.split("=", 1) for pair in options.also)]:
        if name not in without:
            targets.append(machine.proxy(name, program, ["--workers", options.workers], servers))
    return targets


def measure(machine, targets, workloads, rounds, scale):
    """All runs by workload and target."""
    runs = {}
    for number in range(rounds):
        for name, workload in workloads.items():
            for target in targets:
                run = machine.load(target, workload, max(int(workload.requests * scale), 1000))
                runs.setdefault((name, target.name), []).append(run)
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr)
    return runs


def report(targets, runs, workloads):
    columns = ["target", "requests/s", "p50 ms", "p99 ms", "CPU us/request", "peak MB"]
    for name, workload in workloads.items():
        print(f"\n{workload.what}\n")
        rows = []
        for target in targets:
            mine, theirs = runs[name, target.name], runs.get((name, BASE))
            row = [target.name, f"{median(mine, 'per_second'):.0f}"]
            row += [f"{median(mine, field):.2f}" for field in ("p50_ms", "p99_ms")]
            row.append(f"{median(mine, 'cpu_us'):.2f}" if target.process else "")
            row.append(f"{max(run.peak_mb for run in mine):.1f}" if target.process else "")
            row.append(f"{ratio(mine, theirs, 'per_second'):.2f}" if theirs else "")
            row.append(f"{ratio(mine, theirs, 'cpu_us'):.2f}" if theirs and target.process else "")
            rows.append(row)
        table([*columns, f"requests/s to {BASE}", f"CPU to {BASE}"], rows)
    print()
    memory = [[one.name, f"{memory_mb(one.process, 'VmRSS'):.1f}"] for one in targets if one.process]
    table(["target", "memory at the end MB"], memory)


def build_own_load():
    """The path of the load generator. It has a target directory to itself: built as a benchmark, Cargo builds Ringroad
    with it, with the features of the tests, and must not put that in the place of the release."""
    command = "cargo bench --locked --no-run --bench load --target-dir target/load --message-format json".split()
    quick = os.environ | {"CARGO_PROFILE_BENCH_LTO": "false", "CARGO_PROFILE_BENCH_CODEGEN_UNITS": "16"}
    done = subprocess.run(command, cwd=ROOT, env=quick, stdout=subprocess.PIPE, text=True, check=True)
    built = [json.loads(line) for line in done.stdout.splitlines()]
    return next(one["executable"] for one in built if one.get("target", {}).get("name") == "load" and one["executable"])


if __name__ == "__main__":
    main()
