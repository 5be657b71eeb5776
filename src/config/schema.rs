//! The directives of a pool: one table that parses them, suggests their names, shows their values and documents them.

use super::admission_schema;
use super::client_password::ClientPassword;
use super::directive::Directive;
use super::kind::{Kind, NUMBER_MAX};
use super::limit;
use super::placement::OnPlacementChange;
use super::pool::{ListenConfig, PoolConfig, ProtocolKind};
use super::quota_schema;
use super::setting::Setting;
use super::tls_schema;

/// The maximum number of databases of a pool: each takes an entry per server in every worker.
const DATABASES_MAX: u32 = 1024;

/// The least `replica_max_lag`: the servers are asked four times as often.
const REPLICA_LAG_MIN_MS: u32 = 100;

/// The value of every directive in a pool, by name, in the order of the documentation.
pub fn settings(pool: &PoolConfig) -> impl Iterator<Item = (&'static str, Setting)> {
    directives().map(|directive| (directive.name, (directive.show)(pool)))
}

/// Returns the directive of that name.
pub(super) fn named(name: &str) -> Option<&'static Directive> {
    directives().find(|directive| directive.name == name)
}

/// Every directive, in the order in which the documentation lists them.
pub(super) fn directives() -> impl Iterator<Item = &'static Directive> {
    DIRECTIVES
        .iter()
        .chain(&admission_schema::DIRECTIVES)
        .chain(&tls_schema::DIRECTIVES)
        .chain(&quota_schema::DIRECTIVES)
}

static DIRECTIVES: [Directive; 43] = [
    Directive {
        name: "listen",
        kind: Kind::Address(|pool, address, text| {
            pool.listen = Some(ListenConfig::new(address, text));
        }),
        default: None,
        show: |pool| {
            pool.listen
                .as_ref()
                .map(|listen| listen.text.as_str())
                .into()
        },
        doc: "The address that the pool listens on. Required, unless the pool has `tls_listen`, and unique, also under different names: `localhost:22121` and `127.0.0.1:22121`, or the \
              wildcard address and any other, are the same. A host name is resolved when the listener is bound. A unix socket may be followed by its octal permissions, as in \
              `/run/ringroad.sock 0660`; without them, or with 0, the umask decides.",
    },
    Directive {
        name: "servers",
        kind: Kind::Servers,
        default: None,
        show: |pool| Setting::list(&pool.servers),
        doc: "The servers that share the keys. Required. A server has a *name*: the text after its weight, \
              else `host:port` as written, else `host` alone if the port is 11211, else the path of its unix \
              socket with a colon behind it. The name, not the address, decides which keys a server holds: with explicit \
              names, a server can change its address and keep its keys. Names are unique in a pool. A host is resolved \
              whenever a connection is opened. The weight is at least 1.",
    },
    Directive {
        name: "hash",
        kind: Kind::Hash(|pool, hash| pool.hash = hash),
        default: Some("fnv1a_64"),
        show: |pool| pool.hash.name().into(),
        doc: "The hash function for keys.",
    },
    Directive {
        name: "hash_tag",
        kind: Kind::HashTag(|pool, tag| pool.hash_tag = Some(tag)),
        default: None,
        show: |pool| pool.hash_tag.map(|tag| tag.to_string()).into(),
        doc: "Two characters, as in `\"{}\"`: if a key contains both, only the part between them is hashed, so that \
              related keys are stored on the same server. Quote the value: bare braces are YAML.",
    },
    Directive {
        name: "distribution",
        kind: Kind::Distribution(|pool, distribution| pool.distribution = distribution),
        default: Some("ketama"),
        show: |pool| pool.distribution.name().into(),
        doc: "How hashed keys are spread over the servers: a ring of points (`ketama`), the remainder of a division \
              (`modula`), or a random server for each request (`random`).",
    },
    Directive {
        name: "timeout",
        kind: Kind::Milliseconds(|pool, timeout| {
            pool.timeout = (!timeout.is_zero()).then_some(timeout);
        }),
        default: None,
        show: |pool| pool.timeout.into(),
        doc: "How long a server may take to accept a connection or to answer a request. Without it, or with 0, \
              requests wait indefinitely.",
    },
    Directive {
        name: "backlog",
        kind: Kind::Number {
            min: 0,
            max: NUMBER_MAX,
            set: |pool, n| pool.backlog = n,
        },
        default: Some("512"),
        show: |pool| pool.backlog.into(),
        doc: "The length of the queue of connections that wait to be accepted (`listen(2)`).",
    },
    Directive {
        name: "client_connections",
        kind: Kind::Number {
            min: 0,
            max: NUMBER_MAX,
            set: |pool, n| pool.client_connections = (n > 0).then_some(n),
        },
        default: None,
        show: |pool| pool.client_connections.into(),
        doc: "The maximum number of clients of the pool. Without it, or with 0, only the file descriptor limit of the \
              process applies. Twemproxy reads this directive and ignores it.",
    },
    Directive {
        name: "tcpkeepalive",
        kind: Kind::Boolean(|pool, yes| pool.tcpkeepalive = yes),
        default: Some("false"),
        show: |pool| pool.tcpkeepalive.into(),
        doc: "Enables TCP keepalive on connections of clients and servers. Twemproxy enables it for clients only.",
    },
    Directive {
        name: "reuseport",
        kind: Kind::Boolean(|pool, yes| pool.reuseport = yes),
        default: Some("false"),
        show: |pool| pool.reuseport.into(),
        doc: "Lets several processes listen on the same port (`SO_REUSEPORT`).",
    },
    Directive {
        name: "redis",
        kind: Kind::Boolean(|pool, yes| pool.redis = yes),
        default: Some("false"),
        show: |pool| (pool.protocol == ProtocolKind::Redis).into(),
        doc: "The protocol of clients and servers: the Redis protocol if `true`, memcached's text protocol if `false`.",
    },
    Directive {
        name: "redis_auth",
        kind: Kind::ClientPassword(|pool, password| pool.redis_auth = Some(password)),
        default: None,
        show: |pool| Setting::secret(pool.redis_auth.as_ref().map(ClientPassword::fingerprint)),
        doc: "The password that clients must send to the proxy, and the proxy to the servers unless `server_password` says another. \
              With `server_password`, `sha256:` and the 64 hexadecimal digits of its hash (`printf %s PASSWORD | sha256sum`) will do. Only with `redis: true`.",
    },
    Directive {
        name: "server_user",
        kind: Kind::Text(|pool, text| pool.server_user = Some(text.to_owned())),
        default: None,
        show: |pool| pool.server_user.as_deref().map(str::to_owned).into(),
        doc: "The user as whom the proxy connects to the servers (`AUTH user password`, Redis 6.0). Without it that is `default`. Only \
              with `server_password`.",
    },
    Directive {
        name: "server_password",
        kind: Kind::Secret(|pool, secret| pool.server_password = Some(secret)),
        default: None,
        show: |pool| Setting::secret(pool.server_password.clone()),
        doc: "The password that the proxy sends to the servers, if it is not that of the clients, `redis_auth`. Clients then need not \
              know it, and either can be changed without the other: [security.md](security.md). Only with `redis: true`.",
    },
    Directive {
        name: "redis_db",
        kind: Kind::Number {
            min: 0,
            max: NUMBER_MAX,
            set: |pool, n| pool.redis_db = n,
        },
        default: Some("0"),
        show: |pool| pool.redis_db.into(),
        doc: "The database that a client starts with.",
    },
    Directive {
        name: "databases",
        kind: Kind::Number {
            min: 1,
            max: DATABASES_MAX,
            set: |pool, n| pool.databases = n,
        },
        default: Some("16"),
        show: |pool| pool.databases.into(),
        doc: "The number of databases that clients may `SELECT`, starting at 0; `redis_db` may be outside of this range. The \
              servers should have as many: a server that refuses a database refuses only the requests in it. A worker opens \
              connections for each database in use. Only with `redis: true`.",
    },
    Directive {
        name: "disabled_commands",
        kind: Kind::Commands(|pool, names| pool.disabled_commands = names),
        default: None,
        show: |pool| Setting::list(&pool.disabled_commands),
        doc: "Commands that clients may not use, as in `[FLUSHALL, KEYS, CONFIG SET]`: they are answered with an error that \
              names this option. The name of a command includes all its subcommands. By default all supported commands \
              are allowed, as in Redis. A script can still call them on its server: to prevent that, list EVAL, \
              EVALSHA and FCALL, and their read-only forms, too. Only with `redis: true`.",
    },
    Directive {
        name: "server_parameters",
        kind: Kind::Boolean(|pool, yes| pool.server_parameters = yes),
        default: Some("false"),
        show: |pool| pool.server_parameters.into(),
        doc: "Sends `CONFIG SET` of parameters that the proxy does not have to every server, and lets `CONFIG GET` return \
              those that have the same value on all of them. Some frameworks need it, because they set \
              `notify-keyspace-events` when they start. A server that is added or restarted has its own values. Only \
              with `redis: true`.",
    },
    Directive {
        name: "gather_sets",
        kind: Kind::Boolean(|pool, yes| pool.gather_sets = yes),
        default: Some("false"),
        show: |pool| pool.gather_sets.into(),
        doc: "Enables `SUNION`, `SINTER`, `SDIFF` and `SINTERCARD` for keys on several servers: each server computes its \
              part and the proxy combines the results. Not atomic: a concurrent write may be seen on one server and \
              not on another. The proxy holds all elements in memory until the last part has arrived. Without it such \
              requests are refused. Only with `redis: true`.",
    },
    Directive {
        name: "keyless_scripts",
        kind: Kind::Boolean(|pool, yes| pool.keyless_scripts = yes),
        default: Some("false"),
        show: |pool| pool.keyless_scripts.into(),
        doc: "Executes scripts and functions that declare no keys (`numkeys` 0) in pools with several servers, always on the \
              same server. They see and change the keys of that server only, so this suits scripts that need no \
              keys. Without it they are refused, except for scripts that cannot access any key. With one server they \
              are always executed. Only with `redis: true`.",
    },
    Directive {
        name: "preconnect",
        kind: Kind::Boolean(|pool, yes| pool.preconnect = yes),
        default: Some("false"),
        show: |pool| pool.preconnect.into(),
        doc: "Connects to the servers at start rather than at the first request.",
    },
    Directive {
        name: "auto_eject_hosts",
        kind: Kind::Boolean(|pool, yes| pool.auto_eject_hosts = yes),
        default: Some("false"),
        show: |pool| pool.auto_eject_hosts.into(),
        doc: "Removes a failing server from the pool for a while; the other servers take over its keys. Right for a cache, \
              wrong for a store.",
    },
    Directive {
        name: "server_connections",
        kind: Kind::Number {
            min: 1,
            max: 65535,
            set: |pool, n| pool.server_connections = n,
        },
        default: Some("1"),
        show: |pool| pool.server_connections.into(),
        doc: "The number of connections of each worker to each server, for each combination of protocol version and database \
              that clients use: with 1, one connection for RESP2 and database 0, and four if RESP3 and a second database are used \
              too. They are opened on first use and stay open. A client always uses the same one.",
    },
    Directive {
        name: "server_leases",
        kind: Kind::Number {
            min: 0,
            max: 65535,
            set: |pool, n| pool.server_leases = n,
        },
        default: Some("256"),
        show: |pool| pool.server_leases.into(),
        doc: "The maximum number of dedicated connections of each worker to each server, for clients that block (`BLPOP` and \
              others) or watch keys (`WATCH`). Further clients get an error. With 0 these commands are not available. Only with `redis: true`.",
    },
    Directive {
        name: "server_retry_timeout",
        kind: Kind::Milliseconds(|pool, timeout| pool.server_retry_timeout = timeout),
        default: Some("30000"),
        show: |pool| pool.server_retry_timeout.into(),
        doc: "How long an ejected server stays out of the pool. Only with `auto_eject_hosts: true`, and without probes: with \
              them (`server_probe_interval`) it stays out until it answers them.",
    },
    Directive {
        name: "server_failure_limit",
        kind: Kind::Number {
            min: 0,
            max: NUMBER_MAX,
            set: |pool, n| pool.server_failure_limit = n,
        },
        default: Some("2"),
        show: |pool| pool.server_failure_limit.into(),
        doc: "The number of consecutive failures that ejects a server. Only with `auto_eject_hosts: true`.",
    },
    Directive {
        name: "server_probe_interval",
        kind: Kind::Milliseconds(|pool, interval| pool.server_probe_interval = Some(interval)),
        default: None,
        show: |pool| pool.server_probe_interval.into(),
        doc: "The interval at which the proxy asks each server whether it works: with `PING`, or `mn` for memcached, over a \
              connection of its own that is set up as those of clients' requests. A probe fails if it is not answered within \
              `timeout`, or within a second if that is longer, or if the answer says that the server can serve nothing; \
              `server_failure_limit` of them in a row eject the server. Failures of requests are counted apart from them. An ejected \
              server returns when it has answered `server_probe_successes` probes in a row, and not by a client's request \
              as its trial. 0 is no probes.",
    },
    Directive {
        name: "server_probe_successes",
        kind: Kind::Number {
            min: 1,
            max: 1000,
            set: |pool, n| pool.server_probe_successes = n,
        },
        default: Some("2"),
        show: |pool| pool.server_probe_successes.into(),
        doc: "The number of probes in a row that an ejected server must answer before it returns. A server that is ejected \
              again within a minute after its return must answer twice as many each time, up to 32 times as many.",
    },
    Directive {
        name: "server_resolve_interval",
        kind: Kind::Milliseconds(|pool, interval| pool.server_resolve_interval = interval),
        default: Some("5000"),
        show: |pool| pool.server_resolve_interval.into(),
        doc: "The interval at which the names of servers are looked up again; they also are at once when a server cannot be \
              reached or says `READONLY`. The address in use is kept as long as it is in the answer, and after a lookup that \
              fails; otherwise the server's connections move to another one, and its keys stay. 0 looks names up only when a \
              connection is opened.",
    },
    Directive {
        name: "memory_limit",
        kind: Kind::Bytes(|pool, bytes| pool.memory_limit = Some(bytes)),
        default: None,
        show: |pool| pool.memory_limit.map(limit::show_bytes).into(),
        doc: "The limit of what the pool buffers for its clients: requests being received, queued requests and \
              transactions, replies. Near it, clients that hold more than 1 MiB are read slowly; then new requests above \
              1 MiB get an error; then the clients that hold most are closed. 0 is no limit. The default is half of the \
              memory of the machine, or of the control group if that has less; pools without this option share it.",
    },
    Directive {
        name: "pubsub_buffer_limit",
        kind: Kind::BufferLimit(|pool, limit| pool.pubsub_buffer_limit = limit),
        default: Some("32mb 8mb 60"),
        show: |pool| pool.pubsub_buffer_limit.to_string().into(),
        doc: "The limit of unread output of a subscriber, as in Redis's `client-output-buffer-limit pubsub`: it is closed \
              above the first size (hard limit), or above the second (soft limit) for longer than the number of seconds. 0 is no limit. Only \
              with `redis: true`.",
    },
    Directive {
        name: "pubsub_everywhere",
        kind: Kind::Boolean(|pool, yes| pool.pubsub_everywhere = yes),
        default: Some("false"),
        show: |pool| pool.pubsub_everywhere.into(),
        doc: "Subscribes to channels on every server, and not only on the one that the channel name hashes to. For \
              applications whose scripts, functions or transactions `PUBLISH`: that happens on the server of their \
              keys. Only with `redis: true`.",
    },
    Directive {
        name: "on_placement_change",
        kind: Kind::OnPlacementChange(|pool, rule| pool.on_placement_change = Some(rule)),
        default: None,
        show: |pool| pool.on_placement_change.map(OnPlacementChange::name).into(),
        doc: "What a reload does with a change of servers, weights, `hash`, `hash_tag` or `distribution` that makes the proxy look for keys \
              on other servers than those that have them: `refuse` keeps the old configuration and reports the share of such keys; \
              `swap` makes the change, so the keys are lost to the clients. `ringroad diff` tells the share beforehand.",
    },
    Directive {
        name: "placement_guard",
        kind: Kind::Boolean(|pool, yes| pool.placement_guard = yes),
        default: Some("false"),
        show: |pool| pool.placement_guard.into(),
        doc: "Lets `ringroad reshard` move keys between the servers of the pool while clients work. Each connection to a server is \
              named and asks for the mark that a move leaves there (`CLIENT SETNAME`, `CLIENT ID`, `HGETALL`, `INFO`), and from the first \
              move on the marks, not the file, decide where keys are looked for. All proxies of the pool need it, and the \
              same pool name. Only with `redis: true`, and not with `auto_eject_hosts` or `distribution: random`.",
    },
    Directive {
        name: "sentinels",
        kind: Kind::Sentinels,
        default: None,
        show: |pool| Setting::list(&pool.sentinels),
        doc: "The Redis Sentinels that say which server is the primary of each shard, as in `[10.0.1.1:26379, 10.0.1.2:26379]`: all of \
              those that watch it. The name of a server is then the name of the primary in Sentinel, and must be written; its \
              address is only where to begin. See [high-availability.md](high-availability.md). Only with `redis: true`, \
              and not with `auto_eject_hosts`.",
    },
    Directive {
        name: "sentinel_auth",
        kind: Kind::Secret(|pool, secret| pool.sentinel_auth = Some(secret)),
        default: None,
        show: |pool| Setting::secret(pool.sentinel_auth.clone()),
        doc: "The password of the sentinels, or a user and a password with a space between them. Only with `sentinels`.",
    },
    Directive {
        name: "replicas",
        kind: Kind::Replicas,
        default: None,
        show: |pool| Setting::list(&pool.replicas),
        doc: "The replicas of the servers, for pools without Sentinel, as in `['10.0.0.5:6379 shard1']`: an address, and the name \
              of the server whose replica it is. The proxy asks servers and replicas for their roles, and follows a \
              primary that becomes a replica. It promotes none. Only with `redis: true`, and not with `sentinels` or `auto_eject_hosts`.",
    },
    Directive {
        name: "server_failover_timeout",
        kind: Kind::Milliseconds(|pool, time| pool.server_failover_timeout = Some(time)),
        default: None,
        show: |pool| pool.server_failover_timeout.into(),
        doc: "How long requests wait for a shard that has no primary, before they get an error. 0 is not at all. Only with \
              `sentinels` or `replicas`.",
    },
    Directive {
        name: "read_from",
        kind: Kind::ReadFrom(|pool, read_from| pool.read_from = read_from),
        default: Some("primary"),
        show: |pool| pool.read_from.name().into(),
        doc: "Which servers of a shard answer what only reads: its primary, its replicas (`replica`; the primary while none of them can), \
              or any of them. A replica answers only while it is at most `replica_max_lag` behind. `replica` and `any` \
              need `sentinels` or `replicas`, and are not possible with `placement_guard`.",
    },
    Directive {
        name: "replica_max_lag",
        kind: Kind::MillisecondsFrom(REPLICA_LAG_MIN_MS, |pool, time| pool.replica_max_lag = time),
        default: Some("1000"),
        show: |pool| pool.replica_max_lag.into(),
        doc: "How far behind its primary a replica may be that answers reads.",
    },
    Directive {
        name: "read_hedge_limit",
        kind: Kind::Number {
            min: 0,
            max: 100,
            set: |pool, n| pool.read_hedge_limit = n,
        },
        default: Some("0"),
        show: |pool| pool.read_hedge_limit.into(),
        doc: "The most reads, of a hundred, that are sent to the primary too when a replica has not answered within the time of 99 of a \
              hundred replies of the quickest replica. The first reply counts. 0 is none. Only with `read_from: replica` or `any`.",
    },
    Directive {
        name: "users",
        kind: Kind::Users,
        default: None,
        show: |pool| Setting::users(&pool.users),
        doc: "The users that clients can be, as in `['alice on >secret ~cache:* +@read', 'default off']`: a name, and rules as in \
              Redis's `ACL SETUSER`, for a user who may do nothing. Quote each: a `#` behind a space begins a comment. \
              Without `default` among them, the default user has the password `redis_auth`, or none, and may do everything; with \
              it, `redis_auth` is only the password of the servers. See [users.md](users.md). Only with `redis: true`.",
    },
    Directive {
        name: "users_file",
        kind: Kind::UsersFile,
        default: None,
        show: |pool| pool.users_file.clone().into(),
        doc: "A file with the users in place of `users`, as Redis writes its `aclfile`: lines of `user`, a name and rules. A reload \
              reads it again. Only with `redis: true`.",
    },
];
