//! `docs/admin-api.md`: the table of endpoints, their fields, and an example of each.

mod counts;
mod example;
mod observed;
mod overview;
mod users;

use std::fmt::Write as _;

use serde_json::json;

use crate::admin::api::answers::{
    ChangeKind, ChangedServer, Client, Clients, CommandUse, Differences, Fact, FactSource,
    FailedOver, Killed, KilledClient, LogLevel, Moves, Pool, PoolChange, PoolTopology, Pools,
    Refusal, RefusedCommand, Reloaded, ReplicaState, Server, ServerState, Servers, Status,
    Stopping, Topologies, TopologyServer, Unlisted, Upgraded,
};
use crate::admin::api::described::{Described as _, Field};
use crate::admin::api::endpoints::{Operation, Verb};
use crate::admin::api::reference::example::Example;
use crate::admin::api::requests::{
    ClientRef, Diff, Failover, InPool, KillClient, LevelStep, Reload, Request, ServerChange,
    ServerRef, SetLogLevel, Upgrade,
};

/// The text of `docs/admin-api.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(INTRODUCTION);
    for operation in Operation::ALL {
        let endpoint = operation.endpoint();
        row(
            &mut out,
            &[
                &format!("`{} {}`", endpoint.verb.name(), endpoint.path),
                &format!("`ringroad ctl {}`", escaped(endpoint.command)),
                endpoint.exposure.name(),
                endpoint.help,
            ],
        );
    }
    out.push_str(ERRORS);
    fields(&mut out, "The answer:", Refusal::FIELDS);
    for operation in Operation::ALL {
        section(&mut out, *operation);
    }
    out
}

const INTRODUCTION: &str = "\
# The admin API

<!-- Generated from src/admin/api/: RINGROAD_BLESS=1 cargo test --test it admin -->

`--admin PATH` opens a unix socket, over which operators ask and change the running proxy: with `ringroad ctl`
([operations.md](operations.md#ringroad-ctl)), or with any HTTP client:

```
curl -s --unix-socket /run/ringroad/ctl.sock http://proxy/status
```

The socket has the mode 0600: the user of the proxy and root may do everything, nobody else may do anything. Without
`--admin` there is none, and the stats port cannot change anything.

A GET reads and has its parameters in the query; a POST changes something (but
for `/diff`) and has them in its body, a JSON object of at most 64 KiB (`/diff`: 4 MiB). No header is required. Unknown parameters are refused. Each
connection carries one request. `POST /take-over` is for the option `--take-over` of a new process: its connection leaves HTTP. Field names stay as they are; fields may be added. Answers are one line each; the
examples below are indented.

Over TCP, the stats port offers the operations that read below `/api/`: `curl -s http://127.0.0.1:22222/api/servers`. It has
no authentication; where the table says *without keys and clients*, it leaves out keys, arguments of commands, and names
and addresses of clients, unless the proxy runs with `--show-keys`.

Requests that another site may have made in somebody's browser are refused: those whose `Host` is a name with a dot (but
for the name of the machine, that of `-a`, and those that end in `.localhost`, `.local`, `.internal` or `.home.arpa`), those with
another `Origin`, and bodies of a browser that are not `application/json`.

| request | command | on the stats port | |
|---|---|---|---|
";

const ERRORS: &str = "
## Errors

| status | meaning |
|---|---|
| 400 | the request is malformed, has a parameter that does not exist, or names a server that several pools have (`details` lists them) |
| 403 | it is not offered on the stats port, or another site may have made it |
| 404 | no such operation, pool, server or client |
| 405 | the path has another method |
| 409 | it is refused for a reason of the proxy: another reload is in progress, keys would move |
| 422 | the configuration file is invalid; `details` has every fault with its line |
";

fn section(out: &mut String, operation: Operation) {
    let endpoint = operation.endpoint();
    let example = example(operation);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\n## {} {}", endpoint.verb.name(), endpoint.path);
    if !operation.parameters().is_empty() {
        fields(out, "Parameters:", operation.parameters());
    }
    for (title, described) in example.answer {
        fields(out, title, described);
    }
    let _ = write!(
        out,
        "\n```\n$ {}\n{}\n```\n",
        curl(&example.request),
        example.json
    );
}

fn fields(out: &mut String, title: &str, fields: &[Field]) {
    let _ = write!(out, "\n{title}\n\n| field | meaning |\n|---|---|\n");
    for field in fields {
        row(out, &[&format!("`{}`", field.name), field.help]);
    }
}

fn row(out: &mut String, cells: &[&str]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

/// A bar ends a cell of a table, even in code.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The command that makes a request.
fn curl(request: &Request) -> String {
    let endpoint = request.operation().endpoint();
    let parameters = match (endpoint.verb, request.query(), request.body()) {
        (Verb::Get, query, _) if query.is_empty() => format!("http://proxy{}", endpoint.path),
        (Verb::Get, query, _) => format!("'http://proxy{}?{query}'", endpoint.path),
        (Verb::Post, _, body) if body.is_empty() => {
            format!("-X POST http://proxy{}", endpoint.path)
        }
        (Verb::Post, _, body) => format!("-d '{body}' http://proxy{}", endpoint.path),
    };
    format!("curl -s --unix-socket $RINGROAD_ADMIN {parameters}")
}

fn upgrade() -> Example {
    let request = Request::Upgrade(Upgrade {
        binary: Some("/usr/local/bin/ringroad-next".to_owned()),
    });
    let answer = Upgraded {
        old_pid: 11310,
        new_pid: 11742,
        version: "0.1.0".to_owned(),
        moved: 203,
        left: 1,
        within_seconds: 60,
    };
    Example::new(request, &answer)
}

#[expect(clippy::too_many_lines, reason = "one arm for each operation")]
fn example(operation: Operation) -> Example {
    let cache = || InPool {
        pool: Some("cache".to_owned()),
    };
    match operation {
        Operation::Status => Example::new(Request::Status, &status()),
        Operation::Overview => overview::overview(cache()),
        Operation::Events => overview::events(),
        Operation::Rings => overview::rings(cache()),
        Operation::Pools => {
            let answer = Pools {
                pools: vec![pool()],
            };
            Example::new(Request::Pools, &answer).with::<Pool>("Each of `pools`:")
        }
        Operation::Servers => {
            let answer = Servers {
                servers: vec![server()],
            };
            let request = Request::Servers(cache());
            Example::new(request, &answer)
                .with::<Server>("Each of `servers`:")
                .with::<ReplicaState>("Each of `replicas`:")
        }
        Operation::Clients => {
            let answer = Clients {
                clients: vec![client()],
                unlisted: vec![unlisted()],
            };
            let request = Request::Clients(InPool::default());
            Example::new(request, &answer)
                .with::<Client>("Each of `clients`:")
                .with::<Unlisted>("Each of `unlisted`:")
        }
        Operation::KillClient => {
            let Client {
                pool, id, address, ..
            } = client();
            let killed = vec![KilledClient { pool, id, address }];
            let request = Request::KillClient(KillClient {
                pool: None,
                client: ClientRef::Id(id),
            });
            Example::new(request, &Killed { killed }).with::<KilledClient>("Each of `killed`:")
        }
        Operation::Users => users::users_example(),
        Operation::SetUser => users::set_user_example(),
        Operation::DeleteUser => users::delete_user_example(),
        Operation::Topology => {
            let answer = Topologies {
                pools: vec![topology()],
            };
            Example::new(Request::Topology(cache()), &answer)
                .with::<PoolTopology>("Each of `pools`:")
                .with::<TopologyServer>("Each of `servers`:")
                .with::<Fact>("Each of `facts`:")
        }
        Operation::Moves => {
            // Its pool has no `placement_guard`.
            let answer = Moves::default();
            Example::new(Request::Moves(cache()), &answer)
        }
        Operation::Commands => Example::new(Request::Commands(cache()), &counts::commands())
            .with::<CommandUse>("Each of `commands`:"),
        Operation::Refusals => Example::new(Request::Refusals(cache()), &counts::refusals())
            .with::<RefusedCommand>("Each of `refusals`:"),
        Operation::HotKeys => observed::hot_keys_example(),
        Operation::BigKeys => observed::big_keys_example(),
        Operation::SlowLog => observed::slow_log_example(),
        Operation::Tap => observed::tap_example(),
        Operation::Drain => changed(ServerChange::Drain, ServerState::Drained),
        Operation::Eject => changed(ServerChange::Eject, ServerState::Ejected),
        Operation::Admit => changed(ServerChange::Admit, ServerState::Live),
        Operation::Failover => {
            let request = Request::Failover(Failover {
                server: ServerRef {
                    server: "s1".to_owned(),
                    pool: None,
                },
                to: None,
            });
            Example::new(request, &failed_over())
        }
        Operation::Reload => {
            let answer = Reloaded {
                applied: false,
                pools: vec![pool_change()],
            };
            let request = Request::Reload(Reload {
                check: true,
                swap: vec!["cache".to_owned()],
            });
            Example::new(request, &answer).with::<PoolChange>("Each of `pools`:")
        }
        Operation::Diff => {
            let request = Request::Diff(Diff {
                file: FILE.to_owned(),
                name: "next.yml".to_owned(),
            });
            Example::new(request, &differences())
        }
        Operation::LogLevel => Example::new(Request::LogLevel, &log_level(5, "info")),
        Operation::SetLogLevel => {
            let request = Request::SetLogLevel(SetLogLevel::Step(LevelStep::Up));
            Example::new(request, &log_level(6, "debug"))
        }
        Operation::Upgrade => upgrade(),
        Operation::Stop => Example::new(Request::Stop, &Stopping { within_seconds: 10 }),
    }
}

fn changed(change: ServerChange, state: ServerState) -> Example {
    let (pool, server) = ("cache".to_owned(), "s1".to_owned());
    let answer = ChangedServer {
        pool,
        server: server.clone(),
        state,
    };
    let server = ServerRef { server, pool: None };
    Example::new(Request::ChangeServer(change, server), &answer)
}

fn topology() -> PoolTopology {
    PoolTopology {
        pool: "cache".to_owned(),
        epoch: 3,
        placement: 3,
        servers: vec![TopologyServer {
            server: "s1".to_owned(),
            address: "one.example:6379".to_owned(),
            resolved: Some("10.0.0.1:6379".to_owned()),
            weight: 1,
            state: ServerState::Drained,
            primary: None,
        }],
        facts: vec![Fact {
            source: FactSource::Operator,
            server: Some("s1".to_owned()),
            text: "drained".to_owned(),
            age_seconds: 40,
        }],
    }
}

fn failed_over() -> FailedOver {
    FailedOver {
        pool: "cache".to_owned(),
        server: "s1".to_owned(),
        old: "10.0.0.1:6379".to_owned(),
        new: "10.0.0.2:6379".to_owned(),
        by: "FAILOVER".to_owned(),
        took_ms: 140,
        warnings: Vec::new(),
    }
}

fn pool_change() -> PoolChange {
    PoolChange {
        pool: "cache".to_owned(),
        change: ChangeKind::Changed,
        details: vec!["server 's5' is added".to_owned()],
        moved_share: Some(0.198),
    }
}

const FILE: &str = "\
cache:
  listen: 127.0.0.1:22121
  redis: true
  timeout: 250
  servers:
    - 10.0.0.2:6379:1 s2
    - 10.0.0.3:6379:1 s3
";

fn differences() -> Differences {
    let text = "\
pool 'cache': changed
  timeout: 400 -> 250
  server 's1': removed (10.0.0.1:6379, weight 1)
  34.9% of the keys would be looked for elsewhere:
    FROM  TO   KEYS
    s1    s2  15.7%
    s1    s3  19.3%
  reload: refused; 'on_placement_change: swap' allows it, and leaves keys that move behind
";
    let moved = |to, share| json!({"from": "s1", "to": to, "share": share});
    let changes = json!({
        "added": [],
        "removed": [],
        "changed": [{
            "name": "cache",
            "reload": "refuse",
            "settings": [{"directive": "timeout", "old": "400", "new": "250"}],
            "servers": [{
                "name": "s1",
                "change": "removed",
                "old": {"address": "10.0.0.1:6379", "weight": 1},
            }],
            "placement": {
                "on_placement_change": "refuse",
                "share": 0.349,
                "basis": "all hashes",
                "moved": [moved("s2", 0.157), moved("s3", 0.193)],
            },
        }],
        "replaced": [],
    });
    let refusal = "pool 'cache': 34.9% of the keys would be looked for elsewhere; 'on_placement_change: swap' allows it, \
                   and leaves the keys that move behind";
    Differences {
        changes,
        text: text.to_owned(),
        refusals: vec![refusal.to_owned()],
    }
}

fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        pid: 4711,
        uptime_seconds: 86_400,
        config_file: "/etc/ringroad/pool.yml".to_owned(),
        config_applied_ms: 1_795_241_940_250,
        workers: 4,
        pools: 2,
        clients: 250,
        log_level: 5,
        ..Status::default()
    }
}

fn pool() -> Pool {
    Pool {
        pool: "cache".to_owned(),
        protocol: "redis".to_owned(),
        listen: "127.0.0.1:22121".to_owned(),
        hash: "fnv1a_64".to_owned(),
        distribution: "ketama".to_owned(),
        servers: 4,
        live_servers: 4,
        clients: 200,
        requests_per_second: Some(40_000),
    }
}

fn server() -> Server {
    Server {
        pool: "cache".to_owned(),
        server: "s1".to_owned(),
        address: "10.0.0.1:6379".to_owned(),
        weight: 1,
        connections: 8,
        in_flight: 12,
        requests: 123_456_789,
        primary_by: Some("sentinel 10.0.1.1:26379".to_owned()),
        ..Server::default()
    }
}

fn client() -> Client {
    Client {
        pool: "cache".to_owned(),
        id: 7,
        address: "10.0.1.5:40312".to_owned(),
        local_address: "10.0.0.9:22121".to_owned(),
        name: "worker-3".to_owned(),
        age_seconds: 3600,
        resp: 3,
        library: "redis-py".to_owned(),
        library_version: "8.1.0".to_owned(),
        ..Client::default()
    }
}

fn unlisted() -> Unlisted {
    Unlisted {
        pool: "sessions".to_owned(),
        clients: 50,
    }
}

fn log_level(level: u8, shows: &str) -> LogLevel {
    LogLevel {
        level,
        shows: shows.to_owned(),
    }
}
