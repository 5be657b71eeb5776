//! Failovers that an operator orders lose nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::roles::static_pool;
use super::*;
use crate::admin::changes::Controlled;
use crate::support::{RedisServer, role, show};

/// Increments a counter through the proxy until it is told to end; counts what was acknowledged.
pub(crate) struct Writer {
    end: Arc<AtomicBool>,
    thread: thread::JoinHandle<u64>,
}

impl Writer {
    pub(crate) fn start(proxy: &Proxy) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let (address, is_over) = (proxy.address(), Arc::clone(&end));
        let thread = thread::spawn(move || {
            let mut acknowledged = 0;
            let mut client = Client::connect(address);
            while !is_over.load(Ordering::SeqCst) {
                let reply = client.ask("INCR n");
                // It waits, and sees no error.
                assert!(reply.starts_with(b":"), "{}", show(&reply));
                acknowledged += 1;
            }
            acknowledged
        });
        Self { end, thread }
    }

    pub(crate) fn end(self) -> u64 {
        self.end.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

fn value(server: &RedisServer, key: &str) -> u64 {
    let reply = show(&server.ask(&format!("GET {key}")));
    let digits = reply.split("\\r\\n").nth(1);
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

#[test]
fn failover_of_redis_loses_no_acknowledged_write() {
    let shard = Shard::start(2);
    let controlled = Controlled::start(&static_pool(&shard));
    let writer = Writer::start(&controlled.proxy);
    eventually("the writer writes", || {
        (value(shard.primary(), "n") > 100).then_some(())
    });
    let target = &shard.servers[2];
    let text = controlled.ctl(&["failover", "shard0", "--to", &target.address().to_string()]);
    let expected = format!(
        "server shard0 of pool p: primary is {} now, was {}; ",
        target.address(),
        shard.primary().address()
    );
    assert!(
        text.starts_with(&expected) && text.ends_with(" ms by FAILOVER\n"),
        "{text}"
    );
    let before = value(target, "n");
    eventually("the writer writes there", || {
        (value(target, "n") > before + 100).then_some(())
    });
    assert_eq!(value(target, "n").max(writer.end()), value(target, "n"));
    assert_eq!(role(shard.primary()).as_deref(), Some("slave"));
    let servers = controlled.ctl(&["servers"]);
    let lines = [
        format!("p/shard0: primary {}, by its role\n", target.address()),
        format!("p/shard0: replica {}, ", shard.primary().address()),
    ];
    for line in lines {
        assert!(servers.contains(&line), "{servers}");
    }
    let topology = controlled.json(&["topology"]);
    let server = &topology["pools"][0]["servers"][0];
    assert_eq!(server["primary"], target.address().to_string());
    assert_eq!(server["address"], shard.primary().address().to_string());
    let facts = topology["pools"][0]["facts"].to_string();
    assert!(facts.contains("\"source\":\"role\""), "{facts}");
    assert_eq!(
        controlled
            .proxy
            .metric("ringroad_pool_primary_changes_total"),
        1
    );
}

/// Orders a failover under Sentinel beside a writer. Returns the proxy.
fn sentinel_fails_over(shard: &Shard, sentinels: &Sentinels) -> Controlled {
    let controlled = Controlled::start(&watched_pool(shard, sentinels));
    let writer = Writer::start(&controlled.proxy);
    eventually("the writer writes", || {
        (value(shard.primary(), "n") > 100).then_some(())
    });
    let text = controlled.ctl(&["failover", "shard0"]);
    assert!(
        text.ends_with(" ms by SENTINEL FAILOVER with writes paused\n"),
        "{text}"
    );
    let promoted = shard.promoted(shard.primary()).unwrap();
    assert!(
        text.contains(&format!("primary is {} now", promoted.address())),
        "{text}"
    );
    let before = value(promoted, "n");
    eventually("the writer writes there", || {
        (value(promoted, "n") > before + 100).then_some(())
    });
    let acknowledged = writer.end();
    assert_eq!(value(promoted, "n").max(acknowledged), value(promoted, "n"));
    // At once, and not only when Sentinel sees to it.
    assert_eq!(role(shard.primary()).as_deref(), Some("slave"));
    controlled
}

#[test]
fn failover_by_sentinel_loses_no_acknowledged_write() {
    let shard = Shard::start(2);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let controlled = sentinel_fails_over(&shard, &sentinels);
    let refused = show(&shard.primary().ask("SET k 1"));
    assert!(refused.starts_with("-READONLY"), "{refused}");
    let facts = controlled.json(&["topology"])["pools"][0]["facts"].to_string();
    assert!(
        facts.contains("\"source\":\"sentinel\"") && facts.contains("(epoch 1)"),
        "{facts}"
    );
}

#[test]
fn failover_by_valkeys_sentinel_loses_no_acknowledged_write() {
    let shard = Shard::valkey(1);
    let sentinels = Sentinels::valkey(&[("shard0", &shard)]);
    sentinel_fails_over(&shard, &sentinels);
}

#[test]
fn failover_without_a_replica_changes_nothing() {
    let shard = Shard::start(1);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    for pool in [static_pool(&shard), watched_pool(&shard, &sentinels)] {
        let controlled = Controlled::start(&pool);
        shard.servers[1].kill();
        eventually("the primary has no replica", || {
            let info = shard.primary().ask("INFO replication");
            let info = String::from_utf8_lossy(&info).into_owned();
            info.contains("connected_slaves:0").then_some(())
        });
        let (error, _) = controlled.refusal(&["failover", "shard0"]);
        assert!(error.contains("replica"), "{error}");
        assert_eq!(role(shard.primary()).as_deref(), Some("master"));
        assert_eq!(controlled.proxy.ask("SET k 1"), OK.as_bytes());
    }
}

#[test]
fn failover_that_sentinel_refuses_lets_writes_go_on() {
    let shard = Shard::start(1);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let controlled = Controlled::start(&watched_pool(&shard, &sentinels));
    controlled.proxy.client().converse(&[("SET k 1", OK)]);
    // A replica of priority 0 is never promoted.
    shard.servers[1].ask("CONFIG SET replica-priority 0");
    for sentinel in &sentinels.sentinels {
        eventually("the sentinel knows the priority", || {
            let list = sentinel.ask("SENTINEL REPLICAS shard0");
            let list = String::from_utf8_lossy(&list).into_owned();
            list.contains("slave-priority\r\n$1\r\n0").then_some(())
        });
    }
    let (error, _) = controlled.refusal(&["failover", "shard0"]);
    assert!(error.contains("NOGOODSLAVE"), "{error}");
    controlled.proxy.client().converse(&[("SET k 2", OK)]);
    assert_eq!(role(shard.primary()).as_deref(), Some("master"));
}

#[test]
fn failover_in_a_pool_without_replicas_is_refused() {
    let server = RedisServer::start();
    let controlled = Controlled::start(&Pool::of([&server]));
    let (error, _) = controlled.refusal(&["failover", "s0"]);
    assert!(
        error.contains("neither 'sentinels' nor 'replicas'"),
        "{error}"
    );
    let (error, _) = controlled.refusal(&["failover", "nobody"]);
    assert!(error.contains("no server 'nobody'"), "{error}");
}

#[test]
fn failover_to_an_address_that_is_no_replica_is_refused() {
    let shard = Shard::start(1);
    let controlled = Controlled::start(&static_pool(&shard));
    let (error, _) = controlled.refusal(&["failover", "shard0", "--to", "127.0.0.1:1"]);
    assert!(error.contains("is not a replica"), "{error}");
    assert_eq!(controlled.proxy.ask("SET k 1"), OK.as_bytes());
}

/// What a client that is blocked gets when its key is pushed to after a failover.
fn blocked_over_a_failover(shard: &Shard, pool: &Pool, request: &str) -> String {
    let controlled = Controlled::start(pool);
    let mut blocked = controlled.proxy.client();
    blocked.send(&words(request));
    eventually("it is blocked", || {
        let info = shard.primary().ask("INFO clients");
        show(&info).contains("blocked_clients:1").then_some(())
    });
    controlled.ctl(&["failover", "shard0"]);
    let mut other = controlled.proxy.client();
    assert_eq!(other.ask("RPUSH l value"), b":1\r\n");
    show(&blocked.reply())
}

#[test]
fn blocked_client_waits_on_at_the_new_primary() {
    let shard = Shard::start(1);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let pool = watched_pool(&shard, &sentinels);
    let reply = blocked_over_a_failover(&shard, &pool, "BLPOP l 30");
    assert!(reply.contains("value"), "{reply}");
}

#[test]
fn blocked_client_waits_on_in_a_failover_of_redis_itself() {
    let shard = Shard::start(1);
    let reply = blocked_over_a_failover(&shard, &static_pool(&shard), "BLPOP l 30");
    assert!(reply.contains("value"), "{reply}");
}

/// It would miss what came in between.
#[test]
fn reader_of_new_entries_learns_of_a_failover() {
    let shard = Shard::start(1);
    let request = "XREAD BLOCK 30000 STREAMS s $";
    let reply = blocked_over_a_failover(&shard, &static_pool(&shard), request);
    assert!(reply.starts_with("-UNBLOCKED"), "{reply}");
}

/// The connections that a server has postponed, since writes are paused.
fn postponed(server: &RedisServer) -> usize {
    let list = String::from_utf8(server.ask("CLIENT LIST")).unwrap();
    let flags = list.split(" flags=").skip(1);
    let flags = flags.filter_map(|rest| rest.split(' ').next());
    flags.filter(|flags| flags.contains('b')).count()
}

#[test]
fn requests_of_every_kind_wait_in_a_planned_failover() {
    let shard = Shard::start(1);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let pool = watched_pool(&shard, &sentinels).with("server_failover_timeout", 20000);
    let controlled = Controlled::start(&pool);
    let proxy = &controlled.proxy;
    proxy.client().converse(&[
        ("SET n 5", OK),
        ("RPUSH full value", ":1\r\n"),
        ("WAIT 1 10000", ":1\r\n"),
    ]);
    let primary = shard.primary();
    // What comes from now on reaches the old primary before it is one no more.
    assert_eq!(primary.ask("CLIENT PAUSE 60000 WRITE"), OK.as_bytes());
    let mut count = 0;
    let mut clients = [
        &["MULTI", "INCR n", "GET n", "EXEC"][..],
        &["BLPOP full 30"],
        &["BLPOP empty 30"],
        &["BLMOVE empty2 other LEFT RIGHT 30"],
    ]
    .map(|requests| {
        let mut client = proxy.client();
        for request in requests {
            client.send(&words(request));
        }
        count += 1;
        eventually("the request is postponed", || {
            (postponed(primary) >= count).then_some(())
        });
        (client, requests.len())
    });
    controlled.ctl(&["failover", "shard0"]);
    proxy.client().converse(&[
        ("RPUSH empty pushed", ":1\r\n"),
        ("RPUSH empty2 moved", ":1\r\n"),
    ]);
    let replies = clients.each_mut().map(|(client, count)| {
        let replies = (0..*count).map(|_| show(&client.reply()));
        replies.last().unwrap()
    });
    for (reply, expected) in replies.iter().zip([
        "*2\\r\\n:6\\r\\n$1\\r\\n6\\r\\n",
        "full\\r\\n$5\\r\\nvalue",
        "empty\\r\\n$6\\r\\npushed",
        "$5\\r\\nmoved",
    ]) {
        assert!(reply.contains(expected), "{expected}: {reply}");
    }
    proxy.client().converse(&[("GET n", "$1\r\n6\r\n")]);
    assert!(shard.promoted(primary).is_some());
}

#[test]
fn blocking_request_waits_in_a_failover_of_redis_itself() {
    let shard = Shard::start(1);
    let controlled = Controlled::start(&static_pool(&shard));
    assert_eq!(controlled.proxy.ask("SET k 1"), OK.as_bytes());
    let primary = shard.primary();
    assert_eq!(primary.ask("CLIENT PAUSE 60000 WRITE"), OK.as_bytes());
    let mut client = controlled.proxy.client();
    client.send(&words("BLPOP l 30"));
    eventually("the request is postponed", || {
        (postponed(primary) > 0).then_some(())
    });
    let address = shard.servers[1].address();
    shard.servers[1].ask("REPLICAOF NO ONE");
    primary.ask(&format!("REPLICAOF {} {}", address.ip(), address.port()));
    assert_eq!(primary.ask("CLIENT UNPAUSE"), OK.as_bytes());
    assert_eq!(controlled.proxy.ask("RPUSH l value"), b":1\r\n");
    let reply = show(&client.reply());
    assert!(reply.contains("value"), "{reply}");
}
