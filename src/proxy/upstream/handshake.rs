//! The handshake of a new connection: the commands sent before the first request.
//!
//! Every step must be accepted; otherwise no request is sent at all, since it could reach the wrong database, or be
//! answered in another protocol version than its client's.

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::buf::WriteBuf;
use crate::net::Stream;
use crate::protocol::{ConnProfile, Protocol, ReplyKind, ServerCommand, UpstreamError};
use crate::protocol::{Connections as _, Transactions as _};
use crate::proxy::upstream::abandoned::is_busy;
use crate::proxy::upstream::conn::UpstreamConn;
use crate::proxy::upstream::disconnect::Disconnect;
use crate::proxy::upstream::exchange::{read_reply, write_all};
use crate::proxy::upstream::greeting;
use crate::proxy::upstream::io::{connect, open_by};
use crate::proxy::upstream::server::Server;
use crate::proxy::upstream::tx_support::{PROBE, ProbeReplies, ProbeResult};

/// Connects and performs the handshake, within the timeout of the front request.
pub(crate) async fn open<P: Protocol>(upstream: &UpstreamConn<P>) -> Result<Stream, Disconnect> {
    let server = &upstream.server;
    let opening = async {
        let mut stream = connect(server).await?;
        let dedicated = upstream.dedicated.as_deref();
        let is_probed = dedicated.is_none() && upstream.tx_support.is_wanted();
        let queries = HandshakeQueries {
            server_client_id: dedicated.is_some(),
            tx_support: is_probed && server.guard.is_none(),
        };
        let profile = upstream.profile;
        let mut info = handshake::<P>(&mut stream, &server.settings, profile, queries).await?;
        if let Some(guard) = server.guard.as_ref().filter(|_| is_probed) {
            // Without a name a connection that sends more than greetings is a stranger to the coordinator of a move.
            greeting::name(server, guard, &mut stream, profile).await?;
            info.probe_result = Some(probe::<P>(&mut stream).await?);
        }
        if let Some(probe_result) = info.probe_result {
            upstream.tx_support.set(&probe_result);
            match probe_result {
                ProbeResult::Refused(reply) if upstream.has_batches() => {
                    return Err(Disconnect::NoTransactions(reply));
                }
                ProbeResult::Desynced(reply) => return Err(Disconnect::NoTransactions(reply)),
                ProbeResult::Refused(_) | ProbeResult::Taken => {}
            }
        }
        let mut own_id = None;
        if let (Some(dedicated), Some(id)) = (dedicated, info.server_client_id) {
            stream
                .watch_peer()
                .map_err(|error| Disconnect::Error(UpstreamError::from(&error)))?;
            own_id = Some((dedicated, id));
        }
        close_abandoned(server, &mut stream).await?;
        if server.failover.is_some() {
            greeting::expect_primary::<P>(&mut stream).await?;
        }
        let mut guarded_id = None;
        if let Some(guard) = &server.guard {
            guarded_id = Some(greeting::greet(server, guard, &mut stream, profile).await?);
        }
        if server.greets() {
            upstream.set_greeted(guarded_id, Instant::now());
        }
        if let Some((dedicated, id)) = own_id {
            // Set once: a dedicated connection has one handshake that succeeds.
            let _ = dedicated.server_client_id.set(id);
        }
        Ok(stream)
    };
    let timeout = server.timeout.get();
    let deadline = match &server.failover {
        Some(failover) => Some(Instant::now() + failover.open_within(timeout)),
        None => timeout.map(|timeout| {
            let since = upstream.front_since().unwrap_or_else(Instant::now);
            since + timeout
        }),
    };
    open_by(deadline, opening).await
}

/// Optional queries of a handshake.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HandshakeQueries {
    /// The server's ID of the connection.
    pub(crate) server_client_id: bool,
    /// Support for transactions.
    pub(crate) tx_support: bool,
}

/// The replies to those queries.
#[derive(Debug, Default)]
pub(crate) struct HandshakeInfo {
    pub(crate) server_client_id: Option<Bytes>,
    pub(crate) probe_result: Option<ProbeResult>,
}

/// Performs the handshake of `P` over a new connection.
pub(crate) async fn handshake<P: Protocol>(
    stream: &mut Stream,
    settings: &P::Settings,
    profile: ConnProfile,
    queries: HandshakeQueries,
) -> Result<HandshakeInfo, Disconnect> {
    let mut out = WriteBuf::new();
    let expected = P::write_handshake(settings, profile, out.tail());
    if queries.server_client_id {
        P::Stateful::write_server_command(ServerCommand::ClientId, out.tail());
    }
    if queries.tx_support {
        write_probe::<P>(&mut out);
    }
    write_all(&mut out, stream).await?;
    let mut bytes = BytesMut::new();
    for _ in 0..expected {
        let (reply, kind) = read_reply::<P>(stream, &mut bytes).await?;
        match (P::classify(&reply).is_accepted(), kind) {
            (true, _) => {}
            // Clients would take it for the reply to their request.
            (false, ReplyKind::Value) => {
                return Err(Disconnect::Error(UpstreamError::BadReply));
            }
            (false, _) => return Err(Disconnect::Refused(reply)),
        }
    }
    let mut info = HandshakeInfo::default();
    if queries.server_client_id {
        let (reply, _) = read_reply::<P>(stream, &mut bytes).await?;
        if P::classify(&reply).is_max_clients() {
            return Err(Disconnect::Error(UpstreamError::MaxClients));
        }
        info.server_client_id = Some(reply);
    }
    if queries.tx_support {
        info.probe_result = Some(read_probe::<P>(stream, &mut bytes).await?);
    }
    if bytes.is_empty() {
        Ok(info)
    } else {
        Err(Disconnect::Error(UpstreamError::BadReply))
    }
}

/// Asks for the support for transactions.
async fn probe<P: Protocol>(stream: &mut Stream) -> Result<ProbeResult, Disconnect> {
    let mut out = WriteBuf::new();
    write_probe::<P>(&mut out);
    write_all(&mut out, stream).await?;
    read_probe::<P>(stream, &mut BytesMut::new()).await
}

fn write_probe<P: Protocol>(out: &mut WriteBuf) {
    for command in PROBE {
        P::Stateful::write_server_command(command, out.tail());
    }
}

async fn read_probe<P: Protocol>(
    stream: &mut Stream,
    bytes: &mut BytesMut,
) -> Result<ProbeResult, Disconnect> {
    let mut replies = ProbeReplies::default();
    loop {
        let (reply, _) = read_reply::<P>(stream, bytes).await?;
        if P::classify(&reply).is_max_clients() {
            return Err(Disconnect::Error(UpstreamError::MaxClients));
        }
        if let Some(result) = replies.note::<P>(&reply) {
            return Ok(result);
        }
    }
}

/// Has the server close the connections that were abandoned, before the first request.
async fn close_abandoned<P: Protocol>(
    server: &Server<P>,
    stream: &mut Stream,
) -> Result<(), Disconnect> {
    let abandoned = &server.shared.abandoned;
    let conns = abandoned.after(0);
    if conns.is_empty() {
        return Ok(());
    }
    let closing = async {
        let mut out = WriteBuf::new();
        for (_, address) in &conns {
            P::Stateful::write_close_other(&address.to_string(), out.tail());
        }
        write_all(&mut out, stream).await?;
        let mut bytes = BytesMut::new();
        for &(number, _) in &conns {
            let (reply, _) = read_reply::<P>(stream, &mut bytes).await?;
            let class = P::classify(&reply);
            if class.is_max_clients() {
                return Err(Disconnect::Error(UpstreamError::MaxClients));
            }
            if !is_busy(class) {
                abandoned.close(number);
            }
        }
        Ok(())
    };
    let outcome = closing.await;
    if let Err(Disconnect::Error(error)) = outcome
        && error != UpstreamError::MaxClients
    {
        // The server was restarted, or closes a connection that sends the command. A timeout does not get here.
        for &(number, _) in &conns {
            abandoned.close(number);
        }
    }
    outcome
}
