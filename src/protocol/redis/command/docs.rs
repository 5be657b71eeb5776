//! `docs/commands.md`, written from the table.

use std::fmt::Write;

use crate::protocol::ChannelKind;
use crate::protocol::redis::command::{
    Command, Group, Keys, Local, MergeKind, Policy, ResponsePolicy, differences,
};

const HEAD: &str = "# Commands

What Ringroad does with every command of Redis. This page is written from the command table by a test \
(`RINGROAD_BLESS=1 cargo test --test it commands`); change the table, not the page.

It has every command and subcommand of Redis 7.0, and those that Redis 7.2 to 8.8, its modules (JSON, Search, Bloom, \
TimeSeries) and Valkey 8 and 9 add. What is not here is answered as Redis answers it: `unknown command`.

`Since` is the version of Redis, of the module, or of Valkey where it alone has the command. A server that is older \
says so itself, by its own error. Arity counts the name; a negative one means *at least*. Keys are given by their \
position, the name being 0. A pool with one server offers the same commands as a pool with many.

- **To its server**: the whole request goes to the server of its key.
- **Together**: it goes through when all its keys live on one server, and is refused with an error otherwise. \
A hash tag (`hash_tag` of the pool) keeps keys together.
- **Gathered**: `SUNION`, `SINTER`, `SDIFF` and `SINTERCARD`, in a pool that says `gather_sets: true`: each server is asked \
for what its keys come to, and the proxy joins the elements. `PFCOUNT` is not among them: an estimate of a union needs \
the registers of all its parts, not their estimates.
- **Split**: one request to each server that has some of the keys, in parallel; the replies are joined. \
It is not atomic across servers.
- **Everyone**: every server is asked, and their replies are joined. Where one fails, is ejected or refuses, the reply is \
an error that names it; what changes something may have been done by the others then. It is not atomic across servers. \
A server is asked for what it has: a key that lies where the proxy does not look for it (since servers were added, or \
one was ejected for a while) is counted and listed all the same.
- **Proxy**: answered by the proxy; no server is asked.
- **Waits**: together, on a connection of its own while it waits; one more than `server_leases` is refused. What was \
taken for a client that has left goes back.
- **Waits at every server**: `WAIT` and `WAITAOF` ask all servers at once, and tell the least: so many replicas (or disks) of \
  *every* server have what the client wrote, over whichever connections. It may be less than one Redis would say of writes \
  that are long acknowledged, and never more. A transaction cannot have them.
- **Queued**: the proxy answers; with `EXEC` all goes to one server in one piece. What needs several servers, and what \
the proxy answers itself (but `PING` and `ECHO`), cannot be queued. What a client watches in one database, or in \
one version of the protocol, decides no transaction in another, and `WATCH` says so there.
- **Placeholder**: it has no key and always goes to the same server, the one of the key `placeholder`.

Some options are refused, because they read where the proxy cannot follow: `BY` and `GET` of `SORT` and `SORT_RO` before many servers, unless their pattern has a hash tag before \
any `*` (`weight_{user1}_*`) or no `*` at all (`BY nosort`, `GET #`); scripts and functions with `numkeys` 0 before several servers, unless the script cannot reach any key (it does not \
mention `redis` or `server`, nor a way of coming by them) or the pool says `keyless_scripts: true`: then they go to one \
server, always the same.

Scripts that went through the proxy are remembered, up to 16 MiB of them a pool (none above 1 MiB): where a server does \
not know one, the proxy says `EVAL` for `EVALSHA`, or, where the client has already sent more to that server, passes \
`NOSCRIPT` on and loads the script for the next time. Before a transaction with `EVALSHA` it loads the scripts that it \
names, once on a connection; if the server has forgotten them since, that transaction has the `NOSCRIPT` in its reply, and \
the next one loads them again. A script that itself answers to the letter what a server says which does not know it (by \
`redis.error_reply`) may be run twice. Functions are not \
remembered: servers persist them themselves.

What is wrong with a request is said in Redis's words: by the proxy where the name or the number of arguments is wrong, \
else by a server. A request whose keys cannot be found (`ZUNION x a`, `XREAD STREAMS a`) goes to the placeholder's \
server, which refuses it as it would anywhere.

`COMMAND` and its subcommands tell of what is offered, and say what Redis 7.0 says, with these exceptions: the summaries \
of `COMMAND DOCS` are this page's; complexities, histories and notes are left out; `ZRANK` and `ZREVRANK` have an arity \
of -3, as since Redis 7.2.
";

const PUBSUB: &str = "
A channel lives at the server that its name hashes to, as if it was a key; a hash tag counts. Patterns are subscribed to \
at every server, and each message is heard once. The keyspace notification `__keyspace@0__:k` lives where the key `k` \
does, `__keyevent@0__:set` at every server; `notify-keyspace-events` is set at the servers.

- A subscription is confirmed when the servers have confirmed it. What is published from then on is heard, and \
everything that was published before an unsubscription is confirmed comes before that.
- `SUBSCRIBE` of several names is all or nothing: where a server is lost, or refuses, the reply is its error.
- Messages of one channel keep their order. Those of channels on different servers may overtake each other.
- `PUBLISH`, `SPUBLISH` and `PUBSUB NUMSUB` count the clients of this process. The clients of other proxies are counted \
as the servers see them: as one for each worker. Inside a transaction or a script, so are those of this one.
- `PUBSUB NUMPAT` is the greatest number that a server has, since patterns are at every server.
- A client that hears what it publishes itself (RESP3) may read the reply before the message; from Redis it comes behind.
- A script or function publishes at the server of its keys, whatever the channel. Give the channel their hash tag, or \
set `pubsub_everywhere`, which subscribes to channels at every server. In a transaction, `PUBLISH` counts as a key.
- A subscriber that leaves more unread than `pubsub_buffer_limit` says is closed.
- When the connection to a server is lost, everything is subscribed to again as soon as the server is back; what was \
published meanwhile is not heard, as with a client of Redis that reconnects. The statistic `resubscriptions` counts it.
- Subscriptions cannot be changed inside a transaction, and `PUBSUB` cannot be asked there.
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
        page.push_str("| Command | Since | Arity | Keys | Before many servers | What it does |\n");
        page.push_str("|---|---|---|---|---|---|\n");
        for row in rows().filter(|row| row.group == group && !is_parent(row)) {
            write_row(row, &mut page);
        }
        if group == Group::PubSub {
            page.push_str(PUBSUB);
        }
    }
    page
}

fn write_row(row: &Command, page: &mut String) {
    let usage = format!("{} {}", spoken(row), row.usage);
    let _ = writeln!(
        page,
        "| `{}` | {} | {} | {} | {} | {} |",
        usage.trim_end().replace('|', "\\|"),
        row.since,
        row.arity,
        keys(row.keys),
        fate(row),
        row.summary,
    );
}

/// One row a reason: the names are known to who looks here, the reason is the news.
fn write_refused(page: &mut String) {
    page.push_str("\n## What is refused\n\n");
    page.push_str("The reply to these is an error that names the command and the reason.\n\n");
    page.push_str("| Commands | Why not |\n|---|---|\n");
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for row in rows().filter(|row| !is_parent(row)) {
        let Policy::Refused(refusal) = row.policy else {
            continue;
        };
        let name = format!("`{}`", spoken(row));
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
    page.push_str("\n## What is answered otherwise\n\n");
    page.push_str(
        "A test says every command to one redis-server and to Ringroad. These replies differ:\n\n",
    );
    page.push_str("| Requests | Why |\n|---|---|\n");
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

/// Whether it does nothing without a subcommand.
fn is_parent(row: &Command) -> bool {
    !row.subcommands.is_empty() && !row.accepts(1)
}

fn spoken(row: &Command) -> String {
    row.name.replace('|', " ")
}

fn keys(keys: Keys) -> String {
    match keys {
        Keys::None => "none".to_owned(),
        Keys::At(at) => at.to_string(),
        Keys::Range { first, last, step } => {
            let last = match last {
                -1 => "last".to_owned(),
                ..-1 => "last but one".to_owned(),
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
            format!("{into}as many as argument {count} says, behind it{every}")
        }
        Keys::Sort => "1, and behind `STORE`".to_owned(),
        Keys::Radius { .. } => "1, and behind `STORE` or `STOREDIST`".to_owned(),
        Keys::Streams => "first half behind `STREAMS`".to_owned(),
        Keys::Migrate => "3, or behind `KEYS`".to_owned(),
    }
}

fn joined(join: ResponsePolicy) -> &'static str {
    match join {
        ResponsePolicy::AggSum => "everyone; the sum",
        ResponsePolicy::AggMin => "everyone; the least",
        ResponsePolicy::LogicalAnd => "everyone; 1 where all have it",
        ResponsePolicy::Concat => "everyone; all that they list",
        ResponsePolicy::AnyNonNil => {
            "everyone; one of what they draw, each server as likely as the others"
        }
        ResponsePolicy::AllSucceeded => "everyone; `OK` when all say so",
        ResponsePolicy::AllEqual | ResponsePolicy::Script => "everyone; what all say alike",
        ResponsePolicy::Libraries => "everyone; the list, when all have the same",
        ResponsePolicy::Dump => "everyone; the dump of one, when all have the same",
        ResponsePolicy::BusyOrAny => {
            "everyone, on connections of its own; of one where something runs, when all have equally many"
        }
        ResponsePolicy::OneSucceeded => {
            "everyone, on connections of its own; `OK` when one says so"
        }
    }
}

fn fate(row: &Command) -> String {
    let fate = match row.policy {
        Policy::Forward if row.single_key().is_some() => "to its server",
        Policy::Forward => "together",
        Policy::Split(MergeKind::Values) => "split; values in the order of the keys",
        Policy::Split(MergeKind::Ok) => "split; `OK` when every part is",
        Policy::Split(MergeKind::Sum) => "split; the sum",
        Policy::Split(_) => "split",
        Policy::AllServers(MergeKind::All(join)) => joined(join),
        Policy::AllServers(MergeKind::Union) => "everyone; each element once",
        Policy::AllServers(MergeKind::Most) => "everyone; the greatest number",
        Policy::AllServers(MergeKind::Subscribers(_)) => "everyone; the numbers added up",
        Policy::AllServers(_) => "everyone",
        Policy::Subscribe(ChannelKind::Pattern) => "to every server",
        Policy::Subscribe(_) | Policy::Publish(_) => "to the channel's server",
        Policy::Unsubscribe(_) => "to where it is subscribed",
        Policy::Scan => "server after server, by a cursor that says which",
        Policy::Keyless => "placeholder",
        Policy::Block => "waits",
        Policy::WaitReplicas(_) => "waits at every server; the least",
        Policy::Transaction(_) => "queued",
        Policy::Local(Local::Info) => "proxy, and everyone for the keyspace",
        Policy::Local(_) => "proxy",
        Policy::Refused(refusal) => return format!("refused: {}", refusal.reason()),
    };
    fate.to_owned()
}
