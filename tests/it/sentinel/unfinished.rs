//! Failovers that an operator orders, and that Redis itself cannot make or does not end: writes go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::roles::static_pool;
use super::*;
use crate::admin::changes::Controlled;
use crate::support::{FakeServer, Peer, RedisServer, fresh_ip, show};

/// What a primary says of its own failover.
fn failover_state(server: &RedisServer) -> String {
    let info = show(&server.ask("INFO replication"));
    let state = info.split("master_failover_state:").nth(1);
    let state = state.and_then(|rest| rest.split("\\r\\n").next());
    state.unwrap_or_default().to_owned()
}

#[test]
fn replica_known_under_another_address_is_refused() {
    let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let address = primary.address();
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    // Without an announced address it is known by the one that it connects from: 127.0.0.1.
    let replica = RedisServer::start_with(&["--replicaof", &ip, &port]);
    eventually("the replica is online", || {
        let info = show(&primary.ask("INFO replication"));
        let line = "ip=127.0.0.1,port=16379,state=online";
        info.contains(line).then_some(())
    });
    let target = replica.address().to_string();
    let shard = Shard {
        servers: vec![primary, replica],
    };
    let controlled = Controlled::start(&static_pool(&shard));
    for args in [
        &["failover", "shard0"][..],
        &["failover", "shard0", "--to", &target],
        &["failover", "shard0", "--to", "127.0.0.1:16379"],
    ] {
        let (error, _) = controlled.refusal(args);
        let is_named = error.contains("'replica-announce-ip'") && error.contains(&target);
        let is_of_file = error.contains("is not a replica of server 'shard0' in the file");
        assert!(is_named || is_of_file, "{error}");
        assert_eq!(failover_state(shard.primary()), "no-failover");
        assert_eq!(controlled.proxy.ask("SET k 1"), OK.as_bytes());
    }
}

#[test]
fn failover_prefers_a_replica_of_the_file() {
    let shard = Shard::start(2);
    let listed = shard.servers[2].address();
    let pool = pool([&shard]).with("replicas", format!("['{listed} shard0']"));
    let controlled = Controlled::start(&pool);
    let text = controlled.ctl(&["failover", "shard0"]);
    assert!(text.contains(&format!("primary is {listed} now")), "{text}");
}

#[test]
fn failover_to_a_replica_out_of_reach_is_aborted() {
    let shard = Shard::start(1);
    let controlled = Controlled::start(&static_pool(&shard));
    assert_eq!(controlled.proxy.ask("SET k 1"), OK.as_bytes());
    // It keeps its connections, and nobody can open another one.
    let elsewhere = fresh_ip(&[16379]);
    let mut replica = shard.servers[1].client();
    assert_eq!(
        replica.ask(&format!("CONFIG SET bind {elsewhere}")),
        OK.as_bytes()
    );
    let (error, _) = controlled.refusal(&["failover", "shard0"]);
    assert!(
        error.contains("failover-in-progress") && error.contains("FAILOVER ABORT was sent: "),
        "{error}"
    );
    assert_eq!(failover_state(shard.primary()), "no-failover");
    let written = controlled.proxy.ask("SET k 2");
    assert_eq!(show(&written), show(OK.as_bytes()));
}

/// A primary that loses its connection when a failover begins, and hands over until it is told to abort.
#[derive(Default)]
struct Script {
    is_failing_over: AtomicBool,
    aborts: AtomicUsize,
}

impl Script {
    fn serve(&self, mut peer: Peer, replica: SocketAddr) {
        while let Some(request) = peer.request() {
            let request = show(&request).to_uppercase();
            let is_failing_over = self.is_failing_over.load(Ordering::SeqCst);
            if request.contains("ABORT") {
                self.is_failing_over.store(false, Ordering::SeqCst);
                self.aborts.fetch_add(1, Ordering::SeqCst);
                peer.send(OK.as_bytes());
            } else if request.contains("FAILOVER") {
                self.is_failing_over.store(true, Ordering::SeqCst);
                return;
            } else if request.contains("ROLE") {
                peer.send(b"*3\r\n$6\r\nmaster\r\n:1\r\n*0\r\n");
            } else if request.contains("INFO") {
                let (role, state) = if is_failing_over {
                    ("slave", "failover-in-progress")
                } else {
                    ("master", "no-failover")
                };
                let text = format!(
                    "role:{role}\r\nslave0:ip={},port={},state=online,offset=1,lag=0\r\nmaster_failover_state:{state}\r\n",
                    replica.ip(),
                    replica.port()
                );
                peer.send(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
            } else {
                peer.send(OK.as_bytes());
            }
        }
    }
}

#[test]
fn failover_whose_order_got_no_reply_is_aborted() {
    let replica = FakeServer::start(|_, mut peer| peer.ignore()).address();
    let script = Arc::new(Script::default());
    let own = Arc::clone(&script);
    let primary = FakeServer::start(move |_, peer| own.serve(peer, replica));
    let pool = Pool::named([format!("{}:1 shard0", primary.address())])
        .with("replicas", format!("['{replica} shard0']"));
    let controlled = Controlled::start(&pool);
    let (error, _) = controlled.refusal(&["failover", "shard0"]);
    assert!(error.contains("FAILOVER ABORT was sent: "), "{error}");
    assert_eq!(script.aborts.load(Ordering::SeqCst), 1);
    assert!(!script.is_failing_over.load(Ordering::SeqCst));
}
