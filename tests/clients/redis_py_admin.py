"""The requests of an admin tool with redis-py. Arguments: the proxy's address, port and version of RESP."""

import sys

import redis

HOST, PORT, PROTOCOL = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def connect(**options):
    return redis.Redis(HOST, PORT, protocol=PROTOCOL, decode_responses=True, **options)


def expect(seen, wanted):
    assert seen == wanted, f"{seen!r} is not {wanted!r}"


admin, other = connect(client_name="admin"), connect(client_name="other")
other.set("a", 1)

info = admin.info()
expect(info["redis_version"], "7.0.15")
expect(info["role"], "master")
expect(info["loading"], 0)
assert info["connected_clients"] >= 1
assert info["uptime_in_seconds"] >= 0
expect(admin.info("cluster"), {"cluster_enabled": 0})

names = {client["name"]: client for client in admin.client_list()}
assert {"admin", "other"} <= names.keys(), names
expect(names["other"]["user"], "default")
expect(names["other"]["resp"], str(PROTOCOL))
expect(names["other"]["lib-name"], "redis-py")
expect(admin.client_list(client_id=[names["other"]["id"]])[0]["name"], "other")
expect(admin.client_list(_type="pubsub"), [])
expect(admin.client_info()["name"], "admin")
expect(admin.client_id(), int(names["admin"]["id"]))
expect(admin.client_kill_filter(_id=names["other"]["id"]), 1)
expect(admin.client_kill_filter(_id=names["other"]["id"]), 0)
# redis-py reconnects by itself.
expect(other.get("a"), "1")
expect(admin.client_getredir(), -1)
expect(admin.client_unpause(), "OK")

expect(admin.config_get("maxmemory"), {"maxmemory": "0"})
expect(admin.config_set("slowlog-log-slower-than", 0), True)
expect(admin.config_get("slowlog-*")["slowlog-log-slower-than"], "0")
other.get("a")
slow = admin.slowlog_get(10)
assert any("GET" in str(entry["command"]) for entry in slow), slow
assert admin.slowlog_len() > 0
expect(admin.config_set("slowlog-log-slower-than", -1), True)
expect(admin.slowlog_reset(), True)
expect(admin.slowlog_len(), 0)
expect(admin.config_resetstat(), True)
expect(admin.latency_latest(), [])
expect(admin.latency_reset(), 0)
for parameter, value in [("port", "1"), ("nosuch", "1")]:
    try:
        admin.config_set(parameter, value)
    except redis.ResponseError:
        continue
    raise AssertionError(f"{parameter} was set")

expect(admin.acl_whoami(), "default")
expect(admin.acl_users(), ["default"])
assert "hash" in admin.acl_cat()
expect(admin.role()[0], "master")
expect(admin.module_list(), [])
expect(admin.echo("x"), "x")
assert "7.0.15" in admin.lolwut()
assert admin.command_count() > 200
