//! Connections to a server as the server sees them: closed by another connection, or guarded against moves of keys.

use bytes::{Bytes, BytesMut};

use crate::protocol::{ConnProfile, ProtocolTypes};
use crate::stats::CommandId;
use crate::topology::SeenMark;

/// Has a server close a connection that the proxy has abandoned, with requests that the server may still execute.
pub trait Connections<P: ProtocolTypes> {
    /// The server can be told to.
    const CLOSES_OTHERS: bool;

    /// Writes the command that closes the connection from this address. Nothing of it is executed after the reply, unless
    /// that is an error.
    fn write_close_other(address: &str, out: &mut BytesMut);

    /// Writes what a guarded connection asks after its handshake: its name (the first of `names`), its id, the mark with
    /// the key (the second), and who the server is. Returns the number of replies.
    fn write_guard(
        profile: (&P::Settings, ConnProfile),
        names: [&str; 2],
        out: &mut BytesMut,
    ) -> usize;

    /// Writes the error of what is refused in a pool whose keys may be moved; false if it is not.
    fn write_move_refusal(refused: InMove<CommandId>, out: &mut BytesMut) -> bool;

    /// Reads the replies to that. `Err` is the reply that is wrong.
    fn read_guard(replies: &[Bytes]) -> Result<Greeting, Bytes>;

    /// Reads the reply to [`ServerCommand::Role`](crate::protocol::ServerCommand::Role): true if the server is a primary.
    fn is_primary(reply: &[u8]) -> bool;

    /// Returns true for a command that reads keys, and changes nothing.
    fn only_reads(command: CommandId) -> bool;

    /// What a server has done with a request, as far as its reply tells.
    fn effect(request: &[u8], expect: P::Expect, reply: &[u8]) -> Effect;
}

/// What a server has done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it is no primary, or does not serve yet.
    Refused,
    /// It has read keys, or looked for a script that it lacks, and changed nothing.
    Read,
    /// Something that is for no key.
    Other,
    /// It may have changed keys.
    Changed,
}

/// What may be refused in a pool whose keys may be moved.
#[derive(Debug, Clone, Copy)]
pub enum InMove<T> {
    /// A command on all servers, while keys are being moved.
    Command(T),
    /// The transaction with this command, which was queued while the pool had one server: the reply to EXEC.
    Queued(T),
    /// A command on all servers, while servers take the places of others by replication.
    WhileReplacing(T),
    /// Any request for the key of a mark.
    MarkKey,
}

impl<T> InMove<T> {
    /// The same of something else for the command.
    pub(crate) fn map<U>(self, of: impl FnOnce(T) -> U) -> InMove<U> {
        match self {
            Self::Command(command) => InMove::Command(of(command)),
            Self::Queued(command) => InMove::Queued(of(command)),
            Self::WhileReplacing(command) => InMove::WhileReplacing(of(command)),
            Self::MarkKey => InMove::MarkKey,
        }
    }
}

/// What a server says to a guarded connection.
#[derive(Debug, Clone)]
pub struct Greeting {
    /// The server's id of the connection.
    pub client_id: Bytes,
    /// The mark, and who the server is.
    pub seen: SeenMark,
}
