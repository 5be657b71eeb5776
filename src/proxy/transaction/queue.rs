//! A transaction that a client has begun: its requests wait here, and go to their server in one piece.
//!
//! ```text
//! client --MULTI, a, b--> +OK, +QUEUED, +QUEUED      answered at once
//!          [MULTI a b     ]                          waits here
//! client --EXEC---------> [MULTI a b EXEC] --> server    one piece on a shared connection; only the last reply is shown
//! ```
//!
//! So a client that leaves in the middle leaves nothing behind, and no server that takes transactions ever sees a part of one.

use std::collections::BTreeSet;
use std::mem;
use std::rc::Rc;

use bytes::BytesMut;

use crate::buf::{Frame, WriteBuf};
use crate::protocol::Transactions as _;
use crate::protocol::{Phrase, Protocol, ScriptOp, UpstreamError};
use crate::proxy::upstream::batch::Batch;
use crate::proxy::upstream::tx_support::ProbeFailure;
use crate::proxy::worker::limits::FlowLimits;
use crate::topology::ServerId;

/// Names that are noted of what the server of one transaction may lack: as many as the proxy remembers scripts.
const NAMES: usize = 4096;

/// What is queued for one server.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// The requests, the one that begins the transaction first.
    batch: WriteBuf,
    /// How long each of them is.
    lens: Vec<usize>,
    placement: Option<TxPlacement>,
    /// The names of what its server may lack.
    refers_to: BTreeSet<Box<[u8]>>,
    /// The requests that register or remove scripts, in their order.
    script_ops: Vec<(ScriptOp, Box<[u8]>)>,
    /// The probe whose end it waits for.
    awaits: Option<Rc<ProbeFailure>>,
    aborted: bool,
}

/// Where the keys of a transaction live.
#[derive(Debug, Clone)]
pub(crate) struct TxPlacement {
    pub(crate) server: ServerId,
    /// The key that decided it.
    pub(crate) key: Box<[u8]>,
    /// The epoch of the pool in which it did.
    pub(crate) epoch: u64,
}

impl Transaction {
    pub(crate) fn begin<P: Protocol>() -> Self {
        let mut batch = WriteBuf::new();
        P::Stateful::write_server_command(Phrase::Multi, batch.tail());
        let lens = vec![batch.len()];
        Self {
            batch,
            lens,
            placement: None,
            refers_to: BTreeSet::new(),
            script_ops: Vec::new(),
            awaits: None,
            aborted: false,
        }
    }

    /// Where its keys live; `None` before the first.
    pub(crate) fn placement(&self) -> Option<&TxPlacement> {
        self.placement.as_ref()
    }

    pub(crate) fn pin_to(&mut self, placement: TxPlacement) {
        self.placement = Some(placement);
    }

    /// Puts a request behind those that wait. Returns whether there was room.
    pub(crate) fn push(&mut self, frame: Frame<'_>, limits: &FlowLimits) -> bool {
        let len = frame.bytes().len();
        let has_room = self.batch.len() + len <= limits.transaction_bytes
            && self.lens.len() <= limits.transaction_requests;
        // What is aborted is only counted on: its requests are never sent.
        if has_room && !self.aborted {
            self.batch.push(frame);
            self.lens.push(len);
        }
        has_room
    }

    /// Notes the name of something that its server may lack.
    pub(crate) fn note_script(&mut self, name: &[u8]) {
        if self.refers_to.len() < NAMES && !self.refers_to.contains(name) {
            self.refers_to.insert(name.into());
        }
    }

    /// Notes a request that registers or removes scripts when it is executed.
    pub(crate) fn note_script_op(&mut self, op: ScriptOp, frame: &[u8]) {
        if !self.aborted {
            self.script_ops.push((op, frame.into()));
        }
    }

    /// Takes the requests that register or remove scripts.
    pub(crate) fn take_script_ops(&mut self) -> Vec<(ScriptOp, Box<[u8]>)> {
        mem::take(&mut self.script_ops)
    }

    pub(crate) fn noted_script(&self) -> &BTreeSet<Box<[u8]>> {
        &self.refers_to
    }

    /// It cannot go before a probe has ended.
    pub(crate) fn wait_for(&mut self, fate: Rc<ProbeFailure>) {
        self.awaits = Some(fate);
    }

    /// The error of the probe that it waited for, if it did: whoever waited for that one does not ask again.
    pub(crate) fn lost(&self) -> Option<UpstreamError> {
        self.awaits.as_ref()?.get().copied()
    }

    /// There was an error: nothing of it will be carried out.
    pub(crate) fn abort(&mut self) {
        self.aborted = true;
        self.batch = WriteBuf::new();
        self.lens.clear();
        self.script_ops = Vec::new();
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lens.len() <= 1
    }

    /// All of it, the request that carries it out included.
    pub(crate) fn close<P: Protocol>(mut self) -> Batch {
        let mut commit = BytesMut::new();
        P::Stateful::write_server_command(Phrase::Exec, &mut commit);
        self.batch.copy(&commit);
        self.lens.push(commit.len());
        Batch {
            bytes: self.batch,
            lens: self.lens,
        }
    }
}
