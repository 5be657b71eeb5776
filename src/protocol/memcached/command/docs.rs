//! The memcached half of `docs/commands.md`, written from the table.

use std::fmt::Write;

use crate::protocol::memcached::command::{AllServers, Command, Local, Meta, Policy};

const HEAD: &str = "
# Commands of memcached

What Ringroad does with the text protocol of memcached, meta commands included. This half is written from the table in \
`src/protocol/memcached/command/table.rs`. The binary protocol is refused with an error and a close.

- **To its server**: the request goes to the server of its key. A key in base64 (flag `b`) is routed by what it decodes \
to, so a value is found by either way of writing its key.
- **Split**: with several keys, one request to each server that has some of them, in parallel; the values come in the \
order of the keys.
- **Every server**: it goes to all servers of the pool, and succeeds where it does on all.
- **Proxy**: answered by the proxy; no server is asked.

What asks for silence (`noreply`, the flag `q`) is not sent to servers, since they share connections where every request \
must have its reply. The proxy keeps silent in their place: with `noreply` always, errors included; with `q` over what \
memcached 1.6 hides: `EN` of `mg`, `HD` of `ms` and `md`, `HD` and `VA` of `ma`. Errors are never hidden by `q`.

A request that servers could read otherwise than the proxy is refused: a control character NUL or CR, flags of more than \
32 bits, a time of more than 32 bits, a number with a sign `+`, more than 16 meta flags or one of them twice, \
the flag `k`, or `me`, with a key in base64 that contains a line feed. \
`ms` needs servers that know it: earlier ones take its data for commands, which the proxy cannot see beforehand. \
Keys have 1 to 250 bytes. A line has 2048 bytes at the most, that of `get` and `gets` 1 MiB.

";

/// The memcached half of the page.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| Command | Before many servers | What it does |\n|---|---|---|\n");
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
            fate(row.policy),
            row.summary,
        );
    }
    page.push_str("\nThe reply to these is an error that says why.\n\n");
    page.push_str("| Commands | Why not |\n|---|---|\n");
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

fn fate(policy: Policy) -> &'static str {
    match policy {
        Policy::Retrieve | Policy::RetrieveTouch => "split; values in the order of the keys",
        Policy::Store
        | Policy::Cas
        | Policy::Delta
        | Policy::Delete
        | Policy::Touch
        | Policy::Meta(Meta::Get | Meta::Set | Meta::Delete | Meta::Arithmetic | Meta::Debug) => {
            "to its server"
        }
        Policy::AllServers(AllServers::Version) => "every server; of those that answer",
        Policy::AllServers(_) => "every server; `OK` when all say so",
        Policy::Local(Local::Stats | Local::Quit | Local::Noop) => "proxy",
        Policy::Refused => "refused",
    }
}
