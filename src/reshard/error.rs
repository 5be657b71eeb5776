//! The error of a move.

use std::io;

use crate::mover::MoverError;
use crate::text::Printable;

/// The error of a move. `server` is a name with its address.
#[derive(Debug, thiserror::Error)]
pub enum ReshardError {
    /// Nobody can be asked.
    #[error("start asks before it moves keys, and stdin is no terminal; add --yes")]
    Unconfirmed,
    /// Servers that cannot be reached.
    #[error("{}", .0.join("\nringroad: "))]
    Servers(Vec<String>),
    /// A failure of a server, or of the copies.
    #[error(transparent)]
    Mover(#[from] MoverError),
    /// A mark that cannot be read.
    #[error("{server}: its mark cannot be read: '{}'", Printable(.text))]
    Mark {
        /// The server.
        server: String,
        /// What is wrong.
        text: String,
    },
    /// No server has a mark of a move that is under way.
    #[error("no keys of pool '{0}' are being moved; 'ringroad reshard start' begins a move")]
    NoMove(String),
    /// The last move has ended.
    #[error(
        "no keys of pool '{pool}' are being moved: the last move {} ('ringroad reshard status'); 'ringroad reshard start' begins \
         another one, also the way back, with the two files exchanged",
        if *.is_done { "is done" } else { "was taken back" }
    )]
    Ended {
        /// The pool.
        pool: String,
        /// All keys have moved.
        is_done: bool,
    },
    /// Buckets are to be moved yet.
    #[error(
        "{buckets} buckets have not moved yet; 'ringroad reshard run' goes on, and cleans up at the end"
    )]
    Unfinished {
        /// How many.
        buckets: usize,
    },
    /// The marks are still needed.
    #[error("the marks stay: {}", .0.join("\nringroad: the marks stay: "))]
    NotForgotten(Vec<String>),
    /// Another coordinator is at work.
    #[error("{server}: another coordinator has taken over (term {term}); this one has stopped")]
    Superseded {
        /// The server.
        server: String,
        /// The other's term.
        term: u64,
    },
    /// Another move is under way.
    #[error(
        "{server}: another move is under way (id {id}); 'ringroad reshard status' shows it, and 'ringroad reshard run' \
         goes on with it"
    )]
    Busy {
        /// The server.
        server: String,
        /// The id of the other move.
        id: String,
    },
    /// The move was planned before another one, which has been made meanwhile.
    #[error(
        "another move (id {id}) has been made since this one was planned, and the old file is not what is in force any more; \
         nothing was changed: take the file with which that ended"
    )]
    Outdated {
        /// The id of the other move.
        id: String,
    },
    /// The mark of a server is not what this coordinator has written last.
    #[error("{server}: its mark is gone, or is that of another hold")]
    Lost {
        /// The server.
        server: String,
    },
    /// A server has been restarted.
    #[error("{server}: it has been restarted")]
    Restarted {
        /// The server.
        server: String,
    },
    /// Nobody can know whether a hold was committed.
    #[error(
        "{server}: its mark was deleted (FLUSHALL, or DEL) while a hold of {buckets} buckets was about to be committed, and \
         it has not been restarted since: proxies may have gone on with the old owner, or with the new one. Stop all proxies \
         of the pool, restart this server so that no connection of before is left, start the proxies, and run 'ringroad \
         reshard run': the copies, which were equal, then count"
    )]
    Undecidable {
        /// The source.
        server: String,
        /// The number of buckets of the hold.
        buckets: usize,
    },
    /// A connection of nobody that is known.
    #[error(
        "{server}: {client} is no connection of a guarded proxy of this pool, and could write keys that have moved; end it, \
         or add --allow with its address"
    )]
    Stranger {
        /// The server.
        server: String,
        /// The connection.
        client: String,
    },
    /// A reply that the script does not give.
    #[error("{server}: the script of the marks is answered with '{}'", Printable(.reply))]
    Reply {
        /// The server.
        server: String,
        /// The reply.
        reply: String,
    },
    /// Keys have moved, so the move cannot be taken back.
    #[error(
        "{moved} buckets have moved already, so the move cannot be aborted; finish it ('ringroad reshard run'), and move \
         back with the two files exchanged"
    )]
    Committed {
        /// How many.
        moved: usize,
    },
    /// The copies could be lost with the memory of a server.
    #[error(
        "{server}: it saves nothing (no RDB, no AOF, no replica), so the copies would be lost with its process once the \
         originals are unlinked; add --yes to accept that, or give it persistence"
    )]
    Unsafe {
        /// The destination.
        server: String,
    },
    /// A destination does not save the copies.
    #[error("{server}: it does not save the copies: {reason}")]
    Unsaved {
        /// The destination.
        server: String,
        /// Why.
        reason: String,
    },
    /// A server that is to take the place of another has keys.
    #[error(
        "{server}: it has keys, and replication would wipe them; give a server that is empty (FLUSHALL, if they may go)"
    )]
    NotEmpty {
        /// The server.
        server: String,
    },
    /// A server that is to take the place of another replicates a third one.
    #[error(
        "{server}: it is a replica of {primary}, which is not the server whose place it takes, as the old file has it; make it a primary (REPLICAOF NO ONE)"
    )]
    ForeignReplica {
        /// The server.
        server: String,
        /// The address of its primary.
        primary: String,
    },
    /// A server that is to take the place of another cannot replicate it.
    #[error(
        "{server}: it has not reached {primary} for a minute; its log says why: it must reach that address from where it runs (protected-mode, bind, masterauth), and load the keys of that version"
    )]
    NoLink {
        /// The server.
        server: String,
        /// The one that it is to replicate.
        primary: String,
    },
    /// A move that was taken back at some servers only.
    #[error(
        "pool '{0}': the move was taken back, but a server did not hear of it: 'ringroad reshard abort' once more"
    )]
    HalfAborted(String),
    /// A worker that has ended without a word: a bug.
    #[error("a thread has ended unexpectedly")]
    Thread,
    /// The report or a question.
    #[error(transparent)]
    Console(#[from] io::Error),
}

impl ReshardError {
    /// Returns true if a new term, which connects and copies again, may succeed.
    pub(super) fn may_begin_anew(&self) -> bool {
        match self {
            Self::Mover(error) => error.may_start_anew() || error.may_go_on(),
            Self::Lost { .. } | Self::Restarted { .. } | Self::Servers(_) => true,
            // It was restarted, and has not read all of its file.
            Self::Mark { text, .. } => text.starts_with("LOADING"),
            _ => false,
        }
    }
}
