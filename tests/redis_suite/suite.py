"""The suite itself: the download, and the run of one of its units."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import urllib.request

VERSION = "7.0.15"
TARBALL = f"pool/main/r/redis/redis_{VERSION}.orig.tar.gz"
SHA256 = "4b1dc4ee6d622a09fff9c6777191209750fb5e5a725ef78ea012d6eef4c22982"

# The units that have tests which run from outside. The others start servers of their own.
UNITS = """unit/printver unit/dump unit/auth unit/protocol unit/keyspace unit/scan unit/info unit/info-command
    unit/type/string unit/type/incr unit/type/list unit/type/list-2 unit/type/list-3 unit/type/set unit/type/zset
    unit/type/hash unit/type/stream unit/type/stream-cgroups unit/sort unit/expire unit/other unit/multi unit/quit
    unit/aofrw unit/acl unit/acl-v2 unit/latency-monitor unit/pubsub unit/pubsubshard unit/slowlog unit/scripting
    unit/functions unit/maxmemory unit/introspection unit/introspection-2 unit/limits unit/obuf-limits unit/bitops
    unit/bitfield unit/geo unit/memefficiency unit/hyperloglog unit/lazyfree unit/wait unit/pause unit/querybuf
    unit/pendingquerybuf unit/tracking unit/shutdown unit/networking unit/cluster unit/client-eviction
    unit/violations unit/replybufsize unit/cluster-scripting unit/cluster/misc unit/cluster/links
    integration/redis-cli integration/redis-benchmark integration/logging""".split()

# A unit that hangs more often is abandoned.
MOST_HANGS = 4

# Appended to the suite's own Tcl.
ON_SERVERS = """
# The reply of the servers behind the proxy to one command: a digest of all is the XOR of theirs, a key is on one.
proc on_servers {args} {
    set servers {}
    foreach port $::env(SUITE_SERVERS) {
        set server [redis $::host $port 1 0]
        $server {*}$args
        lappend servers $server
    }
    set good {}
    set bad {}
    foreach server $servers {
        if {[catch {$server read} reply]} { lappend bad $reply } else { lappend good $reply }
        $server close
    }
    if {$good eq {}} { error [lindex $bad 0] }
    if {[string match -nocase digest* [lindex $args 1]]} {
        set all {}
        foreach places [list [split [lindex $good 0] {}]] {
            for {set at 0} {$at < [llength $places]} {incr at} {
                set digit 0
                foreach reply $good { set digit [expr {$digit ^ "0x[string index $reply $at]"}] }
                append all [format %x $digit]
            }
        }
        return $all
    }
    return [lindex $good 0]
}

proc await_rewritten {} {
    foreach port $::env(SUITE_SERVERS) {
        set server [redis $::host $port 0 0]
        wait_for_condition 1000 10 {
            [status $server aof_rewrite_scheduled] == 0 && [status $server aof_rewrite_in_progress] == 0
        } else { fail "the AOF is not rewritten" }
        $server close
    }
}
"""

DEBUG = """
    if {[string tolower $method] in {debug} && !$deferred && $blocking
            && [lindex $::redis::addr($id) 1] == $::port} {
        return [on_servers $method {*}$argv]
    }
"""

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ENDED = re.compile(r"^\[(ok|err|ignore|skip|exception|TIMEOUT)\]: (.*?)(?: \(\d+ ms\))?$")
IN_PROGRESS = re.compile(r"^\S+ => \((?:IN PROGRESS|ERR|OK)\) (.*)$")


class Suite:
    def __init__(self, root):
        self.root = root

    @classmethod
    def fetch(cls, work):
        root = os.path.join(work, f"redis-{VERSION}")
        if not os.path.exists(os.path.join(root, "runtest")):
            tarball = os.path.join(work, os.path.basename(TARBALL))
            if not os.path.exists(tarball) or digest(tarball) != SHA256:
                download(tarball)
            with tarfile.open(tarball) as archive:
                archive.extractall(work)
            own_setup(root)
            for program in ("redis-cli", "redis-server", "redis-benchmark"):
                os.symlink(shutil.which(program), os.path.join(root, "src", program))
        return cls(root)

    def run(self, unit, fleet, patience, left_out):
        """The results of each test of the unit: name -> list of (ok | err | hung, detail), one per run."""
        tests, hung = {}, []
        while True:
            with fleet:
                tests, stuck = self.run_once(unit, fleet, patience, [*left_out, *hung])
            if stuck is None:
                break
            hung.append(stuck)
            if len(hung) > MOST_HANGS:
                break
        for name in hung:
            tests.setdefault(name, []).append(["hung", ""])
        return tests

    def run_once(self, unit, fleet, patience, skipped):
        command = ["./runtest", "--host", fleet.host, "--port", str(fleet.port), "--single", unit, "--cluster-mode",
                   "--durable", "--timeout", str(patience),
                   # Where its two processes meet; units that run at the same time must not.
                   "--baseport", str(21111 + 64 * UNITS.index(unit))]
        for name in skipped:
            command += ["--skiptest", name]
        try:
            environment = os.environ | {"SUITE_SERVERS": " ".join(map(str, fleet.ports))}
            done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, timeout=900,
                                  check=False)
            output = done.stdout
        except subprocess.TimeoutExpired as expired:
            output = (expired.stdout or b"") + b"\n[TIMEOUT]: x\n"
        return read(COLOUR.sub("", output.decode("utf-8", "replace")))


def read(output):
    """The tests of one run, and the one that it hung in."""
    tests, last, stuck, timed_out = {}, None, None, False
    for line in output.split("\n"):
        if found := IN_PROGRESS.match(line):
            stuck = found[1]
        if line.startswith("                   The End"):
            break
        if found := ENDED.match(line):
            how, name = found[1], found[2]
            last = None
            if how == "TIMEOUT":
                timed_out = True
            elif how in ("ok", "err", "exception"):
                detail = []
                if how != "ok":
                    name = re.sub(r" in tests/\S+$", "", name)
                    last = detail
                tests.setdefault(name, []).append([how, detail])
        elif last is not None and line and not line.startswith("["):
            last.append(line)
    for runs in tests.values():
        for run in runs:
            run[1] = "\n".join(run[1])
    return tests, stuck if timed_out else None


def own_setup(root):
    """Before each block of tests the suite empties its server and sets parameters that the block needs. That is no
    test, so it is done on the servers themselves. The tests use the proxy, except for DEBUG, with which they choose
    encodings and internal settings of the server."""
    path = os.path.join(root, "tests/support/server.tcl")
    edit(path, [
        ("\n    r flushall\n    r function flush\n", "\n    on_servers flushall\n    on_servers function flush\n"),
        ("[lindex [r config get $param] 1]\n        r config set $param $val",
         "[lindex [on_servers config get $param] 1]\n        on_servers config set $param $val"),
        ("dict for {param val} $saved_config {\n        r config set",
         "dict for {param val} $saved_config {\n        on_servers config set"),
        ("waitForBgrewriteaof r\n", "await_rewritten\n"),
    ])
    with open(path, "a", encoding="utf-8") as file:
        file.write(ON_SERVERS)
    # What they ask of users does not need a server of their own; the blocks behind it have files of users.
    for unit, tags in (("acl", "acl"), ("acl-v2", "acl"), ("auth", "auth")):
        edit(os.path.join(root, f"tests/unit/{unit}.tcl"), [
            (f'start_server {{tags {{"{tags} external:skip"}}}} {{', f'start_server {{tags {{"{tags}"}}}} {{')])
    edit(os.path.join(root, "tests/support/redis.tcl"), [
        ("    if {$blocking == 0} {\n        if {[llength $argv] == 0} {",
         DEBUG + "    if {$blocking == 0} {\n        if {[llength $argv] == 0} {")])


def edit(path, changes):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for old, new in changes:
        if old not in text:
            raise SystemExit(f"{path} is not what it was: no {old}")
        text = text.replace(old, new)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def download(tarball):
    urls = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"],
                          capture_output=True, text=True, check=True).stdout.split()
    for url in dict.fromkeys(urls):
        try:
            with urllib.request.urlopen(url.rstrip("/") + "/" + TARBALL) as source, open(tarball, "wb") as file:
                shutil.copyfileobj(source, file)
        except OSError:
            continue
        if digest(tarball) == SHA256:
            return
    raise SystemExit(f"none of apt's mirrors has {TARBALL} with the expected checksum: {' '.join(urls)}")


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
