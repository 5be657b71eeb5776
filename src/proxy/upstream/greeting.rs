//! The first exchange of a guarded connection: its name, its id, the mark and the run id of its server; and of one in a pool that
//! waits for primaries: whether it is one.

use bytes::Bytes;

use crate::buf::WriteBuf;
use crate::net::Stream;
use crate::protocol::{ConnProfile, Greeting, Protocol, ServerCommand, UpstreamError};
use crate::protocol::{Connections as _, Transactions as _};
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::exchange::{read_replies, write_all};
use crate::proxy::upstream::guard::Guard;
use crate::proxy::upstream::server::Server;

/// Names a new connection, and checks that its worker knows what the mark of its server says. Returns the server's id of the
/// connection.
pub(crate) async fn greet<P: Protocol>(
    server: &Server<P>,
    guard: &Guard,
    stream: &mut Stream,
    profile: ConnProfile,
) -> Result<Bytes, Disconnect> {
    let known = guard.known();
    let name = guard.name(server.store.proxy(), &known);
    let greeting = match ask(server, guard, stream, profile, &name).await {
        // The coordinator of a hold that the worker has adopted meanwhile ends connections that nobody vouches for.
        Err(Disconnect::Error(_)) if known.hold() != guard.known().hold() => {
            return Err(Disconnect::Moving);
        }
        greeting => greeting?,
    };
    if !known.agrees_with(&greeting.seen) {
        let reading = server.store.mark_reading();
        reading.want(server.id(), &greeting.seen.run_id);
        return Err(Disconnect::Moving);
    }
    // The worker vouches for connections that it has when it adopts a hold.
    if known.hold() != guard.known().hold() {
        return Err(Disconnect::Moving);
    }
    Ok(greeting.client_id)
}

/// Names a connection over which no requests for keys go.
pub(crate) async fn name<P: Protocol>(
    server: &Server<P>,
    guard: &Guard,
    stream: &mut Stream,
    profile: ConnProfile,
) -> Result<(), Disconnect> {
    let name = guard.other_name(server.store.proxy());
    ask(server, guard, stream, profile, &name).await.map(drop)
}

/// Checks that a server is a primary.
pub(crate) async fn expect_primary<P: Protocol>(stream: &mut Stream) -> Result<(), Disconnect> {
    let mut out = WriteBuf::new();
    P::Stateful::write_server_command(ServerCommand::Role, out.tail());
    write_all(&mut out, stream).await?;
    let replies = read_replies::<P>(stream, 1).await?;
    let reply = replies.first().map(|reply| &reply[..]).unwrap_or_default();
    if P::classify(reply).is_max_clients() {
        return Err(Disconnect::Error(UpstreamError::MaxClients));
    }
    if P::Stateful::is_primary(reply) {
        Ok(())
    } else {
        Err(Disconnect::Error(UpstreamError::NoPrimary))
    }
}

async fn ask<P: Protocol>(
    server: &Server<P>,
    guard: &Guard,
    stream: &mut Stream,
    profile: ConnProfile,
    name: &str,
) -> Result<Greeting, Disconnect> {
    let mut out = WriteBuf::new();
    let names = [name, guard.mark_key()];
    let count = P::Stateful::write_guard((&server.settings, profile), names, out.tail());
    write_all(&mut out, stream).await?;
    let replies = read_replies::<P>(stream, count).await?;
    P::Stateful::read_guard(&replies).map_err(Disconnect::Refused)
}
