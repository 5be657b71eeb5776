//! Reads at replicas: who may answer when.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::BytesMut;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use crate::buf::Frame;
use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::redis::{Redis, RequestScanner};
use crate::protocol::{ConnInfo, Limits, Protocol as _, Scan};
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::forward::Dispatched;
use crate::proxy::pool::LocalPool;
use crate::proxy::replies::queue::ReplyQueue;
use crate::proxy::tests::exactly_once::output;
use crate::proxy::tests::{pool_config, the_server, with_pool_of};
use crate::stats::ServerMetric;
use crate::topology::{Replica, process_us};

/// Starts a server that answers each request with this; the primary also says that it is one. Without a text it answers nothing.
fn server(text: Option<&'static str>, is_primary: bool) -> SocketAddr {
    server_when(|| {}, text, is_primary)
}

/// As [`server`]; before each answer it waits for `may_answer` to return.
fn server_when(
    may_answer: impl Fn() + Clone + Send + 'static,
    text: Option<&'static str>,
    is_primary: bool,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let may_answer = may_answer.clone();
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    let requests = bytes[..read].split(|byte| *byte == b'*').skip(1);
                    for request in requests {
                        let is_role = is_primary && request.ends_with(b"ROLE\r\n");
                        let reply = if is_role {
                            "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
                        } else {
                            may_answer();
                            text.unwrap_or_default()
                        };
                        stream.write_all(reply.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    address
}

const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";
const PRIMARY: &str = "+primary\r\n";
const REPLICA: &str = "+replica\r\n";

/// A client of a pool with one server and one replica.
struct Client {
    dispatcher: Dispatcher<Redis>,
    replies: Rc<ReplyQueue>,
    pool: Rc<LocalPool<Redis>>,
}

impl Client {
    /// Offers a request, in plain words.
    fn offer(&mut self, text: &str) -> Dispatched<Redis> {
        let words: Vec<_> = text.split(' ').map(str::as_bytes).collect();
        let mut request = BytesMut::new();
        write_request(&words, &mut request);
        let mut scanner = RequestScanner::default();
        let scan = Redis::scan_request(&mut scanner, &request, &Limits::default());
        let Ok(Scan::Complete { found, .. }) = scan else {
            panic!("{text}: {scan:?}");
        };
        let now = Instant::now();
        self.dispatcher.forwarder.begin_batch(now);
        let frame = Frame::Borrowed(&request);
        let next = self.dispatcher.offer(&found, frame, &request, now);
        self.dispatcher.forwarder.end_batch();
        next
    }

    /// Offers requests until they are taken; returns the replies.
    async fn ask(&mut self, requests: &[&str]) -> String {
        let asking = async {
            for request in requests {
                while !self.offer(request).is_taken() {
                    yield_now().await;
                }
            }
            while !self.replies.is_idle() {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), asking).await.unwrap();
        String::from_utf8(output(&self.replies)).unwrap()
    }

    /// Certifies that the replica has all that was acknowledged until now.
    fn certify(&self) {
        let view = self.pool.backends.view();
        let replica = &view.all_replicas().next().unwrap().replica;
        replica.set_fresh_to_us(process_us(std::time::Instant::now()));
    }
}

/// Runs `test` with a client of a pool whose replica answers this, and which has these other settings.
fn with_client(replica: Option<&'static str>, settings: &str, test: impl AsyncFnOnce(Client)) {
    let servers = [server(Some(PRIMARY), true), server(replica, false)];
    with_servers(servers, settings, test);
}

/// As [`with_client`], with this primary and this replica.
fn with_servers(
    [primary, replica]: [SocketAddr; 2],
    settings: &str,
    test: impl AsyncFnOnce(Client),
) {
    let config = pool_config(&format!(
        "p: {{listen: 127.0.0.1:1, redis: true, servers: ['{primary}:1 s'], replicas: ['{replica} s'], {settings}}}"
    ));
    with_pool_of(&config, async |pool| {
        let known = Replica {
            address: replica,
            is_up: true,
            behind_bytes: None,
        };
        the_server(&pool)
            .server
            .store
            .set_replicas("s", vec![known]);
        let replies = Rc::new(ReplyQueue::new(Rc::default(), Rc::default()));
        let info = ConnInfo::default();
        let dispatcher = Dispatcher::new(Rc::clone(&pool), Rc::clone(&replies), info);
        pool.backends.refresh(Instant::now());
        test(Client {
            dispatcher,
            replies,
            pool,
        })
        .await;
    });
}

#[test]
fn replica_answers_what_only_reads_while_it_is_certain() {
    let settings = "read_from: replica, replica_max_lag: 100";
    with_client(Some(REPLICA), settings, async |mut client| {
        assert_eq!(client.ask(&["GET k"]).await, PRIMARY, "nothing is certain");
        client.certify();
        for request in ["GET k", "LRANGE k 0 1", "MGET k l"] {
            assert_eq!(client.ask(&[request]).await, REPLICA, "{request}");
        }
        sleep(Duration::from_millis(101)).await;
        assert_eq!(client.ask(&["GET k"]).await, PRIMARY, "it is not any more");
    });
}

#[test]
fn client_reads_what_it_has_written() {
    let settings = "read_from: replica, replica_max_lag: 60000";
    with_client(Some(REPLICA), settings, async |mut client| {
        client.certify();
        assert_eq!(client.ask(&["GET k"]).await, REPLICA);
        let both = client.ask(&["SET k v", "GET k"]).await;
        assert_eq!(both, [PRIMARY, PRIMARY].concat());
        assert_eq!(client.ask(&["GET k"]).await, PRIMARY, "not certified since");
        client.certify();
        assert_eq!(client.ask(&["GET k"]).await, REPLICA);
        for write in ["EVAL s 1 k", "XREADGROUP GROUP g c STREAMS k 0"] {
            assert_eq!(client.ask(&[write]).await, PRIMARY, "{write}");
            assert_eq!(client.ask(&["GET k"]).await, PRIMARY, "after {write}");
            client.certify();
        }
    });
}

#[test]
fn write_waits_for_the_reads_before_it() {
    let settings = "read_from: replica, replica_max_lag: 60000";
    with_client(Some(REPLICA), settings, async |mut client| {
        client.certify();
        assert!(client.offer("GET k").is_taken());
        assert!(matches!(client.offer("SET k v"), Dispatched::Fence));
        assert!(client.offer("GET l").is_taken());
        let rest = client.ask(&["SET k v"]).await;
        assert_eq!(rest, [REPLICA, REPLICA, PRIMARY].concat());
    });
}

#[test]
fn primary_answers_where_the_replica_does_not() {
    for reply in [Some(LOADING), None] {
        let settings = "read_from: replica, replica_max_lag: 100";
        with_client(reply, settings, async |mut client| {
            // Nobody certifies the replica again: a reply that came later would be too old.
            client.certify();
            let replies = client.ask(&["GET k", "GET k"]).await;
            assert_eq!(replies, [PRIMARY, PRIMARY].concat(), "{reply:?}");
        });
    }
}

#[test]
fn error_of_a_read_is_passed_on() {
    let error = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    let settings = "read_from: replica, replica_max_lag: 60000";
    with_client(Some(error), settings, async |mut client| {
        client.certify();
        assert_eq!(client.ask(&["GET k"]).await, error);
    });
}

#[test]
fn any_includes_the_primary() {
    let settings = "read_from: any, replica_max_lag: 60000";
    with_client(Some(REPLICA), settings, async |mut client| {
        assert_eq!(client.ask(&["GET k"]).await, PRIMARY, "it is connected");
        client.certify();
        let replies = client.ask(&["GET k"; 10]).await;
        let count = |reply| replies.matches(reply).count();
        assert_eq!([count(PRIMARY), count(REPLICA)], [5, 5], "{replies}");
    });
}

#[test]
fn transaction_reads_from_the_primary() {
    let settings = "read_from: replica, replica_max_lag: 60000";
    with_client(Some(REPLICA), settings, async |mut client| {
        client.certify();
        let queued = client.ask(&["MULTI", "GET k"]).await;
        assert_eq!(queued, "+OK\r\n+QUEUED\r\n");
        let view = client.pool.backends.view();
        let mut conns = view.all_replicas().map(|known| &known.handle);
        assert!(conns.all(|handle| handle.all_conns().is_empty()));
    });
}

#[test]
fn late_read_is_asked_of_the_primary_too() {
    let settings =
        "read_from: replica, replica_max_lag: 60000, read_hedge_limit: 10, timeout: 60000";
    with_client(None, settings, async |mut client| {
        client.certify();
        // One in ten may be, and what has not been spent is saved.
        for _ in 0..40 {
            assert!(client.offer("GET k").is_taken());
        }
        let waiting = async {
            while client.pool.hedges.saved() >= 100 {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), waiting).await.unwrap();
        let cells = &the_server(&client.pool).server.cells;
        let hedged = cells.get(ServerMetric::ReplicaReadsHedged);
        assert_eq!(hedged, 4);
    });
}

#[test]
fn replica_answers_late_where_the_primary_is_loading() {
    let (release, released) = channel();
    let released = Arc::new(Mutex::new(released));
    let wait = move || {
        // The end of the test also releases it.
        let _ = released.lock().unwrap().recv();
    };
    let servers = [
        server(Some(LOADING), true),
        server_when(wait, Some(REPLICA), false),
    ];
    let settings =
        "read_from: replica, replica_max_lag: 60000, read_hedge_limit: 100, timeout: 60000";
    with_servers(servers, settings, async |mut client| {
        client.certify();
        assert!(client.offer("GET k").is_taken());
        let refusals = || {
            let cells = &the_server(&client.pool).server.cells;
            cells.get(ServerMetric::RequestsRefused)
        };
        let refusing = async {
            while refusals() == 0 {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), refusing).await.unwrap();
        assert!(!client.replies.is_idle(), "no error was passed on");
        release.send(()).unwrap();
        assert_eq!(client.ask(&[]).await, REPLICA);
    });
}
