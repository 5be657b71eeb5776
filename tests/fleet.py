"""redis-servers, and Ringroad before them, on ports of their own."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

POOL = """fleet:
  listen: 127.0.0.1:{port}
  hash: murmur
  hash_tag: "{hash_tag}"
  redis: true
  servers:
"""


class Fleet:
    """One redis-server (`servers` is 0), or Ringroad before that many. `port` is where the tests connect,
    `ports` are those of the servers."""

    def __init__(self, servers, ringroad, hash_tag="{}"):
        self.servers = servers
        self.ringroad = ringroad
        self.hash_tag = hash_tag

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="ringroad-fleet-")
        self.processes = []
        self.ports = [self.start_server() for _ in range(max(self.servers, 1))]
        self.port = self.ports[0] if self.servers == 0 else self.start_proxy(self.ports)
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start_server(self):
        port = free_port()
        self.start(port, "redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", self.dir,
                   "--enable-debug-command", "yes", "--dbfilename", f"{port}.rdb", "--appenddirname", f"{port}.aof")
        return port

    def start_proxy(self, servers):
        port, stats = free_port(), free_port()
        conf = os.path.join(self.dir, "pool.yml")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(POOL.format(port=port, hash_tag=self.hash_tag))
            file.writelines(f"    - 127.0.0.1:{server}:1 s{nth}\n" for nth, server in enumerate(servers))
        self.start(port, self.ringroad, "-c", conf, "-a", "127.0.0.1", "-s", str(stats))
        return port

    def start(self, port, *command):
        with open(os.path.join(self.dir, f"{port}.log"), "wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    with open(os.path.join(self.dir, f"{port}.log"), encoding="utf-8", errors="replace") as log:
                        raise SystemExit(f"{command[0]} does not start: {log.read()}") from None
                time.sleep(0.01)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
