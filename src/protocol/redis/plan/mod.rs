//! Decides what becomes of a request: the command table says, this room asks it.

pub(crate) mod all_servers;
pub(crate) mod scripts;

use bytes::BytesMut;

use crate::hash::HashTag;
use crate::protocol::redis::capability::{blocking, transactions};
use crate::protocol::redis::command::{
    Command, Group, Join, Keys, KeysError, Local, Policy, SplitKind, Unfit, Verb, sort_patterns,
};
use crate::protocol::redis::local;
use crate::protocol::redis::local::{Outcome, Settings};
use crate::protocol::redis::merge::sets::plan as plan_sets;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::{Args, Form, Redis, Request, Split, error};
use crate::protocol::{Change, Home, KeySpan, Plan, Protocol, Route, Step, Topic, Whom};

/// The plan for one request. Local replies go to `out`, the keys of several to `keys`.
pub(crate) fn plan(
    request: &Request,
    frame: &[u8],
    client: &mut Client,
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<Redis> {
    if request.form == Form::Empty {
        return Plan::Nothing;
    }
    let command = match resolve(request, frame) {
        Ok(command) => command,
        // Pairs that are not complete are found when the transaction is carried out, as in Redis.
        Err(Unfit::Arity(command))
            if client.is_queueing()
                && command.fits_arity(request.argc)
                && !settings.disabled.has(command) =>
        {
            return Plan::Forward(Route::Placeholder, ());
        }
        Err(unfit) => {
            error::write_unfit(&unfit, Args::new(frame), out);
            return match unfit {
                Unfit::Arity(Command {
                    policy: Policy::Transaction(Verb::Exec),
                    ..
                }) => Plan::Transaction(Step::End),
                _ => Plan::Refused,
            };
        }
    };
    if local::must_authenticate(command, client, settings) {
        error::write_unauthenticated(command, out);
        return Plan::Refused;
    }
    if settings.disabled.has(command) {
        error::write_disabled(command, out);
        return Plan::Refused;
    }
    if client.is_confined() && !command.suits_subscribers() {
        error::write_confined(command, out);
        return Plan::Refused;
    }
    if client.is_queueing()
        && let Some(plan) = transactions::plan_queued(command, out)
    {
        return plan;
    }
    match command.policy {
        Policy::Forward => match request.key {
            Some(key) => Plan::Forward(Route::Key(key), ()),
            None => several(command, frame, settings, keys, out),
        },
        Policy::Keyless => Plan::Forward(Route::Placeholder, ()),
        Policy::Split(kind) => collect(
            command,
            frame,
            settings,
            keys,
            out,
            Plan::Split(
                Split {
                    name: command.name,
                    kind,
                },
                (),
            ),
        ),
        Policy::Attest(join) => {
            let (name, kind) = (command.name, SplitKind::All(join));
            Plan::Attest(Split { name, kind }, ())
        }
        Policy::Block => block(command, frame, settings, keys, out),
        Policy::Transaction(verb) => {
            let plan = transactions::plan(verb, client, out);
            match plan {
                Plan::Transaction(Step::Watch(())) => {
                    collect(command, frame, settings, keys, out, plan)
                }
                plan => plan,
            }
        }
        Policy::Everyone(kind) => all_servers::all(command, kind, client, settings),
        Policy::Subscribe(topic) => {
            collect_names(frame, keys);
            Plan::Subscriptions(Change::Subscribe(topic), ())
        }
        Policy::Unsubscribe(topic) => {
            collect_names(frame, keys);
            Plan::Subscriptions(Change::Unsubscribe(topic), ())
        }
        Policy::Publish(topic) => publish(command, topic, frame, client, settings),
        Policy::Scan => all_servers::scan(command, frame, client, settings, out),
        Policy::Local(Local::ClientUnblock) => unblock(command, frame, client, settings, keys, out),
        Policy::Local(which) => plan_local(which, command, frame, client, settings, out),
        Policy::Refused(_) => {
            error::write_refused(command, out);
            Plan::Refused
        }
    }
}

/// The proxy's own reply, or the question that all servers are asked for their part of it.
fn plan_local(
    which: Local,
    command: &'static Command,
    frame: &[u8],
    client: &mut Client,
    settings: &Settings,
    out: &mut BytesMut,
) -> Plan<Redis> {
    let args = Args::new(frame);
    let everyone = match which {
        Local::Info if local::info::asks_keyspace(args.clone()) => {
            Some(SplitKind::Info(client.resp()))
        }
        Local::ConfigGet if local::parameters::are_asked(args.clone(), settings) => {
            Some(SplitKind::Parameters(client.resp()))
        }
        Local::ConfigSet if local::parameters::are_set(args.clone(), settings) => {
            Some(SplitKind::All(Join::Consent))
        }
        _ => None,
    };
    if let Some(kind) = everyone {
        let name = command.name;
        return Plan::Everyone(Split { name, kind }, ());
    }
    let subscriptions = client.subscriptions().total();
    match local::answer(which, args, client, settings, out) {
        Outcome::Stay if subscriptions > client.subscriptions().total() => {
            Plan::Subscriptions(Change::Leave, ())
        }
        Outcome::Stay if which == Local::Reset => Plan::Transaction(Step::End),
        Outcome::Stay => Plan::Answered,
        Outcome::Silent => Plan::Nothing,
        Outcome::Close => Plan::AnsweredClose,
    }
}

/// The servers at which a client waits end it, and say whether they did.
fn unblock(
    command: &'static Command,
    frame: &[u8],
    client: &mut Client,
    settings: &Settings,
    parts: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<Redis> {
    match local::clients::write_unblock(Args::new(frame), settings, parts, out) {
        None => plan_local(Local::ClientUnblock, command, frame, client, settings, out),
        Some(true) => {
            let (name, kind) = (command.name, SplitKind::Most);
            Plan::Rewritten(Whom::Each, Split { name, kind }, ())
        }
        Some(false) => {
            error::write_error(
                "the server at which this client waits has no CLIENT UNBLOCK",
                out,
            );
            Plan::Refused
        }
    }
}

/// To the server of the channel. Where several clients of a worker hear it, the number that comes back is put right,
/// unless it comes as a part of the reply to a transaction.
fn publish(
    command: &'static Command,
    topic: Topic,
    frame: &[u8],
    client: &Client,
    settings: &Settings,
) -> Plan<Redis> {
    let mut args = Args::new(frame);
    args.next_span();
    let mut span = args.next_span().unwrap_or_default().key;
    let channel = span.of(frame);
    let publishing = &settings.hall.publishing;
    let uncounted = publishing.census.uncounted_receivers(topic, channel);
    match Redis::home(settings, topic, channel) {
        Home::Key(key) => span.start = span.end.saturating_sub(key.len()),
        // So it binds a transaction to no server.
        Home::Everywhere if client.is_queueing() => {
            return Plan::Forward(Route::Placeholder, ());
        }
        Home::Everywhere => {}
    }
    if uncounted == 0 || client.is_queueing() {
        return Plan::Forward(Route::Key(span), ());
    }
    let split = Split {
        name: command.name,
        kind: SplitKind::Receivers(uncounted),
    };
    Plan::Reread(Route::Key(span), split, ())
}

/// Every argument behind the command's name.
fn collect_names(frame: &[u8], names: &mut Vec<KeySpan>) {
    let mut args = Args::new(frame);
    args.next_span();
    names.extend(std::iter::from_fn(|| args.next_span()));
}

/// The plan for a command that may wait.
fn block(
    command: &'static Command,
    frame: &[u8],
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<Redis> {
    if !blocking::waits(Args::new(frame)) {
        return collect(command, frame, settings, keys, out, Plan::Together(()));
    }
    match collect(command, frame, settings, keys, out, Plan::Block(())) {
        // What is malformed for the proxy must not block others if it is not for the server.
        Plan::Forward(Route::Placeholder, ()) => {
            keys.clear();
            Plan::Block(())
        }
        plan => plan,
    }
}

/// A request whose keys may be several.
fn several(
    command: &'static Command,
    frame: &[u8],
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<Redis> {
    if command.group == Group::Scripting {
        return scripts::script(command, frame, settings, keys, out);
    }
    let sets = if settings.gathers_sets {
        plan_sets(command, Args::new(frame))
    } else {
        None
    };
    let plan = match sets {
        None => Plan::Together(()),
        Some(Ok(kind)) => {
            let name = command.name;
            Plan::Split(Split { name, kind }, ())
        }
        Some(Err(_)) => return Plan::Forward(Route::Placeholder, ()),
    };
    collect(command, frame, settings, keys, out, plan)
}

/// The row of the table. The scanner has looked the name up already; only a command with subcommands needs a walk.
fn resolve(request: &Request, frame: &[u8]) -> Result<&'static Command, Unfit> {
    match request.command {
        None => Err(Unfit::Unknown),
        Some(command) if command.subcommands.is_empty() && command.accepts(request.argc) => {
            Ok(command)
        }
        Some(_) => Command::resolve(&Args::new(frame), request.argc),
    }
}

fn collect(
    command: &'static Command,
    frame: &[u8],
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
    plan: Plan<Redis>,
) -> Plan<Redis> {
    match command.collect_keys(Args::new(frame), keys) {
        Ok(()) if command.keys == Keys::Sort && settings.servers.len() > 1 => {
            for (pattern, span) in sort_patterns(Args::new(frame)) {
                if !is_tied(pattern, settings.hash_tag) {
                    error::write_pattern(command, settings.hash_tag, out);
                    return Plan::Refused;
                }
                keys.push(span);
            }
            plan
        }
        Ok(()) => plan,
        Err(KeysError::Malformed) => Plan::Forward(Route::Placeholder, ()),
        Err(KeysError::Zero) => {
            error::write_keyless_script(command, out);
            Plan::Refused
        }
    }
}

/// Whether all keys of a pattern live on one server, whatever stands for its `*`: it has a hash tag, and a `*` neither
/// within nor before it.
fn is_tied(pattern: &[u8], hash_tag: Option<HashTag>) -> bool {
    let star = memchr::memchr(b'*', pattern).unwrap_or(pattern.len());
    let (before, _) = pattern.split_at(star);
    hash_tag.is_some_and(|tag| tag.apply(before).len() < before.len())
}
