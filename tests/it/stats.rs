//! The stats port as its readers see it, and the generated documentation of its metrics.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use ringroad::admin;
use ringroad::admin::{Collector, State};
use ringroad::net::AcceptGate;
use ringroad::stats;
use ringroad::stats::{
    Latency, NO_COMMANDS, PoolMetric, ServerMetric, Snapshot, StatsBoard, StatsLayout, WorkerCells,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Port {
    address: SocketAddr,
    draining: CancellationToken,
    shutdown: CancellationToken,
    _stop: DropGuard,
}

/// Workers that take a moment to answer.
#[derive(Debug)]
struct Busy(StatsBoard, Arc<StatsLayout>);

impl Collector for Busy {
    fn collect(&self) -> Pin<Box<dyn Future<Output = Snapshot> + Send + '_>> {
        Box::pin(async {
            sleep(Duration::from_millis(20)).await;
            self.0.merged(&self.1)
        })
    }
}

impl Port {
    /// A stats port with one pool of two servers; the first has had five requests from each of two workers.
    fn open() -> Self {
        Self::open_for("alpha")
    }

    fn open_for(pool: &str) -> Self {
        let layout = Arc::new(StatsLayout::new([(pool, ["server1", "quo\"ted"])]));
        let board = StatsBoard::new(2);
        for slot in board.slots() {
            let cells = WorkerCells::new();
            let pool = cells.add_pool(pool, &NO_COMMANDS);
            pool.cells.bump(PoolMetric::ClientAccepted);
            let server = pool.server("server1");
            server.add(ServerMetric::Requests, 5);
            server
                .latency
                .record(Latency::of(Duration::from_micros(250)));
            slot.publish(&cells);
        }
        let listener = admin::bind("127.0.0.1", 0).unwrap();
        let address = listener.local_addr().unwrap();
        let (draining, shutdown) = (CancellationToken::new(), CancellationToken::new());
        let state = Arc::new(State::new(
            Arc::new(Busy(board, layout)),
            Arc::default(),
            2,
            draining.clone(),
        ));
        tokio::spawn(admin::serve(
            listener,
            state,
            AcceptGate::default(),
            shutdown.clone(),
        ));
        Self {
            address,
            draining,
            _stop: shutdown.clone().drop_guard(),
            shutdown,
        }
    }

    /// Sends `request`, closes that direction if `half_close`, and reads to the end.
    async fn ask(&self, request: &str, half_close: bool) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        if half_close {
            stream.shutdown().await.unwrap();
        }
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }

    async fn http(&self, method: &str, path: &str) -> Http {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: ringroad\r\n\r\n");
        let reply = self.ask(&request, false).await;
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Http {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }
}

struct Http {
    status: u16,
    head: String,
    body: String,
}

fn assert_is_the_line(text: &str) {
    let start = "{\"service\":\"nutcracker\", \"source\":\"";
    assert!(text.starts_with(start) && text.ends_with("}}}\n"), "{text}");
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(value["alpha"]["server1"]["requests"], 10);
    assert_eq!(value["alpha"]["quo\"ted"]["requests"], 0);
    assert_eq!(value["total_connections"], 1 + 2);
}

#[tokio::test]
async fn non_http_client_gets_the_twemproxy_line() {
    let port = Port::open();
    for (request, half_close) in [
        ("", false),
        ("", true),
        ("stats\r\n", false),
        ("GETTING\r\n", false),
        ("get / HTTP/1.1\r\n\r\n", true),
        (&"noise ".repeat(10_000), true),
    ] {
        assert_is_the_line(&port.ask(request, half_close).await);
    }
}

#[tokio::test]
async fn early_request_bytes_do_not_reset_the_client() {
    let port = Port::open();
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    stream.write_all(b"stats\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert_is_the_line(&reply);
    stream
        .write_all(b"quit\n")
        .await
        .expect("reset with the reply");
}

#[tokio::test]
async fn http_paths_are_served_on_the_same_port() {
    let port = Port::open();
    for (method, path, status, content_type, start) in [
        ("GET", "/", 200, "text/plain", "Ringroad\n"),
        (
            "GET",
            "/stats",
            200,
            "application/json",
            "{\"service\":\"nutcracker\", ",
        ),
        (
            "GET",
            "/metrics",
            200,
            "text/plain; version=0.0.4",
            "# HELP ",
        ),
        ("GET", "/healthz", 200, "text/plain", "ok"),
        ("HEAD", "/stats", 200, "application/json", ""),
        ("GET", "/elsewhere", 404, "", ""),
        ("POST", "/metrics", 405, "", ""),
        ("DELETE", "/", 405, "", ""),
    ] {
        let http = port.http(method, path).await;
        assert_eq!(http.status, status, "{method} {path}");
        assert!(http.head.contains(&format!("content-type: {content_type}")) || status != 200);
        assert!(
            http.body.starts_with(start),
            "{method} {path}: {}",
            http.body
        );
    }
    assert_is_the_line(&port.http("GET", "/stats").await.body);
}

#[tokio::test]
async fn an_http_client_may_close_its_half_or_split_its_request() {
    let port = Port::open();
    for version in ["1.0", "1.1"] {
        let request = format!("GET /stats HTTP/{version}\r\nHost: a\r\n\r\n");
        let reply = port.ask(&request, true).await;
        let (head, body) = reply.split_once("\r\n\r\n").expect("no answer");
        assert!(
            head.starts_with(&format!("HTTP/{version} 200 OK")),
            "{head}"
        );
        assert_is_the_line(body);
    }

    let mut stream = TcpStream::connect(port.address).await.unwrap();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(
        reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with("\r\n\r\nok"),
        "{reply}"
    );
}

#[tokio::test]
async fn healthz_follows_drain_and_port_closes_on_shutdown() {
    let port = Port::open();
    assert_eq!(port.http("GET", "/healthz").await.status, 200);
    port.draining.cancel();
    assert_eq!(port.http("GET", "/healthz").await.status, 503);
    assert_is_the_line(&port.ask("", true).await);

    port.shutdown.cancel();
    tokio::task::yield_now().await;
    let refused = async { while TcpStream::connect(port.address).await.is_ok() {} };
    timeout(crate::support::PATIENCE, refused)
        .await
        .expect("the port is still open");
}

#[tokio::test(start_paused = true)]
async fn endless_request_is_cut_off() {
    let port = Port::open();
    let start = Instant::now();
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    stream
        .write_all(b"GET /stats HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    let seconds = start.elapsed().as_secs();
    assert!((5..7).contains(&seconds), "cut off after {seconds} s");
}

/// The number of connections that the port has at a time.
const PLACES: usize = 64;

/// Connects and sends a part of a request, which the port has received on return.
async fn half_request(port: &Port) -> TcpStream {
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    stream.write_all(b"GET /healthz HT").await.unwrap();
    // An answer over a later connection: the earlier one has been read.
    assert_eq!(port.http("GET", "/healthz").await.status, 200);
    stream
}

#[tokio::test(start_paused = true)]
async fn half_requests_do_not_delay_others() {
    let port = Port::open();
    let mut silent = Vec::new();
    for _ in 0..PLACES + 8 {
        silent.push(half_request(&port).await);
    }
    let start = Instant::now();
    assert_is_the_line(&port.ask("stats\n", true).await);
    for path in ["/healthz", "/stats", "/metrics"] {
        assert_eq!(port.http("GET", path).await.status, 200, "{path}");
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "served after {took:?}");
}

/// Or clients that send a byte now and then would keep all places.
#[tokio::test(start_paused = true)]
async fn oldest_half_request_makes_room_however_it_dribbles() {
    let port = Port::open();
    let mut dribbling = half_request(&port).await;
    let mut others = Vec::new();
    for _ in 3..PLACES {
        others.push(half_request(&port).await);
    }
    let mut latest = half_request(&port).await;
    sleep(Duration::from_millis(1)).await;
    dribbling.write_all(b"TP/1.1\r\n").await.unwrap();
    // The port has received that, and one place is left.
    assert_eq!(port.http("GET", "/healthz").await.status, 200);
    others.push(half_request(&port).await);
    let mut rest = String::new();
    // A FIN or a reset.
    let _ = dribbling.read_to_string(&mut rest).await;
    assert_eq!(rest, "");
    latest
        .write_all(b"TP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    latest.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 OK"), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn client_with_an_unread_reply_makes_room() {
    let name = "x".repeat(8 << 20);
    let port = Port::open_for(&name);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut unread = socket.connect(port.address).await.unwrap();
    let request = b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n";
    unread.write_all(request).await.unwrap();
    unread.read_u8().await.unwrap();
    let mut others = Vec::new();
    for _ in 0..PLACES {
        others.push(half_request(&port).await);
    }
    let mut reply = Vec::new();
    let _ = unread.read_to_end(&mut reply).await;
    assert!(reply.len() < name.len(), "all {} bytes came", reply.len());
}

/// Connections whose replies are being collected are not silent, however many there are.
#[tokio::test]
async fn simultaneous_requests_are_all_answered() {
    let port = Arc::new(Port::open());
    let requests = (0..4 * PLACES).map(|_| {
        let port = Arc::clone(&port);
        tokio::spawn(async move { port.http("GET", "/stats").await.status })
    });
    for answered in requests.collect::<Vec<_>>() {
        assert_eq!(answered.await.unwrap(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn non_reading_client_is_cut_off() {
    let name = "x".repeat(32 << 20);
    let port = Port::open_for(&name);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(port.address).await.unwrap();
    stream
        .write_all(b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    sleep(Duration::from_secs(31)).await;
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    assert!(reply.starts_with(b"HTTP/1.1 200 OK"));
    assert!(reply.len() < name.len(), "all {} bytes came", reply.len());
}

#[test]
fn port_in_use_error_names_the_port() {
    let first = admin::bind("127.0.0.1", 0).unwrap();
    let port = first.local_addr().unwrap().port();
    let error = admin::bind("127.0.0.1", port).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    assert!(
        admin::bind("[::1]", 0).is_ok() || !std::path::Path::new("/proc/net/if_inet6").exists()
    );
}

#[tokio::test]
async fn metrics_parse_as_prometheus_text() {
    let text = Port::open().http("GET", "/metrics").await.body;
    let series = check_prometheus(&text);
    for name in [
        concat!(
            "ringroad_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        )
        .to_owned(),
        "ringroad_workers 2".to_owned(),
        "ringroad_server_requests_total{pool=\"alpha\",server=\"server1\"} 10".to_owned(),
        "ringroad_server_requests_total{pool=\"alpha\",server=\"quo\\\"ted\"} 0".to_owned(),
        "ringroad_server_latency_seconds_count{pool=\"alpha\",server=\"server1\"} 2".to_owned(),
        "ringroad_server_latency_seconds_sum{pool=\"alpha\",server=\"server1\"} 0.0005".to_owned(),
    ] {
        assert!(
            text.lines().any(|line| line == name),
            "{name} is not in {text}"
        );
    }
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
    ] {
        assert!(series.contains(name), "{name} is missing");
    }
}

/// Checks what a Prometheus server requires, and returns the names of all series: every sample belongs to the family
/// whose HELP and TYPE precede it, no series is repeated, values are numbers, counters end in `_total`, buckets ascend
/// to the count.
fn check_prometheus(text: &str) -> HashSet<String> {
    let (mut families, mut series) = (HashSet::new(), HashSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let mut helped = String::new();
    let mut below = 0.0;
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').unwrap().0.to_owned();
            continue;
        }
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, its_kind) = typed.split_once(' ').unwrap();
            assert_eq!(name, helped, "TYPE without HELP");
            assert!(families.insert(name.to_owned()), "{name} twice");
            assert_eq!(its_kind == "counter", name.ends_with("_total"), "{line}");
            (family, kind) = (name.to_owned(), its_kind.to_owned());
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value
            .parse()
            .unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(series.insert(name.to_owned()), "{name} twice");
        let (base, labels) = name.split_once('{').unwrap_or((name, "}"));
        assert!(labels.ends_with('}'), "{line}");
        match (kind.as_str(), base.strip_prefix(&family)) {
            ("counter" | "gauge", Some("")) | ("histogram", Some("_sum")) => {}
            ("histogram", Some("_bucket")) => {
                let first = labels.contains("le=\"0.000032\"");
                assert!(
                    labels.contains("le=\"") && (first || value >= below),
                    "{line}"
                );
                below = value;
            }
            ("histogram", Some("_count")) => {
                assert!(
                    (value - below).abs() < 0.5,
                    "{line}: the last bucket has {below}"
                );
            }
            _ => panic!("{line} is no sample of {kind} {family}"),
        }
    }
    series
}

#[test]
fn generated_documentation_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stats.md");
    let reference = stats::reference();
    if env::var_os("RINGROAD_BLESS").is_some() {
        fs::write(path, &reference).unwrap();
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(
        text == reference,
        "docs/stats.md is stale: run this test with RINGROAD_BLESS=1"
    );
}
