//! Commands about all keys, while keys are being moved.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::buf::WriteBuf;
use crate::protocol::{ProtocolTypes, Span, UpstreamError};
use crate::stats::CommandId;
use crate::topology::{ServerIndex, Topology};

/// A command about all keys, while keys are being moved: servers are asked, perhaps again, until it is certain of each key
/// that counts to which server it belongs.
///
/// Whoever executes it asks and takes the replies with the same topology. What a server executes of that is executed before
/// any hold that the topology does not know is decided, since the worker vouches for its connections only when all is answered.
pub trait Survey: fmt::Debug {
    /// Writes the next request. Returns the servers that get it, at least one.
    fn ask(&mut self, topology: &Topology, out: &mut BytesMut) -> Vec<ServerIndex>;

    /// Takes the replies of these servers, in their order. Writes the reply to the client only if it returns `Done`.
    fn take(
        &mut self,
        topology: &Topology,
        replies: Vec<Result<Bytes, UpstreamError>>,
        out: &mut WriteBuf,
    ) -> SurveyStep;
}

/// What follows after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SurveyStep {
    /// The reply is written.
    Done,
    /// Another try.
    Again,
    /// Another try when more is known of the keys.
    Wait,
}

/// The commands about all keys, and what servers say of keys on their own.
pub trait Surveys<P: ProtocolTypes> {
    /// The survey that executes a request while keys are being moved; `None` if it needs none.
    fn survey(
        command: CommandId,
        frame: &[u8],
        client: &P::Client,
        settings: &P::Settings,
    ) -> Option<Box<dyn Survey>>;

    /// What a message is about that the server itself, or a proxy for its own use, has published; `None` if a client has.
    fn event(message: &[u8]) -> Option<KeyEvent>;
}

/// The change of a key, as a server tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyEvent {
    /// The key, in the message.
    pub key: Span,
    /// Who may have caused it.
    pub cause: EventCause,
}

/// Who may have caused a change of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventCause {
    /// A client, for certain.
    Client,
    /// Its time: that of a copy ends as that of the original.
    Expiry,
    /// A client, or a move, which writes and removes copies, and removes originals.
    ClientOrMove,
}
