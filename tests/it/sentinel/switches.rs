//! Failovers by real sentinels are followed.

use super::*;
use crate::support::role;

#[test]
fn killed_primary_is_replaced_by_the_promoted_one() {
    let shard = Shard::start(2);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let proxy = Proxy::ringroad(&watched_pool(&shard, &sentinels));
    let mut client = proxy.client();
    client.converse(&[("SET k before", OK), ("WAIT 2 5000", ":2\r\n")]);
    shard.primary().kill();
    eventually("a client that tries again reads its value", || {
        let reply = proxy.ask("GET k");
        (reply == b"$6\r\nbefore\r\n").then_some(())
    });
    let promoted = eventually("a replica is promoted", || shard.promoted(shard.primary()));
    await_writes_to(&proxy, promoted.address());
    let line = format!(
        "primary is {} now, was {}: sentinel ",
        promoted.address(),
        shard.primary().address()
    );
    let output = proxy.process().output();
    let lines: Vec<_> = output
        .lines()
        .filter(|known| known.contains(&line))
        .collect();
    let [line] = lines.as_slice() else {
        panic!("one line: {output}");
    };
    assert!(line.contains("says so (epoch 1)"), "{line}");
}

#[test]
fn ordered_failover_leaves_the_old_primary_at_once() {
    let shard = Shard::start(1);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let proxy = Proxy::ringroad(&watched_pool(&shard, &sentinels));
    proxy.client().converse(&[("SET k 1", OK)]);
    assert_eq!(
        sentinels.sentinels[0].ask("SENTINEL FAILOVER shard0"),
        OK.as_bytes()
    );
    let replica = &shard.servers[1];
    await_writes_to(&proxy, replica.address());
    // For ten seconds more it would take writes.
    assert_eq!(role(shard.primary()).as_deref(), Some("master"));
    eventually("the old primary has no connection of the proxy", || {
        let key = format!("after{}", unused_number());
        assert_eq!(proxy.ask(&format!("SET {key} 1")), OK.as_bytes());
        assert_eq!(
            replica.ask(&format!("EXISTS {key}")),
            b":1\r\n",
            "{}",
            proxy.process().output()
        );
        let list = shard.primary().ask("CLIENT LIST");
        let list = String::from_utf8_lossy(&list).into_owned();
        let of_proxy = list.lines().filter(|line| line.contains("cmd=set"));
        (of_proxy.count() == 0).then_some(())
    });
}

#[test]
fn proxy_asks_for_the_primary_before_it_serves() {
    let shard = Shard::start(1);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    sentinels.sentinels[0].ask("SENTINEL FAILOVER shard0");
    let replica = &shard.servers[1];
    eventually("a sentinel says that the replica is the primary", || {
        let reply = sentinels.sentinels[1].ask("SENTINEL GET-MASTER-ADDR-BY-NAME shard0");
        let ip = replica.address().ip().to_string();
        String::from_utf8_lossy(&reply).contains(&ip).then_some(())
    });
    let proxy = Proxy::ringroad(&watched_pool(&shard, &sentinels));
    assert_eq!(proxy.ask("SET first 1"), OK.as_bytes());
    assert_eq!(replica.ask("EXISTS first"), b":1\r\n");
}

#[test]
fn shard_of_another_name_is_not_touched() {
    let shards = [Shard::start(1), Shard::start(1)];
    let sentinels = Sentinels::watching(&[("shard0", &shards[0]), ("shard1", &shards[1])]);
    let proxy = Proxy::ringroad(
        &pool(&shards)
            .with("hash", "murmur")
            .with("sentinels", sentinels.list()),
    );
    sentinels.sentinels[2].ask("SENTINEL FAILOVER shard1");
    let old = shards[1].primary().address();
    proxy.process().await_output(&format!(
        "primary is {} now, was {old}",
        shards[1].servers[1].address()
    ));
    for key in 0..40 {
        assert_eq!(proxy.ask(&format!("SET key{key} 1")), OK.as_bytes());
    }
    let sizes = [
        shards[0].primary().ask("DBSIZE"),
        shards[1].servers[1].ask("DBSIZE"),
    ];
    for size in &sizes {
        assert_ne!(size, b":0\r\n", "{sizes:?} {}", proxy.process().output());
    }
    assert!(
        !proxy
            .process()
            .output()
            .contains(&format!("was {}", shards[0].primary().address()))
    );
}

#[test]
fn proxy_serves_on_when_all_sentinels_are_gone() {
    let shard = Shard::start(1);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let proxy = Proxy::ringroad(&watched_pool(&shard, &sentinels));
    proxy.client().converse(&[("SET k 1", OK)]);
    for sentinel in &sentinels.sentinels {
        sentinel.kill();
    }
    proxy
        .process()
        .await_output("no sentinel answers; the primaries that are known stay in use");
    proxy
        .client()
        .converse(&[("GET k", "$1\r\n1\r\n"), ("SET k 2", OK)]);
    let mut stats = Client::connect(proxy.stats_address());
    stats.send(b"GET /healthz HTTP/1.0\r\n\r\n");
    let health = String::from_utf8(stats.read_to_close()).unwrap();
    assert!(health.contains(" 200 OK"), "{health}");
}

#[test]
fn name_that_no_sentinel_knows_is_told() {
    let shard = Shard::start(0);
    let sentinels = Sentinels::watching(&[("another", &shard)]);
    let proxy = Proxy::ringroad(&watched_pool(&shard, &sentinels));
    for sentinel in &sentinels.sentinels {
        let address = sentinel.address();
        let line = eventually("a warning for each sentinel", || {
            let output = proxy.process().output();
            let mut lines = output.lines();
            let line = lines.find(|line| {
                line.contains("knows no primary of this name")
                    && line.contains(&format!("sentinel={address}"))
            });
            line.map(str::to_owned)
        });
        assert!(
            line.contains("pool=p") && line.contains("server=shard0"),
            "{line}"
        );
    }
    proxy.client().converse(&[("SET k 1", OK)]);
}

#[test]
fn password_of_sentinels_is_sent_and_its_refusal_told() {
    let shard = Shard::start_with(
        1,
        &[
            "--requirepass",
            "server-secret",
            "--masterauth",
            "server-secret",
        ],
    );
    let lines = "requirepass sentinel-secret\nsentinel sentinel-pass sentinel-secret";
    let of_shard = "sentinel auth-pass shard0 server-secret";
    let sentinels = Sentinels::watching_then(&[("shard0", &shard)], lines, of_shard);
    let pool = watched_pool(&shard, &sentinels).with("redis_auth", "server-secret");
    let proxy = Proxy::ringroad(&pool);
    proxy.process().await_output("sentinel does not answer");
    proxy.process().await_output("NOAUTH");
    proxy.reload(&pool.clone().with("sentinel_auth", "wrong"));
    proxy.process().await_output("WRONGPASS");
    let output = proxy.process().output();
    assert!(
        !output.contains("secret") && !output.contains("knows no primary"),
        "{output}"
    );
    proxy.reload(&pool.clone().with("sentinel_auth", "sentinel-secret"));
    let primary = shard.primary().address();
    proxy
        .process()
        .await_output(&format!("primary is {primary}: sentinel "));
    proxy.reload(&pool.with("sentinel_auth", "'default sentinel-secret'"));
    let mut client = proxy.client();
    client.converse(&[("AUTH server-secret", OK), ("SET k 1", OK)]);
}

#[test]
fn reload_adds_and_removes_sentinels() {
    let shard = Shard::start(1);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let proxy = Proxy::ringroad(&pool([&shard]));
    let mut client = proxy.client();
    client.converse(&[("SET k 1", OK)]);
    proxy.reload(&watched_pool(&shard, &sentinels));
    let primary = shard.primary().address();
    proxy
        .process()
        .await_output(&format!("primary is {primary}: sentinel "));
    client.converse(&[("GET k", "$1\r\n1\r\n")]);
    sentinels.sentinels[1].ask("SENTINEL FAILOVER shard0");
    await_writes_to(&proxy, shard.servers[1].address());
    // Without sentinels the file says where the server is.
    proxy.reload(&pool([&shard]));
    eventually("the first server is used again", || {
        let key = format!("again{}", unused_number());
        proxy.ask(&format!("SET {key} 1"));
        let found = shard.primary().ask(&format!("EXISTS {key}"));
        (found == b":1\r\n").then_some(())
    });
}

#[test]
fn primary_that_was_stopped_gets_no_write_when_it_wakes() {
    let shard = Shard::start(1);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let proxy = Proxy::ringroad(&watched_pool(&shard, &sentinels).with("timeout", 300));
    proxy.client().converse(&[("SET k 1", OK)]);
    shard.primary().stop();
    let promoted = &shard.servers[1];
    await_writes_to(&proxy, promoted.address());
    shard.primary().cont();
    // Until Sentinel makes it a replica, it believes that it is the primary.
    let before = shard.primary().ask("DBSIZE");
    for number in 0..200 {
        assert_eq!(proxy.ask(&format!("SET late{number} 1")), OK.as_bytes());
    }
    assert_eq!(shard.primary().ask("EXISTS late0 late199"), b":0\r\n");
    assert_eq!(promoted.ask("EXISTS late0 late199"), b":2\r\n");
    assert_eq!(shard.primary().ask("DBSIZE"), before);
}

#[test]
fn old_primary_that_comes_back_as_one_is_ignored() {
    let mut shard = Shard::start(1);
    let sentinels = Sentinels::watching(&[("shard0", &shard)]);
    let proxy = Proxy::ringroad(&watched_pool(&shard, &sentinels));
    proxy.client().converse(&[("SET k 1", OK)]);
    shard.primary().kill();
    let new = shard.servers[1].address();
    await_writes_to(&proxy, new);
    shard.servers[0].restart();
    assert_eq!(role(shard.primary()).as_deref(), Some("master"));
    for number in 0..200 {
        assert_eq!(proxy.ask(&format!("SET late{number} 1")), OK.as_bytes());
    }
    assert_eq!(shard.servers[1].ask("EXISTS late0 late199"), b":2\r\n");
    let output = proxy.process().output();
    assert_eq!(output.matches(" now, was ").count(), 1, "{output}");
}
