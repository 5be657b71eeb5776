//! What can be left out of the protocol. Each is a mistake that an implementation could make.

/// A rule of the protocol that is not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Omission {
    /// A new connection is used whatever the mark says.
    Guard,
    /// A connection that nobody vouches for stays open.
    Kill,
    /// The connections are listed before the mark is written.
    MarkBeforeList,
    /// A worker vouches for connections with requests in flight.
    Drain,
    /// A connection with a timed-out request is spared, since its proxy has drained.
    KillTimedOut,
    /// A proxy vouches for all its workers when the first has drained.
    AllWorkers,
    /// A connection is named after what another worker of its proxy knows.
    OwnName,
    /// Keys that change between their first copy and the fence are not copied again.
    Sync,
    /// The last proposal wins, not the first.
    FirstProposal,
    /// A proxy lets go of a hold by its own clock.
    Obedience,
    /// Coordinators have no terms: nothing is refused, and no connection of an earlier one is killed.
    Term,
    /// The scripts check the term, but the connections of earlier coordinators stay open.
    KillCoordinators,
    /// A coordinator opens its connection to the destination again with the term that it had.
    NeverReconnect,
    /// A term that another coordinator has taken is accepted.
    TermOnce,
    /// The mark can be written with a lower hold, by any coordinator.
    Upwards,
    /// The number of a hold is one more than the last one that the mark knows, whatever the term.
    NumberFromTerm,
    /// The number of holds begins anew with each move.
    NumbersContinue,
    /// A coordinator goes on at a source that restarted, and the decision does not compare run ids.
    ///
    /// By itself that breaks the word only: who has let go is in doubt after the restart, and serves nothing.
    RunInDecision,
    /// A connection is used although the mark was written for another run id.
    RunInGreeting,
    /// A source without a mark is taken for one that was never part of a move.
    MissingIsDoubt,
    /// A lower mark than the one known is trusted, and its run id is not compared.
    LowerIsDoubt,
    /// A hold that a handshake tells is noted as known, but not read.
    NewsRead,
    /// No intents are written.
    Intent,
    /// The intent does not say which buckets it is about.
    IntentBuckets,
    /// A successor aborts what has an intent, after the source has lost the decision.
    IntentCommits,
    /// A successor commits what has no intent.
    IntentOnly,
    /// A successor guesses after a source has lost its mark without a restart.
    Ask,
    /// Intents are removed before the commit is copied.
    CopyBeforeRemoval,
    /// A successor does not ask the other marks for commits.
    Copies,
    /// A successor does not renew the mark of a restarted source.
    Renewal,
    /// Copies of commits are trusted whichever move they are from.
    MoveOfCopies,
}
