//! Scripts beside requests that a server has refused, and at a new primary that lacks them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    MASTER, NOSCRIPT, OK, READONLY, SLAVE, bulk, got_later, pipeline, pool, refusing, sha1,
};
use crate::support::{
    FakeServer, Gate, Kind, Launch, Peer, Pool, Proxy, RedisServer, array_items, eventually,
};

const OF_SCRIPT: &[u8] =
    b"-READONLY You can't write against a read only replica. script: abc, on @user_script:1.\r\n";

#[test]
fn error_of_a_script_leaves_refused_requests_in_their_order() {
    let (server, got) = refusing([OK, READONLY, OF_SCRIPT, READONLY]);
    let proxy = Proxy::ringroad(&pool(server.address()));
    let mut client = proxy.client();
    assert_eq!(client.ask("SET k 0"), OK);
    client.send(&pipeline(&[
        "SET k a",
        "EVAL text 1 k x",
        "SET k b",
        "GET k",
    ]));
    let replies: Vec<_> = (0..4).map(|_| client.reply()).collect();
    assert_eq!(replies, [OK, OF_SCRIPT, OK, &bulk("b")]);
    assert_eq!(got_later(&got), "SET k a; SET k b; GET k");
}

#[test]
fn missing_script_after_a_refused_request_keeps_its_place() {
    let first: [&[u8]; 5] = [
        b"$6\r\nscript\r\n",
        READONLY,
        NOSCRIPT,
        READONLY,
        b"$3\r\nold\r\n",
    ];
    let (server, got) = refusing(first);
    let proxy = Proxy::ringroad(&pool(server.address()));
    let mut client = proxy.client();
    assert_eq!(client.ask("EVAL text 1 k 0"), bulk("script"));
    let evalsha = format!("EVALSHA {} 1 k b", sha1("text"));
    client.send(&pipeline(&["SET k a", &evalsha]));
    let mut other = proxy.client();
    let replies: Vec<_> = (0..2).map(|_| client.reply()).collect();
    // The new server lacks it too, and gets the script itself.
    assert_eq!(replies, [OK, &bulk("script")[..]]);
    assert_eq!(
        got_later(&got),
        format!("SET k a; {evalsha}; EVAL text 1 k b")
    );
    assert_eq!(other.ask("GET k"), bulk("b"));
}

/// The old primary says that it lacks the script when another one has taken its place.
#[test]
fn missing_script_is_sent_to_the_primary_of_then() {
    let (gate, is_replica) = (Gate::new(), Arc::new(AtomicBool::new(false)));
    let (wait, demoted) = (gate.waiter(), Arc::clone(&is_replica));
    let old = FakeServer::start(move |_, mut peer: Peer| {
        while let Some(request) = peer.request() {
            let words = array_items(&request);
            peer.send(match &words[0][..] {
                b"ROLE" if demoted.load(Ordering::SeqCst) => SLAVE,
                b"ROLE" => MASTER,
                b"EVAL" => b":1\r\n",
                b"EVALSHA" => {
                    wait();
                    NOSCRIPT
                }
                _ => b"-ERR not here\r\n",
            });
        }
    });
    let new = RedisServer::start();
    let pool = Pool::at([old.address()]).with("replicas", format!("['{} s0']", new.address()));
    let launch = Launch {
        args: vec!["--workers=1".to_owned()],
        ..Launch::default()
    };
    let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
    let script = "return(redis.call('INCR',KEYS[1]))";
    let mut client = proxy.client();
    assert_eq!(client.ask(&format!("EVAL {script} 1 k")), b":1\r\n");
    client.send(&pipeline(&[&format!("EVALSHA {} 1 k", sha1(script))]));
    is_replica.store(true, Ordering::SeqCst);
    let mut others = Vec::new();
    eventually("the only worker follows the new primary", || {
        let mut other = proxy.client();
        other.send(&pipeline(&["GET k"]));
        others.push(other);
        let counts = new.ask("INFO commandstats");
        String::from_utf8_lossy(&counts)
            .contains("cmdstat_get:")
            .then_some(())
    });
    gate.open();
    assert_eq!(client.reply(), b":1\r\n");
    assert_eq!(
        new.ask("GET k"),
        b"$1\r\n1\r\n",
        "it was executed once, and there"
    );
}
