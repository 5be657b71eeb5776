"""pylibmc with several servers, sharding by itself: KETAMA_WEIGHTED, MD5.

pylibmc_sharded.py set|get FIRST COUNT HOST:PORT:WEIGHT...: sets or checks COUNT keys; the value of each is its name.
"""

import sys

import pylibmc

action, first, count, servers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
client = pylibmc.Client(servers, behaviors={"ketama_weighted": True, "hash": "md5", "ketama_hash": "md5"})
names = [f"session:{n}" for n in range(first, first + count)]
if action == "set":
    assert client.set_multi({name: name for name in names}) == []
else:
    found = client.get_multi(names)
    missing = [name for name in names if found.get(name) != name]
    assert not missing, f"{len(missing)} of {count} are missing: {missing[:10]}"
