//! The configuration file: its meaning, and the errors of an invalid one.

mod access;
mod failover;
mod faults;
mod properties;
mod quotas;

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use ringroad::config::{
    Admission, BufferLimit, Config, Distribution, ListenConfig, OnPlacementChange, PoolConfig,
    PoolTls, ProtocolKind, ReadFrom, Secret, Setting, document, schema,
};
use ringroad::hash::{HashKind, HashTag};
use ringroad::net::{ListenAddr, ServerAddr};
use ringroad::quota::Quota;
use ringroad::topology::Router;

fn pools(text: &str) -> Vec<PoolConfig> {
    match Config::parse(text, "F") {
        Ok(config) => config.pools,
        Err(problems) => panic!("{problems}\n{text}"),
    }
}

/// A valid pool with these further lines.
fn pool_with(lines: &str) -> String {
    let lines = lines.replace('\n', "\n  ");
    format!("a:\n  listen: h:1\n  redis: true\n  servers:\n    - s:1:1\n  {lines}\n")
}

fn has_password(pool: &PoolConfig, password: &[u8]) -> bool {
    let secret = pool.redis_auth.as_ref();
    secret.is_some_and(|secret| secret.digest() == ringroad::hash::sha256(password))
}

#[test]
fn pool_defaults_are_those_of_twemproxy() {
    let pool = pools(&pool_with("")).remove(0);
    let expected = PoolConfig {
        name: "a".to_owned(),
        listen: Some(ListenConfig {
            address: ListenAddr::Tcp {
                host: "h".to_owned(),
                port: 1,
            },
            text: "h:1".to_owned(),
        }),
        tls_listen: None,
        tls: PoolTls::default(),
        admission: Admission {
            auth_failures: Some(10),
            auth_timeout: Duration::from_mins(1),
            ..Admission::default()
        },
        hash: HashKind::Fnv1a64,
        hash_tag: None,
        distribution: Distribution::Ketama,
        timeout: None,
        backlog: 512,
        client_connections: None,
        tcpkeepalive: false,
        reuseport: false,
        protocol: ProtocolKind::Redis,
        redis_auth: None,
        server_user: None,
        server_password: None,
        disabled_commands: Vec::new(),
        server_parameters: false,
        gather_sets: false,
        keyless_scripts: false,
        redis_db: 0,
        databases: 16,
        preconnect: false,
        auto_eject_hosts: false,
        server_connections: 1,
        server_leases: 256,
        server_retry_timeout: Duration::from_secs(30),
        server_failure_limit: 2,
        server_probe_interval: None,
        server_probe_successes: 2,
        server_resolve_interval: Duration::from_secs(5),
        pubsub_buffer_limit: BufferLimit {
            hard_bytes: 32 << 20,
            soft_bytes: 8 << 20,
            soft_for: Duration::from_secs(60),
        },
        pubsub_everywhere: false,
        memory_limit: None,
        placement_guard: false,
        on_placement_change: None,
        sentinels: Vec::new(),
        sentinel_auth: None,
        replicas: Vec::new(),
        server_failover_timeout: None,
        read_from: ReadFrom::Primary,
        replica_max_lag: Duration::from_secs(1),
        read_hedge_limit: 0,
        users: Vec::new(),
        users_file: None,
        quota: Quota::default(),
        user_quotas: Vec::new(),
        servers: pool.servers.clone(),
    };
    assert_eq!(pool, expected);
    assert_eq!(
        pool.servers[0].address,
        ServerAddr::Tcp {
            host: "s".to_owned(),
            port: 1
        }
    );
    assert_eq!(
        (pool.servers[0].name.as_str(), pool.servers[0].weight),
        ("s:1", 1)
    );
}

#[test]
fn every_directive_sets_its_field() {
    type Check = fn(&PoolConfig) -> bool;
    let cases: [(&str, Check); 32] = [
        ("on_placement_change: swap", |p| {
            p.on_placement_change == Some(OnPlacementChange::Swap)
        }),
        ("memory_limit: 512mb", |p| p.memory_limit == Some(512 << 20)),
        ("memory_limit: 0", |p| p.memory_limit == Some(0)),
        ("hash: md5", |p| p.hash == HashKind::Md5),
        ("hash_tag: \"{}\"", |p| {
            p.hash_tag
                == Some(HashTag {
                    open: b'{',
                    close: b'}',
                })
        }),
        ("hash_tag: $$", |p| {
            p.hash_tag
                == Some(HashTag {
                    open: b'$',
                    close: b'$',
                })
        }),
        ("hash_tag: \u{e9}", |p| {
            p.hash_tag
                == Some(HashTag {
                    open: 0xc3,
                    close: 0xa9,
                })
        }),
        ("hash_tag: 12", |p| {
            p.hash_tag
                == Some(HashTag {
                    open: b'1',
                    close: b'2',
                })
        }),
        ("distribution: modula", |p| {
            p.distribution == Distribution::Modula
        }),
        ("timeout: 400", |p| {
            p.timeout == Some(Duration::from_millis(400))
        }),
        ("timeout: 0", |p| p.timeout.is_none()),
        ("backlog: 0010", |p| p.backlog == 10),
        ("client_connections: 7", |p| p.client_connections == Some(7)),
        ("client_connections: 0", |p| p.client_connections.is_none()),
        ("tcpkeepalive: true", |p| p.tcpkeepalive),
        ("reuseport: true", |p| p.reuseport),
        ("redis_auth: 12345", |p| has_password(p, b"12345")),
        ("redis_auth: 0x10", |p| has_password(p, b"0x10")),
        ("redis_auth: ~", |p| has_password(p, b"~")),
        ("redis_auth: 'it''s # me'", |p| {
            has_password(p, b"it's # me")
        }),
        ("redis_db: 3", |p| p.redis_db == 3),
        ("disabled_commands: [FLUSHALL, config set]", |p| {
            p.disabled_commands == ["FLUSHALL", "config set"]
        }),
        ("server_parameters: true", |p| p.server_parameters),
        ("gather_sets: true", |p| p.gather_sets),
        ("keyless_scripts: true", |p| p.keyless_scripts),
        ("disabled_commands: []", |p| p.disabled_commands.is_empty()),
        ("preconnect: 'true'", |p| p.preconnect),
        ("auto_eject_hosts: \"true\"", |p| p.auto_eject_hosts),
        ("server_connections: 4", |p| p.server_connections == 4),
        ("server_retry_timeout: 1", |p| {
            p.server_retry_timeout == Duration::from_millis(1)
        }),
        ("server_failure_limit: 2147483647", |p| {
            p.server_failure_limit == 2_147_483_647
        }),
        ("timeout:   5   # five", |p| {
            p.timeout == Some(Duration::from_millis(5))
        }),
    ];
    for (line, check) in cases {
        let pool = pools(&pool_with(line)).remove(0);
        assert!(check(&pool), "{line}: {pool:?}");
        assert_eq!(reread(&pool), pool, "{line}");
    }
}

/// The pool that its settings describe as text; its password, which has none, is left.
fn reread(pool: &PoolConfig) -> PoolConfig {
    let line = |(name, setting)| match setting {
        Setting::Text(text) if text.starts_with('[') => Some(format!("  {name}: {text}\n")),
        Setting::Text(text) | Setting::File { path: text, .. } => {
            Some(format!("  {name}: '{text}'\n"))
        }
        Setting::Absent | Setting::Secret(_) => None,
    };
    let lines: String = schema::settings(pool).filter_map(line).collect();
    let mut read = pools(&format!("{}:\n{lines}", pool.name)).remove(0);
    read.redis_auth.clone_from(&pool.redis_auth);
    read
}

#[test]
fn password_is_shown_nowhere_among_the_settings() {
    let pool = |password| pools(&pool_with(&format!("redis_auth: {password}"))).remove(0);
    let auth = |pool: &PoolConfig| {
        let mut settings = schema::settings(pool);
        settings.find(|(name, _)| *name == "redis_auth").unwrap().1
    };
    let (one, other) = (auth(&pool("hunter2")), auth(&pool("hunter3")));
    assert_ne!(one, other);
    for setting in [one, other] {
        assert!(!format!("{setting} {setting:?}").contains("hunter"));
    }
}

#[test]
fn keys_of_a_cache_may_be_looked_for_elsewhere() {
    use OnPlacementChange::{Refuse, Swap};
    let store = pool_with("");
    for (text, rule) in [
        (store.clone(), Refuse),
        (pool_with("auto_eject_hosts: true"), Swap),
        (store.replace("redis: true", "redis: false"), Swap),
        (pool_with("on_placement_change: swap"), Swap),
        (
            pool_with("auto_eject_hosts: true\non_placement_change: refuse"),
            Refuse,
        ),
    ] {
        let pool = pools(&text).remove(0);
        assert_eq!(pool.on_placement_change(), rule, "{text}");
    }
}

#[test]
fn pools_and_servers_are_ordered_by_name_length() {
    let text = "\
zz: {listen: 'h:1', redis: true, servers: ['s:7002:1 zz', 's:7002:1 aaa', 's:7002:1 b', 's:7002:1 B']}
b: {listen: 'h:2', redis: true, servers: ['10.0.0.2:7002:1', '10.0.0.4:11211:1', '/s:1']}
";
    let names: Vec<(String, Vec<String>)> = pools(text)
        .into_iter()
        .map(|pool| {
            (
                pool.name,
                pool.servers.into_iter().map(|server| server.name).collect(),
            )
        })
        .collect();
    let expected = [
        ("b", vec!["/s:", "10.0.0.4", "10.0.0.2:7002"]),
        ("zz", vec!["B", "b", "zz", "aaa"]),
    ];
    let expected = expected.map(|(pool, servers)| {
        (
            pool.to_owned(),
            servers.into_iter().map(str::to_owned).collect::<Vec<_>>(),
        )
    });
    assert_eq!(names, expected);
}

#[test]
fn unusual_but_valid_yaml_is_accepted() {
    let sound = pool_with("");
    let cases = [
        format!("---\n{sound}"),
        format!("%YAML 1.1\n---\n{sound}...\n"),
        format!("\u{feff}{sound}"),
        sound.replace('\n', "\r\n"),
        sound.replace("    - s", "  - s"),
        sound.replace("redis:", "'redis':"),
        format!("# comment\n\n{sound}# comment without a newline"),
    ];
    let expected = pools(&sound);
    for text in cases {
        assert_eq!(pools(&text), expected, "{text}");
    }
}

#[test]
fn sample_files_are_valid() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut count = 0;
    let files = std::fs::read_dir(&conf).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    for path in files.chain([conf.join("high-availability/ringroad.yml")]) {
        if let Err(problems) = Config::check(&path, ringroad::control::CHECKS) {
            panic!("{problems}");
        }
        count += 1;
    }
    assert_eq!(count, 7);
}

#[test]
fn frameworks_sample_keeps_a_queue_on_one_server() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/ringroad.frameworks.yml");
    let pools = Config::load(&conf, ringroad::control::CHECKS)
        .unwrap()
        .pools;
    let router = |name: &str| {
        let pool = pools.iter().find(|pool| pool.name == name).unwrap();
        Router::for_pool(pool)
    };
    assert_eq!(router("jobs").members().len(), 1);
    let queues = router("queues");
    let server = |key: &str| queues.route(key.as_bytes()).unwrap();
    let mut used = HashSet::new();
    for n in 0..20 {
        let keys = ["bull:NAME:wait", "bull:NAME:active", "bull:NAME:7:lock"]
            .into_iter()
            .chain([
                "bull:NAME:",
                "bull:NAME:events",
                "bq:NAME:waiting",
                "bq:NAME:id",
            ]);
        let servers = keys.map(|key| server(&key.replace("NAME", &format!("mail{n}"))));
        let servers: HashSet<_> = servers.collect();
        assert_eq!(servers.len(), 1, "mail{n}: {servers:?}");
        used.extend(servers);
    }
    assert_eq!(used.len(), queues.members().len());
}

#[test]
fn directives_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    let fresh = document();
    if std::env::var_os("RINGROAD_BLESS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == fresh,
        "docs/config.md is stale; run the tests with RINGROAD_BLESS=1"
    );
}
