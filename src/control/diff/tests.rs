use std::collections::BTreeSet;

use super::*;
use crate::config::Config;

/// A Redis pool `a` on two servers, with these further lines.
fn pool(lines: &str) -> String {
    let lines = lines.replace('\n', "\n  ");
    format!(
        "a:\n  listen: h:1\n  redis: true\n  hash: murmur\n  distribution: modula\n  \
         servers: [h:11:1 one, h:12:1 two]\n  {lines}\n"
    )
}

fn diff(old: &str, new: &str) -> ConfigDiff {
    let parse = |text| Config::parse(text, "F").unwrap().pools;
    compare(&parse(old), &parse(new))
}

/// The one pool that differs.
fn changed(old: &str, new: &str) -> PoolDiff {
    let mut diff = diff(old, new);
    assert_eq!(
        (diff.changed.len(), diff.added, diff.removed),
        (1, vec![], vec![])
    );
    diff.changed.remove(0)
}

fn with_servers(servers: &str) -> String {
    pool("").replace("h:11:1 one, h:12:1 two", servers)
}

#[test]
fn files_that_mean_the_same_do_not_differ() {
    for new in [
        pool(""),
        with_servers("h:12:1 two, h:11:1 one"),
        pool("# a comment\ntimeout: 0\nbacklog: 512"),
    ] {
        let diff = diff(&pool(""), &new);
        assert!(diff.is_empty(), "{diff}");
        assert_eq!(diff.to_string(), "no difference\n");
    }
}

#[test]
fn pools_are_matched_by_name() {
    let other = |name: &str, port: &str| pool("").replace("a:", name).replace("h:1\n", port);
    let (stays, gone, come) = (pool(""), other("bb:", "h:2\n"), other("ccc:", "h:2\n"));
    let diff = diff(&format!("{stays}{gone}"), &format!("{come}{stays}"));
    assert_eq!(diff.to_string(), "pool 'bb': removed\npool 'ccc': added\n");
    assert!(!diff.is_refused());
}

#[test]
fn every_directive_is_compared() {
    let base = pool("");
    let lines = [
        "timeout: 400",
        "backlog: 1",
        "client_connections: 7",
        "tcpkeepalive: true",
        "proxy_protocol: [10.0.0.1]",
        "allow: [10.0.0.0/8]",
        "deny: [10.0.0.0/8]",
        "client_address_rate: 1",
        "client_address_connections: 1",
        "auth_timeout: 1",
        "client_address_auth_failures: 1",
        "reuseport: true",
        "redis_auth: secret",
        "server_password: secret",
        "redis_db: 1",
        "databases: 2",
        "disabled_commands: [KEYS]",
        "server_parameters: true",
        "gather_sets: true",
        "keyless_scripts: true",
        "preconnect: true",
        "auto_eject_hosts: true",
        "server_connections: 2",
        "server_leases: 1",
        "server_retry_timeout: 1",
        "server_failure_limit: 1",
        "server_probe_interval: 1",
        "server_probe_successes: 1",
        "server_resolve_interval: 1",
        "memory_limit: 0",
        "pubsub_buffer_limit: 1mb 0 0",
        "pubsub_everywhere: true",
        "on_placement_change: swap",
        "placement_guard: true",
        "hash_tag: $$",
        "users: ['alice on >secret']",
        "users_file: /dev/null",
        "requests_per_second: 1",
        "user_quotas: ['* requests_per_second=1']",
        "bytes_per_second: 1",
    ];
    let added = lines.map(|line| (line.split(':').next().unwrap(), pool(line)));
    let replaced = [
        ("listen", base.replace("h:1\n", "h:2\n")),
        ("redis", base.replace("redis: true", "redis: false")),
        ("hash", base.replace("murmur", "md5")),
        ("distribution", base.replace("modula", "ketama")),
    ];
    let mut seen = BTreeSet::from(["servers"]);
    for (directive, new) in added.iter().chain(&replaced) {
        let diff = changed(&base, new);
        let settings: Vec<_> = diff
            .settings
            .iter()
            .map(|change| change.directive)
            .collect();
        assert_eq!(settings, [*directive]);
        seen.insert(directive);
    }
    let watched = pool("sentinels: [h:1]");
    for line in [
        "sentinel_auth: secret",
        "server_failover_timeout: 1",
        "read_from: any",
        "replica_max_lag: 100",
    ] {
        let new = pool(&format!("sentinels: [h:1]\n{line}"));
        let diff = changed(&watched, &new);
        let [change] = diff.settings.as_slice() else {
            panic!("{line}: {diff:?}");
        };
        assert!(line.starts_with(change.directive), "{line}");
        seen.insert(change.directive);
    }
    let known = "server_password: secret";
    let named = pool(&format!("{known}\nserver_user: me"));
    seen.insert(changed(&pool(known), &named).settings[0].directive);
    let read = "sentinels: [h:1]\nread_from: any";
    let hedged = pool(&format!("{read}\nread_hedge_limit: 5"));
    seen.insert(changed(&pool(read), &hedged).settings[0].directive);
    for line in ["sentinels: [h:1]", "replicas: ['h:1 one']"] {
        seen.insert(changed(&base, &pool(line)).settings[0].directive);
    }
    seen.extend(compared_directives_of_tls(&base));
    let pools = Config::parse(&base, "F").unwrap().pools;
    let all: BTreeSet<_> = schema::settings(&pools[0]).map(|(name, _)| name).collect();
    assert_eq!(seen, all);
}

/// The directives of TLS, each of which is compared.
fn compared_directives_of_tls(base: &str) -> Vec<&'static str> {
    let mut seen = Vec::new();
    let encrypted = "tls_listen: h:3\ntls_cert: /a\ntls_key: /b\ntls_client_ca: /c\ntls_client_auth: required\n\
                     tls_client_crl: /d\ntls_min_version: 1.2\ntls_handshake_timeout: 1\nserver_tls: true\n\
                     server_tls_ca: /e\nserver_tls_crl: /h\nserver_tls_name: h\nserver_tls_cert: /f\nserver_tls_key: /g\n\
                     sentinels: [h:1]\nsentinel_tls: false";
    for (old, new) in [
        ("tls_listen: h:3", "tls_listen: h:4"),
        ("tls_cert: /a", "tls_cert: /z"),
        ("tls_key: /b", "tls_key: /z"),
        ("tls_client_ca: /c", "tls_client_ca: /z"),
        ("tls_client_auth: required", "tls_client_auth: optional"),
        ("tls_client_crl: /d", "tls_client_crl: /z"),
        ("tls_min_version: 1.2", "tls_min_version: 1.3"),
        ("tls_handshake_timeout: 1", "tls_handshake_timeout: 2"),
        ("server_tls_ca: /e", "server_tls_ca: system"),
        ("server_tls_crl: /h", "server_tls_crl: /z"),
        ("server_tls_name: h", "server_tls_name: g"),
        ("server_tls_cert: /f", "server_tls_cert: /z"),
        ("server_tls_key: /g", "server_tls_key: /z"),
        ("sentinel_tls: false", "sentinel_tls: true"),
    ] {
        let diff = changed(&pool(encrypted), &pool(&encrypted.replacen(old, new, 1)));
        let [change] = diff.settings.as_slice() else {
            panic!("{new}: {diff:?}");
        };
        assert!(new.starts_with(change.directive), "{new}");
        seen.push(change.directive);
    }
    let insecure = "server_tls: true\nserver_tls_insecure_skip_verify: true";
    let diff = changed(base, &pool(insecure));
    seen.extend(diff.settings.iter().map(|change| change.directive));
    seen
}

#[test]
fn password_is_not_shown() {
    for (old, new) in [
        ("", "redis_auth: hunter2"),
        ("redis_auth: hunter2", ""),
        ("redis_auth: hunter1", "redis_auth: hunter2"),
        ("users: ['a >hunter1']", "users: ['a >hunter2']"),
    ] {
        let diff = diff(&pool(old), &pool(new));
        let text = diff.to_string();
        let (directive, _) = new.split_once(':').unwrap_or(("redis_auth", ""));
        let shown = format!("  {directive}: changed\n");
        assert!(text.contains(&shown), "{text}");
        let all = format!("{text}{diff:?}{}", diff.to_json());
        assert!(!all.contains("hunter"), "{all}");
    }
}

#[test]
fn new_address_of_a_named_server_moves_no_key() {
    let diff = changed(&pool(""), &with_servers("h:11:1 one, h:99:1 two"));
    assert_eq!(
        (diff.placement.as_ref(), diff.verdict()),
        (None, Verdict::Applies)
    );
    assert_eq!(
        diff.to_string(),
        "pool 'a': changed\n  server 'two': address h:12 -> h:99\n  reload: applies\n"
    );
}

#[test]
fn unnamed_server_with_a_new_address_gets_a_hint() {
    let diff = changed(
        &with_servers("h:11:1, h:12:1"),
        &with_servers("h:11:1, h:99:1"),
    );
    assert_eq!(
        diff.to_string(),
        "\
pool 'a': changed
  server 'h:12': removed (h:12, weight 1)
  server 'h:99': added (h:99, weight 1)
  50.0% of the keys would be looked for elsewhere:
    FROM  TO     KEYS
    h:12  h:99  50.0%
  if 'h:99' has the keys of 'h:12', write 'h:99:1 h:12': the name decides which keys a server holds
  reload: refused; 'on_placement_change: swap' allows it, and leaves keys that move behind
"
    );
}

#[test]
fn servers_that_come_leave_and_change_are_listed() {
    let diff = changed(
        &with_servers("h:11:1 one, h:12:1 two, h:13:2 six"),
        &with_servers("h:11:2 one, h:14:3 six, h:15:1 seven"),
    );
    let servers: Vec<_> = diff.servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        servers,
        [
            "server 'one': weight 1 -> 2",
            "server 'six': address h:13 -> h:14",
            "server 'six': weight 2 -> 3",
            "server 'two': removed (h:12, weight 1)",
            "server 'seven': added (h:15, weight 1)",
        ]
    );
}

#[test]
fn each_pool_directive_and_server_counts_once() {
    let one = "h:11:1 one, h:12:1 two";
    let cases = [
        (pool(""), 0),
        (with_servers(&format!("{one}, h:13:1 six")), 1),
        (with_servers("h:11:1 one"), 1),
        (with_servers("h:99:7 one, h:12:1 two"), 1),
        (with_servers("h:11:1 one, h:13:1 six"), 2),
        (pool("timeout: 5").replace("murmur", "md5"), 2),
        (
            pool("") + &pool("timeout: 5").replace("a:\n  listen: h:1", "b:\n  listen: h:2"),
            1,
        ),
        (pool("timeout: 5").replace("a:", "b:"), 2),
    ];
    for (new, count) in cases {
        let diff = diff(&pool(""), &new);
        assert_eq!(diff.count(), count, "{diff}");
    }
}

#[test]
fn moved_keys_are_refused_for_a_store_and_not_for_a_cache() {
    let cases = [
        ("", Verdict::Refuses),
        ("auto_eject_hosts: true", Verdict::Swaps),
        ("on_placement_change: swap", Verdict::Swaps),
    ];
    for (line, verdict) in cases {
        let new = pool(line).replace("h:12:1 two", "h:12:3 two");
        let diff = diff(&pool(""), &new);
        let placement = diff.pool("a").unwrap().placement.as_ref().unwrap();
        // 0 to 3: one, two, one, two; then one and three times two.
        assert!((placement.moved.share - 0.25).abs() < f64::EPSILON);
        assert_eq!(diff.pool("a").unwrap().verdict(), verdict, "{line}");
        assert_eq!(diff.is_refused(), verdict == Verdict::Refuses);
    }
}

#[test]
fn placement_change_without_moved_keys_applies() {
    let (old, new) = (with_servers("h:11:1 one"), with_servers("h:11:7 one"));
    let diff = changed(&old, &new);
    assert_eq!(diff.verdict(), Verdict::Applies);
    assert_eq!(
        diff.to_string(),
        "pool 'a': changed\n  server 'one': weight 1 -> 7\n  all keys stay on their servers\n  reload: applies\n"
    );
}

#[test]
fn another_protocol_is_refused_with_a_way() {
    let new = pool("").replace("redis: true", "redis: false");
    let diff = changed(&pool("on_placement_change: swap"), &new);
    assert_eq!(
        (diff.verdict(), diff.placement.as_ref()),
        (Verdict::Refuses, None)
    );
    let text = diff.to_string();
    assert!(
        text.ends_with(
            "  reload: refused; 'redis' cannot change while the proxy runs: remove the pool and add one under another name\n"
        ),
        "{text}"
    );
}

#[test]
fn long_table_shows_the_largest_rows() {
    let servers = |count: u32| {
        let servers: Vec<_> = (0..count).map(|n| format!("h:{}:1 s{n}", n + 1)).collect();
        with_servers(&servers.join(", "))
    };
    let text = changed(&servers(9), &servers(10)).to_string();
    assert!(
        text.contains("  90.0% of the keys would be looked for elsewhere:\n"),
        "{text}"
    );
    assert!(text.contains("\n    and 61 smaller, together "), "{text}");
    let rows = text.lines().filter(|line| line.starts_with("    s"));
    assert_eq!(rows.count(), 20, "{text}");
}

#[test]
fn json_has_every_change() {
    let old = format!(
        "{}b: {{listen: 'h:2', servers: ['h:1:1']}}\n",
        pool("timeout: 5")
    );
    let new = with_servers("h:13:2 one, h:14:1 six");
    let json = diff(&old, &new).to_json();
    let expected = serde_json::json!({
        "added": [],
        "removed": ["b"],
        "replaced": [],
        "changed": [{
            "name": "a",
            "reload": "refuse",
            "settings": [{"directive": "timeout", "old": "5", "new": null}],
            "servers": [
                {"name": "one", "change": "address", "old": {"address": "h:11"}, "new": {"address": "h:13"}},
                {"name": "one", "change": "weight", "old": {"weight": 1}, "new": {"weight": 2}},
                {"name": "two", "change": "removed", "old": {"address": "h:12", "weight": 1}},
                {"name": "six", "change": "added", "new": {"address": "h:14", "weight": 1}},
            ],
            "placement": {
                "on_placement_change": "refuse",
                "share": 4.0 / 6.0,
                "basis": "all hashes",
                "moved": [
                    {"from": "one", "to": "six", "share": 1.0 / 6.0},
                    {"from": "two", "to": "one", "share": 2.0 / 6.0},
                    {"from": "two", "to": "six", "share": 1.0 / 6.0},
                ],
            },
        }],
    });
    assert_eq!(json, expected);
}
