//! The memcached half of `docs/commands.md`, written from the table.

use std::fmt::Write;

use crate::protocol::memcached::command::{AllServers, Command, Local, Meta, Policy};

const HEAD: &str = "
# Commands of memcached

How Ringroad handles the text protocol of memcached, including meta commands. This half is generated from the table in \
`src/protocol/memcached/command/table.rs`. The binary protocol is refused with an error, and the connection is closed.

- **Single server**: the request is forwarded to the server of its key. A key in base64 (flag `b`) is routed by its decoded \
form, so a value is found with either form of its key.
- **Split**: with several keys, one request to each server that has some of them, in parallel; the values come in the \
order of the keys.
- **All servers**: the request is sent to all servers of the pool, and succeeds if it succeeds on all.
- **Proxy**: answered by the proxy; no server is involved.

Requests that suppress their reply (`noreply`, the flag `q`) are not sent to servers as such, because clients share \
connections on which every request must have its reply. The proxy discards the reply instead: for `noreply` always, including \
errors; for `q` the return codes that memcached 1.6 suppresses: `EN` of `mg`, `HD` of `ms` and `md`, `HD` and `VA` of `ma`. \
`q` never suppresses errors.

A request that servers could parse differently from the proxy is refused: a control character NUL or CR, flags of more than \
32 bits, an expiry time of more than 32 bits, a number with a sign `+`, more than 16 meta flags or one of them twice, \
the flag `k`, or `me`, with a key in base64 that contains a line feed. \
`ms` needs servers that support it: older ones take its data for commands, which the proxy cannot detect in advance. \
Keys have 1 to 250 bytes. A line has at most 2048 bytes, a line of `get` or `gets` at most 1 MiB.

";

/// The memcached half of the page.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| Command | With several servers | Summary |\n|---|---|---|\n");
    for row in Command::all().filter(|row| row.is_offered()) {
        let usage = format!("{} {}", row.name, row.usage);
        let since = match row.since {
            "" => String::new(),
            since => format!(" (since {since})"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {}{since} |",
            usage.trim_end(),
            policy_text(row.policy),
            row.summary,
        );
    }
    page.push_str("\nThese are answered with an error that names the reason.\n\n");
    page.push_str("| Commands | Reason |\n|---|---|\n");
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for row in Command::all().filter(|row| !row.is_offered()) {
        let name = format!("`{}`", row.name);
        match reasons
            .iter_mut()
            .find(|(reason, _)| *reason == row.summary)
        {
            Some((_, names)) => names.push(name),
            None => reasons.push((row.summary, vec![name])),
        }
    }
    for (reason, names) in reasons {
        let _ = writeln!(page, "| {} | {reason} |", names.join(" "));
    }
    page
}

fn policy_text(policy: Policy) -> &'static str {
    match policy {
        Policy::Retrieve | Policy::RetrieveTouch => "split; values in the order of the keys",
        Policy::Store
        | Policy::Cas
        | Policy::Delta
        | Policy::Delete
        | Policy::Touch
        | Policy::Meta(Meta::Get | Meta::Set | Meta::Delete | Meta::Arithmetic | Meta::Debug) => {
            "single server"
        }
        Policy::AllServers(AllServers::Version) => "all servers; of those that reply",
        Policy::AllServers(_) => "all servers; `OK` if all succeed",
        Policy::Local(Local::Stats | Local::Quit | Local::Noop) => "proxy",
        Policy::Refused => "refused",
    }
}
