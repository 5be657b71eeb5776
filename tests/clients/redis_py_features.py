"""Typical uses of redis-py by frameworks: transactions, scripts, locks, iterators, publish and subscribe, blocking commands,
pools of connections, large values. Arguments: host, port, the RESP version ("-": the default), and the names of
the features to try; without names, all of them. Keys that must be on one server share a hash tag.
"""

import sys
import threading
import time

import redis

HOST, PORT = sys.argv[1], int(sys.argv[2])
OPTIONS = {} if sys.argv[3:4] in ([], ["-"]) else {"protocol": int(sys.argv[3])}
WAIT = 20


def connect(**more):
    return redis.Redis(host=HOST, port=PORT, **OPTIONS, **more)


def transactions(client):
    with client.pipeline() as pipeline:
        replies = pipeline.set("{t}a", 1).incr("{t}a").get("{t}a").lpush("{t}l", "x", "y").execute()
    assert replies == [True, 2, b"2", 2], replies

    # An error in the middle neither stops the others nor shifts their replies.
    with client.pipeline() as pipeline:
        pipeline.set("{t}s", "text").incr("{t}s").get("{t}s")
        replies = pipeline.execute(raise_on_error=False)
    assert replies[0] is True and replies[2] == b"text", replies
    assert isinstance(replies[1], redis.ResponseError), replies

    # A counter by optimistic locking, raced by four threads.
    client.set("{t}n", 0)

    def add(pipeline):
        value = int(pipeline.get("{t}n"))
        pipeline.multi()
        pipeline.set("{t}n", value + 1)

    def adder():
        own = connect()
        for _ in range(25):
            own.transaction(add, "{t}n")
        own.close()

    in_threads(adder, 4)
    assert client.get("{t}n") == b"100", client.get("{t}n")

    with client.pipeline() as pipeline:
        pipeline.watch("{t}w")
        connect().set("{t}w", "changed")
        pipeline.multi()
        pipeline.set("{t}w", "lost")
        try:
            pipeline.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("the transaction went through although its key changed")
    assert client.get("{t}w") == b"changed"
    with client.pipeline() as pipeline:
        pipeline.watch("{t}w")
        pipeline.unwatch()
        assert pipeline.get("{t}w").execute() == [b"changed"]


def scripts(client):
    join = client.register_script("return redis.call('get', KEYS[1]) .. ARGV[1]")
    for n in range(40):
        client.set(f"script-{n}", n)
        assert join(keys=[f"script-{n}"], args=["!"]) == b"%d!" % n
    pipeline = client.pipeline(transaction=False)
    for n in range(40):
        join(keys=[f"script-{n}"], args=["?"], client=pipeline)
    assert pipeline.execute() == [b"%d?" % n for n in range(40)]
    sha = client.script_load("return ARGV[1]")
    assert client.script_exists(sha, "0" * 40) == [True, False]
    assert client.evalsha(sha, 1, "anywhere", "x") == b"x"
    assert client.function_load("#!lua name=lib\nredis.register_function('double', function(keys, args) "
                                "return 2 * redis.call('get', keys[1]) end)", replace=True) == b"lib"
    assert client.fcall("double", 1, "script-21") == 42
    assert client.function_delete("lib")


def locks(client):
    held = []

    def worker():
        own = connect()
        for _ in range(5):
            with own.lock("lock", timeout=30, blocking_timeout=WAIT, sleep=0.002):
                held.append(True)
                assert len(held) == 1
                held.pop()
        own.close()

    in_threads(worker, 4)
    lock = client.lock("lock", timeout=30)
    assert lock.acquire(blocking=False) and lock.owned()
    assert not connect().lock("lock").acquire(blocking=False)
    assert lock.extend(10) and lock.reacquire()
    lock.release()


def iterators(client):
    wanted = {f"scan-{n}".encode() for n in range(2000)}
    pipeline = client.pipeline(transaction=False)
    for name in wanted:
        pipeline.set(name, 1)
    pipeline.execute()
    found = list(client.scan_iter(match="scan-*", count=100))
    assert len(found) == len(set(found)) == 2000 and set(found) == wanted
    client.sadd("members", *range(3000))
    assert {int(member) for member in client.sscan_iter("members")} == set(range(3000))
    client.hset("fields", mapping={f"f{n}": n for n in range(1500)})
    assert {int(value) for _, value in client.hscan_iter("fields")} == set(range(1500))
    client.zadd("scores", {f"m{n}": n for n in range(1500)})
    assert {int(score) for _, score in client.zscan_iter("scores")} == set(range(1500))
    assert set(client.scan_iter(match="s*", _type="zset")) == {b"scores"}
    assert wanted <= set(client.keys("scan-*"))
    assert client.dbsize() >= 2003


def pubsub(client):
    subscriber = client.pubsub(ignore_subscribe_messages=True)
    channels = [f"channel-{n}" for n in range(20)]
    subscriber.subscribe(*channels)
    subscriber.psubscribe("channel-1*")
    subscriber.get_message(timeout=0.1)
    deadline = time.monotonic() + WAIT
    while dict(client.pubsub_numsub(*channels)) != {name.encode(): 1 for name in channels}:
        assert time.monotonic() < deadline, client.pubsub_numsub(*channels)
        subscriber.get_message()
    while client.pubsub_numpat() < 1:
        assert time.monotonic() < deadline
    for n, name in enumerate(channels):
        client.publish(name, n)
    expected = sorted([("message", n) for n in range(20)] + [("pmessage", n) for n in (1, *range(10, 20))])
    found = sorted((got["type"], int(got["data"])) for got in receive(subscriber, len(expected)))
    assert found == expected, found
    assert {name for name in client.pubsub_channels("channel-*")} == {name.encode() for name in channels}
    subscriber.unsubscribe()
    subscriber.punsubscribe()
    while subscriber.subscribed:
        subscriber.get_message(timeout=WAIT)
    subscriber.close()

    heard = []
    threaded = connect().pubsub()
    threaded.subscribe(talk=lambda message: heard.append(message["data"]))
    thread = threaded.run_in_thread(sleep_time=0.01)
    while not dict(client.pubsub_numsub("talk"))[b"talk"]:
        assert time.monotonic() < deadline
    client.publish("talk", "hi")
    while heard != [b"hi"]:
        assert time.monotonic() < deadline, heard
        time.sleep(0.001)
    thread.stop()
    thread.join()


def blocking(client):
    assert client.blpop("{b}none", timeout=0.05) is None

    def later():
        other = connect()
        while not other.client_list(_type="normal"):
            pass
        time.sleep(0.05)
        other.rpush("{b}list", "first", "second")
        time.sleep(0.05)
        other.zadd("{b}zset", {"m": 1})
        time.sleep(0.05)
        other.xadd("{b}stream", {"f": "v"})
        time.sleep(0.05)
        other.rpush("{b}from", "moved")

    thread = threading.Thread(target=later)
    thread.start()
    assert list(client.blpop(["{b}other", "{b}list"], timeout=WAIT)) == [b"{b}list", b"first"]
    assert list(client.brpop("{b}list", timeout=WAIT)) == [b"{b}list", b"second"]
    assert list(client.bzpopmin("{b}zset", timeout=WAIT)) == [b"{b}zset", b"m", 1.0]
    streams = client.xread({"{b}stream": "0"}, block=WAIT * 1000)
    assert streams and b"{b}stream" in (streams if isinstance(streams, dict) else dict(streams)), streams
    assert client.blmove("{b}from", "{b}to", WAIT) == b"moved"
    thread.join()
    assert client.lrange("{b}to", 0, -1) == [b"moved"]
    client.xgroup_create("{b}stream", "group", id="0")
    assert client.xreadgroup("group", "me", {"{b}stream": ">"}, block=1000)
    assert not client.xreadgroup("group", "me", {"{b}stream": ">"}, block=20)


def pools(client):
    pool = redis.ConnectionPool(host=HOST, port=PORT, max_connections=8, **OPTIONS)
    shared = redis.Redis(connection_pool=redis.BlockingConnectionPool(host=HOST, port=PORT, max_connections=4, **OPTIONS))

    def worker():
        own = redis.Redis(connection_pool=pool)
        for n in range(50):
            own.incr(f"pool-{n}")
            shared.incr(f"pool-{n}")

    in_threads(worker, 8)
    assert client.mget([f"pool-{n}" for n in range(50)]) == [b"16"] * 50
    pool.disconnect()


def large(client):
    value = bytes(range(256)) * (10 * 1024 * 1024 // 256)
    for n in range(4):
        assert client.set(f"large-{n}", value)
        assert client.get(f"large-{n}") == value
    assert client.mget([f"large-{n}" for n in range(4)]) == [value] * 4
    names = [f"many-{n}" for n in range(10_000)]
    assert client.mset({name: n for n, name in enumerate(names)})
    assert client.mget(names) == [b"%d" % n for n in range(10_000)]
    assert client.delete(*names) == 10_000


def admin(client):
    assert client.info()["redis_version"].startswith("7.")
    assert client.echo("hello") == b"hello"
    assert client.time()[0] > 1_600_000_000
    assert client.client_setname("me") and client.client_getname() in (b"me", "me")
    assert client.client_id() > 0
    assert any(entry["name"] == "me" for entry in client.client_list())
    assert client.command_count() > 200
    with connect(client_name="named", db=3) as other:
        other.set("of db 3", 1)
        assert other.client_getname() in (b"named", "named") and other.dbsize() == 1
        assert other.get("of db 3") == b"1" and client.get("of db 3") is None
        other.flushdb()
        assert other.dbsize() == 0


def receive(subscriber, count):
    got, deadline = [], time.monotonic() + WAIT
    while len(got) < count:
        assert time.monotonic() < deadline, got
        if message := subscriber.get_message(timeout=1):
            got.append(message)
    return got


def in_threads(work, count):
    errors = []

    def guarded():
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


FEATURES = [transactions, scripts, locks, iterators, pubsub, blocking, pools, large, admin]
for feature in FEATURES:
    if feature.__name__ in sys.argv[4:] or not sys.argv[4:]:
        with connect() as client:
            feature(client)
