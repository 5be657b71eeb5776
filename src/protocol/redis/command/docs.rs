//! `docs/commands.md`, generated from the table.

use std::fmt::Write;

use crate::protocol::ChannelKind;
use crate::protocol::redis::command::{
    Command, Group, Keys, Local, MergeKind, Policy, ResponsePolicy, differences,
};

const HEAD: &str = "# Commands

How Ringroad handles every command of Redis. This page is generated from the command table by a test \
(`RINGROAD_BLESS=1 cargo test --test it commands`); edit the table, not the page.

The page covers every command and subcommand of Redis 7.0, and those added by Redis 7.2 to 8.8, its modules (JSON, Search, \
Bloom, TimeSeries) and Valkey 8 and 9. A command that is not listed is answered as Redis does: `unknown command`.

`Since` is the version of Redis, of the module, or of Valkey if only Valkey has the command. An older server answers \
with its own error. Arity includes the name; a negative number means *at least*. Keys are given by their \
position, the name being 0. A pool with one server supports the same commands as a pool with several.

- **Single server**: the request is forwarded to the server of its key.
- **Same server**: the request is forwarded if all its keys are stored on one server, and is refused with an error \
otherwise. A hash tag (`hash_tag` of the pool) keeps keys together. With `gather_sets: true`, `SUNION`, `SINTER`, `SDIFF` \
and `SINTERCARD` also work for keys on several servers: each server computes its part and the proxy combines the results. \
`PFCOUNT` is not among them: the estimate of a union needs the registers of all parts, not their estimates.
- **Split**: one request to each server that has some of the keys, in parallel; the replies are merged. \
Not atomic across servers.
- **All servers**: the request is sent to every server, and the replies are merged. If a server fails, is ejected or \
refuses, the reply is an error that names it; a write may have been executed by the others. Not atomic across servers. \
Each server reports what it stores: a key on a server where the proxy does not look for it (because servers were added, or \
one was ejected for a while) is counted and listed as well.
- **Proxy**: answered by the proxy; no server is involved.
- **Blocking**: same server, on a dedicated connection while it blocks; at most `server_leases` of them. Elements \
popped for a client that has disconnected are put back.
- **Blocks on all servers**: `WAIT` and `WAITAOF` are sent to all servers at once, and the minimum is returned: that many \
replicas (or disks) of *every* server have the client's writes, whichever connections they were sent on. The number may be lower \
than that of a single Redis for writes that were acknowledged long ago, but never higher. `WAIT 0 ...` waits for nothing; it is \
sent over the connections that clients share, and does not count writes of the client over dedicated ones. In a transaction only with one \
server.
- **Queued**: answered by the proxy; `EXEC` sends all commands to one server in one batch. Commands that need several \
servers cannot be queued; those that the proxy answers itself can in a pool with one server (`PING` and `ECHO` in any). Keys watched in one database or \
protocol version do not apply to a transaction in another; `WATCH` returns an error in that case.
- **Placeholder**: the command has no key and is always forwarded to the same server, that of the key `placeholder`.

Some options are refused, because they access keys that the proxy cannot determine: with several servers, `BY` and `GET` of \
`SORT` and `SORT_RO`, unless their pattern has a hash tag before any `*` (`weight_{user1}_*`) or no `*` at all (`BY nosort`, \
`GET #`); and scripts and functions with `numkeys` 0, unless the script cannot access any key (it does not \
mention `redis` or `server`, nor a way of obtaining them) or the pool has `keyless_scripts: true`: then they are executed on one \
server, always the same.

The proxy caches scripts that pass through it, up to 16 MiB for each pool (none above 1 MiB). If a server does not know a \
script, the proxy resends `EVALSHA` as `EVAL`; if the client has already sent more requests to that server, the proxy passes \
`NOSCRIPT` on and loads the script for the next time. Before a transaction with `EVALSHA` it loads the scripts that the \
transaction uses, once for each connection; if the server has flushed them since, that transaction has `NOSCRIPT` in its \
reply, and the next one loads them again. A script that itself returns exactly the error of a server that does not know it \
(by `redis.error_reply`) may be executed twice. Functions are not cached: servers persist them themselves.

Errors have Redis's texts: from the proxy if the name or the number of arguments is wrong, \
otherwise from a server. A request whose keys cannot be determined (`ZUNION x a`, `XREAD STREAMS a`) is forwarded to the \
placeholder's server, which refuses it as any server would.

`COMMAND` and its subcommands describe the supported commands, and return what Redis 7.0 returns, with these exceptions: the \
summaries of `COMMAND DOCS` are those of this page; complexities, histories and notes are left out; `ZRANK` and `ZREVRANK` \
have an arity of -3, as since Redis 7.2.
";

const PUBSUB: &str = "
A channel belongs to the server that its name hashes to, like a key; a hash tag applies. Patterns are subscribed to \
on every server, and each message is delivered once. The keyspace notification `__keyspace@0__:k` is published by the server \
of the key `k`, and `__keyevent@0__:set` by every server; `notify-keyspace-events` is set on the servers.

- A subscription is confirmed when the servers have confirmed it. Messages published after that are delivered, and \
messages published before an unsubscription is confirmed are delivered before the confirmation.
- A client need not wait for the confirmation: a message that is published once the proxy has read the `SUBSCRIBE` is delivered, \
whichever connection it is published on. `PUBLISH` waits for subscriptions to its channel that the server has not confirmed.
- Subscriptions that a client sends in a row go to the servers at once. Other requests behind them that need a server wait for \
the confirmations, because the subscriptions may apply to their effects.
- `SUBSCRIBE` with several names is all or nothing: if a server is lost or refuses, the reply is its error.
- Messages of one channel keep their order. Messages of channels on different servers may overtake each other.
- `PUBLISH`, `SPUBLISH` and `PUBSUB NUMSUB` count the clients of this process. The clients of other proxies are counted \
as the servers see them: one for each worker. Inside a transaction or a script, the same applies to the clients of this process.
- `PUBSUB NUMPAT` is the maximum over the servers, because patterns are subscribed to on every server.
- A client that receives its own messages (RESP3) may read the reply to `PUBLISH` before the message; with Redis it comes after \
the message.
- A script or function publishes on the server of its keys, whatever the channel. Give the channel their hash tag, or \
set `pubsub_everywhere`, which subscribes to channels on every server. In a transaction, the channel of `PUBLISH` counts as a key.
- A subscriber whose unread output exceeds `pubsub_buffer_limit` is closed.
- When the connection to a server is lost, all subscriptions are made again as soon as the server is back; messages \
published in the meantime are lost, as for a client of Redis that reconnects. The metric `resubscriptions` counts the \
subscriptions made again.
- Subscriptions cannot be changed inside a transaction, and `PUBSUB` cannot be used there.
";

const SERVER: &str = "
`MONITOR` shows the requests of all clients of the pool, whichever worker serves them, in Redis's format and without passwords: as \
in Redis, a monitoring client sends no requests for keys, and `RESET` and `QUIT` end it.

- A request is shown when the proxy takes it. What it refuses is not shown, nor what scripts execute; a transaction is shown \
with its `EXEC`, also one that fails because of a watched key. Of a request, 64 KiB are shown.
- Nobody waits for it, but each line costs a worker time, so others wait longer while large requests are shown. As a client of \
Redis at its output limit, one that does not keep up is closed: if its unread output exceeds \
`pubsub_buffer_limit`, or 4 MiB of requests wait for its worker. The metric `slow_subscriber_closed` counts it.
- It cannot be used inside a transaction. In an upgrade, a monitoring client is closed. \
`ringroad ctl tap` shows some of the requests, with filters.
";

/// The whole page.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    write_refused(&mut page);
    write_differences(&mut page);
    for group in Group::ALL {
        // Writing to a string cannot fail.
        let _ = write!(page, "\n## {}\n\n", group.title());
        page.push_str("| Command | Since | Arity | Keys | With several servers | Summary |\n");
        page.push_str("|---|---|---|---|---|---|\n");
        for row in rows().filter(|row| row.group == group && !is_parent(row)) {
            write_row(row, &mut page);
        }
        if group == Group::Server {
            page.push_str(SERVER);
        }
        if group == Group::PubSub {
            page.push_str(PUBSUB);
        }
    }
    page
}

fn write_row(row: &Command, page: &mut String) {
    let usage = format!("{} {}", display_name(row), row.usage);
    let _ = writeln!(
        page,
        "| `{}` | {} | {} | {} | {} | {} |",
        usage.trim_end().replace('|', "\\|"),
        row.since,
        row.arity,
        keys(row.keys),
        policy_text(row),
        row.summary,
    );
}

/// One row per reason: readers search by name, and want the reason.
fn write_refused(page: &mut String) {
    page.push_str("\n## Unsupported commands\n\n");
    page.push_str("These are answered with an error that names the command and the reason.\n\n");
    page.push_str("| Commands | Reason |\n|---|---|\n");
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for row in rows().filter(|row| !is_parent(row)) {
        let Policy::Refused(refusal) = row.policy else {
            continue;
        };
        let name = format!("`{}`", display_name(row));
        match reasons
            .iter_mut()
            .find(|(reason, _)| *reason == refusal.reason())
        {
            Some((_, names)) => names.push(name),
            None => reasons.push((refusal.reason(), vec![name])),
        }
    }
    for (reason, names) in reasons {
        let _ = writeln!(page, "| {} | {reason} |", names.join(" "));
    }
}

fn write_differences(page: &mut String) {
    page.push_str("\n## Replies that differ from Redis\n\n");
    page.push_str(
        "A test sends every command to one redis-server and to Ringroad. These replies differ:\n\n",
    );
    page.push_str("| Requests | Reason |\n|---|---|\n");
    for difference in differences::ALL {
        let requests: Vec<String> = difference
            .requests
            .iter()
            .map(|request| format!("`{request}`"))
            .collect();
        let _ = writeln!(page, "| {} | {} |", requests.join(" "), difference.why);
    }
}

fn rows() -> impl Iterator<Item = &'static Command> {
    Command::all().flat_map(|row| std::iter::once(row).chain(row.subcommands))
}

/// Returns true if it does nothing without a subcommand.
fn is_parent(row: &Command) -> bool {
    !row.subcommands.is_empty() && !row.accepts(1)
}

fn display_name(row: &Command) -> String {
    row.name.replace('|', " ")
}

fn keys(keys: Keys) -> String {
    match keys {
        Keys::None => "none".to_owned(),
        Keys::At(at) => at.to_string(),
        Keys::Range { first, last, step } => {
            let last = match last {
                -1 => "last".to_owned(),
                ..-1 => "second to last".to_owned(),
                0.. => last.to_string(),
            };
            match step {
                1 => format!("{first} to {last}"),
                2 => format!("{first} to {last}, every 2nd"),
                _ => format!("{first} to {last}, every {step}rd"),
            }
        }
        Keys::Counted { into, count, step } => {
            let into = if into { "1, and " } else { "" };
            let every = if step == 1 { "" } else { ", every 2nd" };
            format!("{into}after argument {count}, which is their number{every}")
        }
        Keys::Sort => "1, and after `STORE`".to_owned(),
        Keys::Radius { .. } => "1, and after `STORE` or `STOREDIST`".to_owned(),
        Keys::Streams => "first half of the arguments after `STREAMS`".to_owned(),
        Keys::Migrate => "3, or after `KEYS`".to_owned(),
    }
}

fn response_policy_text(policy: ResponsePolicy) -> &'static str {
    match policy {
        ResponsePolicy::AggSum => "all servers; sum",
        ResponsePolicy::AggMin => "all servers; minimum",
        ResponsePolicy::LogicalAnd => "all servers; 1 if all have it",
        ResponsePolicy::Concat => "all servers; concatenated",
        ResponsePolicy::AnyNonNil => {
            "all servers; one of their keys, each server with the same probability"
        }
        ResponsePolicy::AllSucceeded => "all servers; `OK` if all succeed",
        ResponsePolicy::AllEqual | ResponsePolicy::Script => "all servers; the common reply",
        ResponsePolicy::Libraries => "all servers; the list, if all are equal",
        ResponsePolicy::Dump => "all servers; the dump of one, if all are equal",
        ResponsePolicy::BusyOrAny => {
            "all servers, on dedicated connections; the reply of a server that is running a function, if the numbers of libraries are equal"
        }
        ResponsePolicy::OneSucceeded => {
            "all servers, on dedicated connections; `OK` if one succeeds"
        }
    }
}

fn policy_text(row: &Command) -> String {
    let text = match row.policy {
        Policy::Forward if row.single_key().is_some() => "single server",
        Policy::Forward => "same server",
        Policy::Split(MergeKind::Values) => "split; values in the order of the keys",
        Policy::Split(MergeKind::Ok) => "split; `OK` if every part succeeds",
        Policy::Split(MergeKind::Sum) => "split; sum",
        Policy::Split(_) => "split",
        Policy::AllServers(MergeKind::All(policy)) => response_policy_text(policy),
        Policy::AllServers(MergeKind::Union) => "all servers; union",
        Policy::AllServers(MergeKind::Most) => "all servers; maximum",
        Policy::AllServers(MergeKind::Subscribers(_)) => "all servers; sums",
        Policy::AllServers(_) => "all servers",
        Policy::Subscribe(ChannelKind::Pattern) => "every server",
        Policy::Subscribe(_) | Policy::Publish(_) => "the channel's server",
        Policy::Unsubscribe(_) => "the servers of the subscription",
        Policy::Scan => "one server after another; the cursor encodes the server",
        Policy::Keyless => "placeholder",
        Policy::Block => "blocking",
        Policy::WaitReplicas(_) => "blocks on all servers; minimum",
        Policy::Transaction(_) => "queued",
        Policy::Local(Local::Info) => "proxy, and all servers for the keyspace",
        Policy::Local(_) => "proxy",
        Policy::Refused(refusal) => return format!("refused: {}", refusal.reason()),
    };
    text.to_owned()
}
