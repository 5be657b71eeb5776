"""TLS towards clients: Ringroad with and without, and HAProxy that terminates it before nutcracker."""

import re
import subprocess
import time

from .machine import Target, cpu_seconds, median, pinned, ratio, table

WORKLOADS = ["get_c50", "get_p16", "set_p16", "get_16k"]
BASE = "ringroad"
# Seconds of new connections, one after another.
HANDSHAKES_FOR = 3


KEYS = {"ecdsa": "ec -pkeyopt ec_paramgen_curve:prime256v1", "rsa": "rsa:2048"}


def certificates(folder, kind="ecdsa"):
    """The files of a CA and of a certificate with a key of this kind, and one file with both certificate and key for HAProxy."""
    ca, ca_key, key, cert, request = [folder / name for name in ("ca.pem", "ca.key", "tls.key", "tls.pem", "tls.csr")]
    new = f"openssl req -newkey {KEYS[kind]} -nodes -batch".split()
    extensions = folder / "tls.ext"
    extensions.write_text("basicConstraints=CA:FALSE\nsubjectAltName=DNS:race.test\n")
    for command in (
        [*new, "-x509", "-days", "2", "-subj", "/CN=race CA", "-keyout", ca_key, "-out", ca],
        [*new, "-subj", "/CN=race.test", "-keyout", key, "-out", request],
        ["openssl", "x509", "-req", "-days", "2", "-in", request, "-CA", ca, "-CAkey", ca_key]
        + ["-CAcreateserial", "-extfile", extensions, "-out", cert],
    ):
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
    both = folder / "haproxy.pem"
    both.write_text(cert.read_text() + key.read_text())
    return ca, cert, key, both


def line_up(machine, options):
    servers = [machine.server() for _ in range(4)]
    ca, cert, key, both = certificates(machine.folder)
    extra = ["--workers", options.workers]
    plain = machine.proxy(BASE, options.ringroad, extra, servers)
    # The same file has both listeners, but not the same process: its CPU time is that of TLS alone.
    address = (machine.new_host(), 22122)
    more = f"  tls_listen: {address[0]}:{address[1]}\n  tls_cert: {cert}\n  tls_key: {key}\n"
    encrypted = machine.proxy("ringroad-tls", options.ringroad, extra, servers, more)
    targets = [plain, Target("ringroad-tls", address, encrypted.process, ca=str(ca))]
    if "haproxy" not in options.without.split(","):
        behind = machine.proxy("nutcracker", "nutcracker", [], servers)
        targets.append(haproxy(machine, behind, ca, both))
    return targets


def haproxy(machine, behind, ca, both):
    address = (machine.new_host(), 22122)
    conf = machine.folder / "haproxy.cfg"
    conf.write_text(
        "global\n  nbthread 1\n  maxconn 4000\n"
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n"
        f"listen race\n  bind {address[0]}:{address[1]} ssl crt {both}\n"
        f"  server nutcracker {behind.address[0]}:{behind.address[1]}\n"
    )
    process = machine.start(machine.proxy_cpus, ["haproxy", "-db", "-f", str(conf)], address)
    return Target("haproxy-nutcracker", address, process, ca=str(ca), behind=behind.process)


def handshakes(machine, targets, rounds):
    """CPU time of a handshake, new and resumed, by target."""
    found = {}
    for _ in range(rounds):
        for target in targets:
            for kind in ("new", "reuse"):
                if target.ca:
                    found.setdefault((target.name, kind), []).append(handshake(machine, target, kind))
    return found


def handshake(machine, target, kind):
    where = ["-connect", f"{target.address[0]}:{target.address[1]}", "-CAfile", target.ca]
    command = ["openssl", "s_time", f"-{kind}", "-time", str(HANDSHAKES_FOR), *where]
    before = cpu_seconds(target.process)
    done = subprocess.run(pinned(machine.load_cpus, command), capture_output=True, text=True, timeout=60)
    time.sleep(0.1)
    spent = cpu_seconds(target.process) - before
    count = re.search(r"^(\d+) connections in \d+ real seconds", done.stdout, re.MULTILINE)
    if not count or int(count[1]) == 0:
        raise SystemExit(f"{target.name}: no handshakes: {done.stdout[-300:]} {done.stderr[-300:]}")
    return spent / int(count[1]) * 1e6


def report(targets, runs, workloads, shaken):
    for name, workload in workloads.items():
        print(f"\n{workload.what}\n")
        rows = []
        for target in targets:
            mine, theirs = runs[name, target.name], runs[name, BASE]
            row = [target.name, f"{median(mine, 'per_second'):.0f}", f"{median(mine, 'p99_ms'):.2f}"]
            rows.append([*row, f"{median(mine, 'cpu_us'):.2f}", f"{ratio(mine, theirs, 'cpu_us'):.2f}"])
        table(["target", "requests/s", "p99 ms", "CPU us/request", f"CPU to {BASE}"], rows)
    print("\nHandshakes (ECDSA P-256), one after another\n")
    rows = []
    for target in targets:
        if target.ca:
            figures = [sorted(shaken[target.name, kind]) for kind in ("new", "reuse")]
            rows.append([target.name, *(f"{some[len(some) // 2]:.0f}" for some in figures)])
    table(["target", "CPU us/handshake", "resumed"], rows)
