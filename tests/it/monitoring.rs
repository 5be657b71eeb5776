//! `conf/monitoring`: Debian's Prometheus scrapes a real proxy, and every query of the dashboard and of the alerts finds
//! what it is about.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Client, Kind, Launch, Pool, Process, Proxy, RedisServer, eventually, fresh_ip,
};
use crate::tls::certificates::Ca;

const PORT: u16 = 16333;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn promtool(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new("promtool")
        .args(args)
        .current_dir(path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

fn assert_accepts(args: &[&str], stdin: &[u8]) {
    let output = promtool(args, stdin);
    let text = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "promtool {args:?}: {}",
        String::from_utf8_lossy(&text)
    );
}

fn http(address: SocketAddr, target: &str) -> String {
    let mut reader = Client::connect(address);
    reader.send(format!("GET {target} HTTP/1.0\r\n\r\n").as_bytes());
    let reply = String::from_utf8(reader.read_to_close()).unwrap();
    reply.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// A pool of two servers, and requests of every kind.
struct Site {
    proxy: Proxy,
    client: Client,
    _servers: [RedisServer; 2],
    _ca: Ca,
}

impl Site {
    fn start() -> Self {
        let servers = [RedisServer::start(), RedisServer::start()];
        let launch = Launch {
            args: ["--workers", "1"].map(str::to_owned).to_vec(),
            ..Launch::default()
        };
        // Its certificate expires at some time, which is a metric.
        let ca = Ca::new();
        let own = ca.issue("proxy", &["ringroad.test"]);
        let pool = Pool::of(&servers)
            .listening_for_tls()
            .with("tls_cert", own.cert.display())
            .with("tls_key", own.key.display());
        let proxy = Proxy::start(Kind::Ringroad, &pool, &launch);
        let mut site = Self {
            _ca: ca,
            client: proxy.client(),
            proxy,
            _servers: servers,
        };
        site.work();
        site
    }

    fn work(&mut self) {
        // More than are one sample of the wait of replies, on each server.
        for n in 0..300 {
            self.client.ask(&format!("SET k{n} 1"));
        }
        for request in [
            "MGET k1 k2 k3",
            "LPUSH k1 x",
            "NOSUCH",
            "BLPOP nolist 0.001",
            "EVAL return 1 k1",
            "PUBLISH c m",
            "PING",
        ] {
            self.client.ask(request);
        }
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    assert_accepts(&["check", "config", "conf/monitoring/prometheus.yml"], b"");
    assert_accepts(
        &["check", "rules", "conf/monitoring/ringroad.rules.yml"],
        b"",
    );
    assert_accepts(&["test", "rules", "tests/data/alerts.yml"], b"");
    let text = fs::read_to_string(path("docs/operations.md")).unwrap();
    for alert in alerts() {
        assert!(
            text.contains(&format!("`{alert}`")),
            "{alert} is not documented"
        );
    }
}

#[test]
fn promtool_accepts_all_metrics() {
    let site = Site::start();
    let text = http(site.proxy.stats_address(), "/metrics");
    assert_accepts(&["check", "metrics"], text.as_bytes());
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let series = series.map(|line| line.rsplit_once(' ').unwrap().0);
    let mut seen = BTreeSet::new();
    for one in series {
        assert!(seen.insert(one), "{one} twice");
    }
}

/// The names of the alerts.
fn alerts() -> Vec<String> {
    let text = fs::read_to_string(path("conf/monitoring/ringroad.rules.yml")).unwrap();
    let lines = text.lines();
    let names = lines.filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// The queries of the dashboard, for all proxies and pools.
fn dashboard_queries() -> Vec<String> {
    let text = fs::read_to_string(path("conf/monitoring/ringroad.dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    let expressions = targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap());
    let variables = [
        ("$__rate_interval", "30s"),
        ("$instance", ".*"),
        ("$pool", ".*"),
    ];
    let resolved = |query: &str| {
        let resolved = variables
            .iter()
            .fold(query.to_owned(), |query, (name, value)| {
                query.replace(name, value)
            });
        assert!(!resolved.contains('$'), "{resolved}");
        resolved
    };
    expressions.map(resolved).collect()
}

/// The metrics that an expression names.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let words = expression.split(|c: char| !is_part(c));
    let named = words.filter(|word| {
        *word == "up" || word.starts_with("ringroad_") || word.starts_with("process_")
    });
    named.map(str::to_owned).collect()
}

/// A Prometheus that scrapes a stats port five times a second.
struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Prometheus {
    fn of(target: SocketAddr) -> Self {
        let dir = TempDir::new().unwrap();
        let ip: Ipv4Addr = fresh_ip(&[PORT]);
        let text = fs::read_to_string(path("conf/monitoring/prometheus.yml")).unwrap();
        let rules = path("conf/monitoring/ringroad.rules.yml");
        let mut config = text;
        for (from, to) in [
            (
                "scrape_interval: 15s",
                "scrape_interval: 200ms\n  scrape_timeout: 200ms",
            ),
            ("evaluation_interval: 15s", "evaluation_interval: 200ms"),
            ("ringroad.rules.yml", rules.to_str().unwrap()),
            ("127.0.0.1:22222", &target.to_string()),
        ] {
            assert!(config.contains(from), "{from}");
            config = config.replace(from, to);
        }
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let address = SocketAddr::from((ip, PORT));
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error");
        let process = Process::spawn(command);
        eventually("Prometheus listens", || Client::try_connect(address).ok());
        Self {
            address,
            _process: process,
            _dir: dir,
        }
    }

    fn ask(&self, target: &str) -> Option<Value> {
        let body = http(self.address, target);
        let answer: Value = serde_json::from_str(&body).ok()?;
        (answer["status"] == "success").then(|| answer["data"].clone())
    }

    /// The values of a query that are numbers.
    fn values(&self, query: &str) -> Vec<f64> {
        let encoded: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let Some(data) = self.ask(&format!("/api/v1/query?query={encoded}")) else {
            return Vec::new();
        };
        let found = data["result"].as_array().unwrap().iter();
        let values = found.map(|one| one["value"][1].as_str().unwrap().parse().unwrap());
        values.filter(|value: &f64| !value.is_nan()).collect()
    }
}

#[test]
fn every_query_of_dashboard_and_alerts_finds_its_series() {
    let mut site = Site::start();
    let prometheus = Prometheus::of(site.proxy.stats_address());
    let queries = dashboard_queries();
    assert!(queries.len() > 50, "{}", queries.len());
    let mut missing: BTreeSet<String> = queries.into_iter().collect();
    eventually("every query has a result", || {
        site.work();
        missing.retain(|query| prometheus.values(query).is_empty());
        if missing.is_empty() { Some(()) } else { None }
    });
    let rules = eventually("all rules are evaluated", || {
        let data = prometheus.ask("/api/v1/rules")?;
        let rules = data["groups"][0]["rules"].as_array()?.clone();
        let is_known = rules.iter().all(|rule| rule["health"] != "unknown");
        (is_known && !rules.is_empty()).then_some(rules)
    });
    assert_eq!(rules.len(), alerts().len());
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
        let metrics = metrics_of(rule["query"].as_str().unwrap());
        assert!(!metrics.is_empty(), "{rule}");
        // It needs a stats port over TLS.
        let others = |metric: &String| *metric != "ringroad_stats_tls_expiry_seconds";
        for metric in metrics.into_iter().filter(others) {
            let count = prometheus.values(&format!("count({metric})"));
            assert!(count.first() > Some(&0.0), "{metric} of {}", rule["name"]);
        }
    }
}
