//! A transaction that a client has begun: its requests wait here, and go to their server in one piece.
//!
//! ```text
//! client --MULTI, a, b--> +OK, +QUEUED, +QUEUED      answered at once
//!          [MULTI a b     ]                          waits here
//! client --EXEC---------> [MULTI a b EXEC] --> server    one piece on a shared connection; only the last reply is shown
//! ```
//!
//! So a client that leaves in the middle leaves nothing behind, and no server that takes transactions ever sees a part of one.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::BytesMut;

use crate::buf::{Frame, WriteBuf};
use crate::protocol::{Fault, Phrase, Protocol};
use crate::proxy::worker::limits::FlowLimits;
use crate::topology::ServerId;

/// Names that are noted of what the server of one transaction may lack: as many as the proxy remembers scripts.
const NAMES: usize = 4096;

/// What is queued for one server.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// The requests, the one that begins the transaction first.
    block: WriteBuf,
    /// How long each of them is.
    lens: Vec<usize>,
    home: Option<Home>,
    /// The names of what its server may lack.
    refers_to: BTreeSet<Box<[u8]>>,
    /// The trial whose end it waits for.
    awaits: Option<Rc<Fate>>,
    aborted: bool,
}

/// What has become of a trial that came to nothing: none as long as it is on its way.
pub(crate) type Fate = OnceCell<Fault>;

/// Where the keys of a transaction live.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) server: ServerId,
    /// The key that decided it.
    pub(crate) key: Box<[u8]>,
    /// The epoch of the pool in which it did.
    pub(crate) epoch: u64,
}

/// The requests of a whole transaction, side by side.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) bytes: WriteBuf,
    pub(crate) lens: Vec<usize>,
}

impl Transaction {
    pub(crate) fn begin<P: Protocol>() -> Self {
        let mut block = WriteBuf::new();
        P::write_phrase(Phrase::Begin, block.tail());
        let lens = vec![block.len()];
        Self {
            block,
            lens,
            home: None,
            refers_to: BTreeSet::new(),
            awaits: None,
            aborted: false,
        }
    }

    /// Where its keys live; `None` before the first.
    pub(crate) fn home(&self) -> Option<&Home> {
        self.home.as_ref()
    }

    pub(crate) fn settle(&mut self, home: Home) {
        self.home = Some(home);
    }

    /// Puts a request behind those that wait. Returns whether there was room.
    pub(crate) fn push(&mut self, frame: Frame<'_>, limits: &FlowLimits) -> bool {
        let len = frame.bytes().len();
        let has_room = self.block.len() + len <= limits.transaction_bytes
            && self.lens.len() <= limits.transaction_requests;
        // What is aborted is only counted on: its requests are never sent.
        if has_room && !self.aborted {
            self.block.push(frame);
            self.lens.push(len);
        }
        has_room
    }

    /// Notes the name of something that its server may lack.
    pub(crate) fn refer_to(&mut self, name: &[u8]) {
        if self.refers_to.len() < NAMES && !self.refers_to.contains(name) {
            self.refers_to.insert(name.into());
        }
    }

    pub(crate) fn refers_to(&self) -> &BTreeSet<Box<[u8]>> {
        &self.refers_to
    }

    /// It cannot go before a trial has ended.
    pub(crate) fn wait_for(&mut self, fate: Rc<Fate>) {
        self.awaits = Some(fate);
    }

    /// Why the trial that it waited for came to nothing, if it did: whoever waited for that one does not ask again.
    pub(crate) fn lost(&self) -> Option<Fault> {
        self.awaits.as_ref()?.get().copied()
    }

    /// There was an error: nothing of it will be carried out.
    pub(crate) fn abort(&mut self) {
        self.aborted = true;
        self.block = WriteBuf::new();
        self.lens.clear();
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lens.len() <= 1
    }

    /// All of it, the request that carries it out included.
    pub(crate) fn close<P: Protocol>(mut self) -> Block {
        let mut commit = BytesMut::new();
        P::write_phrase(Phrase::Commit, &mut commit);
        self.block.copy(&commit);
        self.lens.push(commit.len());
        Block {
            bytes: self.block,
            lens: self.lens,
        }
    }
}
