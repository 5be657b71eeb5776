//! Plans requests by the command table.

pub(crate) mod all_servers;
pub(crate) mod gate;
pub(crate) mod scripts;
pub(crate) mod sets;
pub(crate) mod transaction;

use bytes::BytesMut;

use crate::buf::SHARE_BYTES;
use crate::hash::HashTag;
use crate::protocol::redis::capability::{blocking, pubsub};
use crate::protocol::redis::command::request::{Form, Request};
use crate::protocol::redis::command::{
    Command, CommandError, Group, Keys, KeysError, Local, MergeKind, Policy, ResponsePolicy, Verb,
    flags, sort_patterns,
};
use crate::protocol::redis::error;
use crate::protocol::redis::local;
use crate::protocol::redis::local::clients::UnblockPlan;
use crate::protocol::redis::local::outcome::Outcome;
use crate::protocol::redis::merge::context::MergeSpec;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::encode;
use crate::protocol::redis::resp::error_line::ErrorAuthor;
use crate::protocol::redis::state::client::Client;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::{
    ChannelKind, KeySpan, Placement, Plan, Route, Span, SubscriptionChange, Targets, TxOp,
};
use crate::stats::RefusalReason;

/// Plans one request. Local replies go to `out`, the keys of several to `keys`.
pub(crate) fn plan(
    request: &Request,
    frame: &[u8],
    client: &mut Client,
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ErrorAuthor> {
    if request.form == Form::Empty {
        return Plan::Ignore;
    }
    let command = match resolve(request, frame) {
        Ok(command) => command,
        Err(error) => return unresolved(&error, request, frame, client, settings, keys, out),
    };
    if client.is_gated()
        && let Some(reason) = gate::refusal((request, command), frame, client, settings, keys, out)
    {
        return denied(reason, command);
    }
    if settings.disabled.has(command) {
        error::write_disabled(command, out);
        return Plan::Error(RefusalReason::Disabled);
    }
    if client.is_restricted()
        && let Some(reason) = restriction(command, client, out)
    {
        return Plan::Error(reason);
    }
    if client.in_multi()
        && let Some(plan) = transaction::plan_queued(command, frame, settings, out)
    {
        return plan;
    }
    match command.policy {
        Policy::Forward => match request.key {
            Some(key) => Plan::Forward(Route::Key(key), ErrorAuthor::Server),
            None => several(command, frame, settings, keys, out),
        },
        Policy::Keyless => Plan::Forward(Route::Placeholder, ErrorAuthor::Server),
        Policy::Split(kind) => collect(
            command,
            frame,
            settings,
            keys,
            out,
            Plan::MultiShard(
                MergeSpec {
                    name: command.name,
                    kind,
                },
                ErrorAuthor::Server,
            ),
        ),
        Policy::WaitReplicas(policy) => {
            let (name, kind) = (command.name, MergeKind::All(policy));
            let spec = MergeSpec { name, kind };
            if waits_for_none(Args::new(frame)) {
                Plan::AllServers(spec, ErrorAuthor::Server)
            } else {
                Plan::WaitReplicas(spec, ErrorAuthor::Server)
            }
        }
        Policy::Block => block(command, frame, settings, keys, out),
        Policy::Transaction(verb) => {
            let plan = transaction::plan(verb, client, out);
            match plan {
                Plan::Transaction(TxOp::Watch(_)) => {
                    collect(command, frame, settings, keys, out, plan)
                }
                plan => plan,
            }
        }
        Policy::AllServers(kind) => all_servers::all(command, kind, (frame, client), settings, out),
        Policy::Subscribe(kind) => {
            collect_names(frame, keys);
            Plan::PubSub(SubscriptionChange::Subscribe(kind), ErrorAuthor::Server)
        }
        Policy::Unsubscribe(kind) => {
            collect_names(frame, keys);
            Plan::PubSub(SubscriptionChange::Unsubscribe(kind), ErrorAuthor::Server)
        }
        Policy::Publish(kind) => publish(command, kind, frame, client, settings),
        Policy::Scan => all_servers::scan(command, frame, client, settings, out),
        Policy::Local(Local::ClientUnblock) => unblock(command, frame, client, settings, out),
        Policy::Local(which) => plan_local(which, command, frame, client, settings, out),
        Policy::Refused(_) => {
            error::write_refused(command, out);
            Plan::Error(RefusalReason::Unsupported)
        }
    }
}

/// The plan for a request that no row fits.
#[cold]
fn unresolved(
    error: &CommandError,
    request: &Request,
    frame: &[u8],
    client: &Client,
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ErrorAuthor> {
    if let CommandError::Arity(command) = *error
        && command.fits_arity(request.argc)
    {
        // Incomplete pairs are detected when the request is executed, as in Redis.
        if client.is_gated()
            && let Some(reason) =
                gate::refusal((request, command), frame, client, settings, keys, out)
        {
            return Plan::Error(reason);
        }
        if client.in_multi() && !settings.disabled.has(command) {
            return Plan::Forward(Route::Placeholder, ErrorAuthor::Server);
        }
    }
    error::write_command_error(error, Args::new(frame), out);
    match error {
        CommandError::Arity(Command {
            policy: Policy::Transaction(Verb::Exec),
            ..
        }) => Plan::Transaction(TxOp::Discard),
        CommandError::Unknown => Plan::Error(RefusalReason::UnknownCommand),
        CommandError::UnknownSubcommand(_) => Plan::Error(RefusalReason::UnknownSubcommand),
        CommandError::Arity(_) => Plan::Error(RefusalReason::Arguments),
    }
}

/// The plan for a request that the client may not execute.
#[cold]
fn denied(reason: RefusalReason, command: &Command) -> Plan<MergeSpec, ErrorAuthor> {
    let is_exec = command.policy == Policy::Transaction(Verb::Exec);
    if is_exec && reason == RefusalReason::Denied {
        return Plan::Transaction(TxOp::Discard);
    }
    Plan::Error(reason)
}

/// The commands that a script or a message may make writes of: Redis's flag `may_replicate`.
const MAY_REPLICATE: [&str; 5] = ["EVAL", "EVALSHA", "FCALL", "PUBLISH", "SPUBLISH"];

/// Refuses what a subscriber, or a monitoring client, may not do.
#[cold]
fn restriction(command: &Command, client: &Client, out: &mut BytesMut) -> Option<RefusalReason> {
    if client.in_subscriber_mode() && !command.suits_subscribers() {
        error::write_in_subscriber_mode(command, out);
        return Some(RefusalReason::SubscriberMode);
    }
    let touches_keys =
        command.flags & (flags::READ | flags::WRITE) != 0 || MAY_REPLICATE.contains(&command.name);
    if client.is_monitor() && touches_keys {
        error::write_monitor(out);
        return Some(RefusalReason::SubscriberMode);
    }
    None
}

/// Plans the proxy's own reply, or the request for the parts of all servers.
fn plan_local(
    which: Local,
    command: &'static Command,
    frame: &[u8],
    client: &mut Client,
    settings: &Settings,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ErrorAuthor> {
    if which == Local::Monitor && client.is_monitor() {
        // As in Redis, there is no reply to a second one.
        return Plan::Ignore;
    }
    let args = Args::new(frame);
    let fan_out = match which {
        Local::Info if local::info::wants_keyspace(args.clone()) => {
            Some(MergeKind::Info(client.resp()))
        }
        Local::ConfigGet if local::parameters::reach_servers(args.clone(), settings) => {
            Some(MergeKind::Parameters(client.resp()))
        }
        Local::ConfigSet if local::parameters::are_set(args.clone(), settings) => {
            Some(MergeKind::All(ResponsePolicy::AllSucceeded))
        }
        _ => None,
    };
    if let Some(kind) = fan_out {
        let name = command.name;
        return Plan::AllServers(MergeSpec { name, kind }, ErrorAuthor::Server);
    }
    if frame.len() >= SHARE_BYTES
        && let Some(text) = echoed(which, Args::new(frame))
        && !client.in_subscriber_mode()
    {
        return Plan::ReplyPart(text);
    }
    let subscriptions = client.subscriptions().total();
    match local::answer(which, args, client, settings, out) {
        Outcome::Stay if subscriptions > client.subscriptions().total() => {
            Plan::PubSub(SubscriptionChange::Leave, ErrorAuthor::Server)
        }
        Outcome::Stay if which == Local::Reset => Plan::Transaction(TxOp::Discard),
        Outcome::Stay if which == Local::Monitor => Plan::Monitor,
        Outcome::Stay => Plan::Reply,
        Outcome::Silent => Plan::Ignore,
        Outcome::Close => Plan::ReplyAndClose,
    }
}

/// The argument that is the whole reply: as it is encoded in the request.
fn echoed(which: Local, mut args: Args<'_>) -> Option<Span> {
    args.next_span();
    let text = args.next_span()?;
    let is_reply = matches!(which, Local::Echo | Local::Ping) && args.next_span().is_none();
    is_reply.then_some(text.unit)
}

/// Plans `CLIENT UNBLOCK`: the servers on which a client is blocked unblock it, and return whether they did.
fn unblock(
    command: &'static Command,
    frame: &[u8],
    client: &mut Client,
    settings: &Settings,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ErrorAuthor> {
    match local::clients::write_unblock(Args::new(frame), settings, out) {
        UnblockPlan::NotBlocked => {
            plan_local(Local::ClientUnblock, command, frame, client, settings, out)
        }
        UnblockPlan::Unblocked => {
            encode::write_integer(1, out);
            Plan::Reply
        }
        UnblockPlan::PerServer(parts) => {
            let (name, kind) = (command.name, MergeKind::Most);
            Plan::Rewrite(
                Targets::PerServer(parts),
                MergeSpec { name, kind },
                ErrorAuthor::Server,
            )
        }
        UnblockPlan::Unsupported => {
            error::write_error(
                "the server that blocks this client does not support CLIENT UNBLOCK",
                out,
            );
            Plan::Error(RefusalReason::UnsupportedUse)
        }
    }
}

/// Plans a publish: to the server of the channel. If several clients of a worker are subscribed, the number in the
/// reply is corrected, unless it is part of the reply to a transaction.
fn publish(
    command: &'static Command,
    kind: ChannelKind,
    frame: &[u8],
    client: &Client,
    settings: &Settings,
) -> Plan<MergeSpec, ErrorAuthor> {
    let mut args = Args::new(frame);
    args.next_span();
    let mut span = args.next_span().unwrap_or_default().key;
    let channel = span.of(frame);
    if client.in_multi() {
        return match pubsub::placement(settings, kind, channel) {
            Placement::Key(key) => {
                span.start = span.end.saturating_sub(key.len());
                Plan::Forward(Route::Key(span), ErrorAuthor::Server)
            }
            // It does not pin the transaction to a server.
            Placement::Everywhere => Plan::Forward(Route::Placeholder, ErrorAuthor::Server),
        };
    }
    let pubsub_stats = &settings.shared.pubsub_stats;
    let uncounted = pubsub_stats
        .local_subscribers
        .uncounted_receivers(kind, channel);
    let split = (uncounted > 0).then_some(MergeSpec {
        name: command.name,
        kind: MergeKind::Receivers(uncounted),
    });
    Plan::Publish(kind, span, split, ErrorAuthor::Server)
}

/// Returns true if `WAIT` or `WAITAOF` waits for zero replicas, and AOFs: then servers reply at once.
fn waits_for_none(args: Args<'_>) -> bool {
    let counts: Vec<&[u8]> = args.skip(1).collect();
    let counts = counts.split_last().map_or(&[][..], |(_, counts)| counts);
    !counts.is_empty() && counts.iter().all(|count| *count == b"0")
}

/// Collects all arguments after the command's name.
fn collect_names(frame: &[u8], names: &mut Vec<KeySpan>) {
    let mut args = Args::new(frame);
    args.next_span();
    names.extend(std::iter::from_fn(|| args.next_span()));
}

/// Plans a command that may block.
fn block(
    command: &'static Command,
    frame: &[u8],
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ErrorAuthor> {
    if !blocking::waits(Args::new(frame)) {
        return collect(
            command,
            frame,
            settings,
            keys,
            out,
            Plan::ForwardSameServer(ErrorAuthor::Server),
        );
    }
    match collect(
        command,
        frame,
        settings,
        keys,
        out,
        Plan::Blocking(ErrorAuthor::Server),
    ) {
        // A request that is malformed only for the proxy must not block others on a shared connection.
        Plan::Forward(Route::Placeholder, _) => {
            keys.clear();
            Plan::Blocking(ErrorAuthor::Server)
        }
        plan => plan,
    }
}

/// Plans a request that may have several keys.
fn several(
    command: &'static Command,
    frame: &[u8],
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ErrorAuthor> {
    if command.group == Group::Scripting {
        return scripts::script(command, frame, settings, keys, out);
    }
    let sets = if settings.gathers_sets {
        sets::plan(command, Args::new(frame))
    } else {
        None
    };
    let plan = match sets {
        None => Plan::ForwardSameServer(ErrorAuthor::Server),
        Some(Ok(kind)) => {
            let name = command.name;
            Plan::MultiShard(MergeSpec { name, kind }, ErrorAuthor::Server)
        }
        Some(Err(_)) => return Plan::Forward(Route::Placeholder, ErrorAuthor::Server),
    };
    collect(command, frame, settings, keys, out, plan)
}

/// The row of the table. The scanner has looked up the name already; only subcommands need another lookup.
fn resolve(request: &Request, frame: &[u8]) -> Result<&'static Command, CommandError> {
    match request.command {
        None => Err(CommandError::Unknown),
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
    plan: Plan<MergeSpec, ErrorAuthor>,
) -> Plan<MergeSpec, ErrorAuthor> {
    match command.collect_keys(Args::new(frame), keys) {
        Ok(()) if command.keys == Keys::Sort && settings.servers.len() > 1 => {
            for (pattern, span) in sort_patterns(Args::new(frame)) {
                if !is_tied(pattern, settings.hash_tag) {
                    error::write_pattern(command, settings.hash_tag, out);
                    return Plan::Error(RefusalReason::UnsupportedUse);
                }
                keys.push(span);
            }
            plan
        }
        Ok(()) => plan,
        Err(KeysError::Malformed) => Plan::Forward(Route::Placeholder, ErrorAuthor::Server),
        Err(KeysError::Zero) => {
            error::write_keyless_script(command, out);
            Plan::Error(RefusalReason::UnsupportedUse)
        }
    }
}

/// Returns true if all keys of a pattern are stored on one server, whatever its `*` stands for: it has a hash tag, and
/// a `*` neither within nor before it.
fn is_tied(pattern: &[u8], hash_tag: Option<HashTag>) -> bool {
    let star = memchr::memchr(b'*', pattern).unwrap_or(pattern.len());
    let (before, _) = pattern.split_at(star);
    hash_tag.is_some_and(|tag| tag.apply(before).len() < before.len())
}
