//! An open transaction of a client: its requests are queued here, and sent to their server in one piece.
//!
//! ```text
//! client --MULTI, a, b--> +OK, +QUEUED, +QUEUED      answered at once
//!          [MULTI a b     ]                          queued here
//! client --EXEC---------> [MULTI a b EXEC] --> server  one piece on a shared connection; only the last reply returned
//! ```
//!
//! So a client that disconnects in the middle leaves no state, and no server that accepts transactions ever receives a
//! part of one.

use std::collections::BTreeSet;
use std::mem;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::buf::{Frame, WriteBuf};
use crate::protocol::Transactions as _;
use crate::protocol::{Deferral, Protocol, ServerCommand, UpstreamError};
use crate::proxy::pool::view::PoolView;
use crate::proxy::upstream::batch::Batch;
use crate::proxy::upstream::tx_support::ProbeFailure;
use crate::proxy::worker::limits::FlowLimits;
use crate::topology::{KeyHashes, ServerId};

/// Maximum number of SHAs noted for one transaction: as many as the proxy stores scripts.
const MAX_SCRIPTS: usize = 4096;

/// A queued transaction.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// The requests, MULTI first.
    batch: WriteBuf,
    /// The length of each of them.
    lens: Vec<usize>,
    placement: Option<TxPlacement>,
    /// The requests that the proxy answers when the transaction has succeeded.
    deferred: Vec<DeferredRequest>,
    /// Bytes of those that are not sent.
    local_bytes: usize,
    /// The SHAs of scripts that its server may lack.
    refers_to: BTreeSet<Box<[u8]>>,
    /// A request removes all scripts.
    flushes_scripts: bool,
    /// A request is about all keys, so that only the server of a pool of one may get it: the reply to EXEC while keys are being
    /// moved.
    needs_one_server: Option<Bytes>,
    /// The probe whose end it waits for.
    awaits: Option<Rc<ProbeFailure>>,
    aborted: bool,
}

/// A queued request that the proxy answers.
#[derive(Debug)]
pub(crate) struct DeferredRequest {
    /// Its position among the replies.
    pub(crate) at: usize,
    pub(crate) frame: Bytes,
    pub(crate) deferral: Deferral,
}

/// The server that stores the keys of a transaction.
#[derive(Debug, Clone)]
pub(crate) struct TxPlacement {
    pub(crate) server: ServerId,
    /// The key that decided it.
    pub(crate) key: Box<[u8]>,
    /// All its keys so far.
    pub(crate) keys: KeyHashes,
    /// The changes of placement before the first of them.
    pub(crate) placement: u64,
}

impl TxPlacement {
    /// The server that stores all the keys by now; `None` if they are apart, or none is live.
    pub(crate) fn server_now<P: Protocol>(&self, view: &PoolView<P>) -> Option<ServerId> {
        if self.placement == view.placement() || view.is_random() {
            return view.index_of(self.server).map(|_| self.server);
        }
        view.id(self.keys.common_owner(&view.topology.router)?)
    }
}

impl Transaction {
    pub(crate) fn begin<P: Protocol>() -> Self {
        let mut batch = WriteBuf::new();
        P::Stateful::write_server_command(ServerCommand::Multi, batch.tail());
        let lens = vec![batch.len()];
        Self {
            batch,
            lens,
            placement: None,
            deferred: Vec::new(),
            local_bytes: 0,
            refers_to: BTreeSet::new(),
            flushes_scripts: false,
            needs_one_server: None,
            awaits: None,
            aborted: false,
        }
    }

    /// The placement of its keys; `None` before the first.
    pub(crate) fn placement(&self) -> Option<&TxPlacement> {
        self.placement.as_ref()
    }

    /// The placement of its keys, to which keys are added.
    pub(crate) fn placement_mut(&mut self) -> Option<&mut TxPlacement> {
        self.placement.as_mut()
    }

    pub(crate) fn pin_to(&mut self, placement: TxPlacement) {
        self.placement = Some(placement);
    }

    /// Appends a request. Returns true if there was room.
    pub(crate) fn push(&mut self, frame: Frame<'_>, limits: &FlowLimits) -> bool {
        let len = frame.bytes().len();
        let has_room = self.has_room(len, limits);
        // The requests of an aborted transaction are never sent.
        if has_room && !self.aborted {
            self.batch.push(frame);
            self.lens.push(len);
        }
        has_room
    }

    /// Bytes of its requests.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.batch.len() + self.local_bytes
    }

    /// Appends a request that the proxy answers. Returns true if there was room.
    pub(crate) fn defer(&mut self, frame: &[u8], deferral: Deferral, limits: &FlowLimits) -> bool {
        if !self.has_room(frame.len(), limits) {
            return false;
        }
        if !self.aborted {
            let is_local = |request: &&DeferredRequest| request.deferral == Deferral::Local;
            let locals = self.deferred.iter().filter(is_local).count();
            self.deferred.push(DeferredRequest {
                at: self.lens.len() - 1 + locals,
                frame: Bytes::copy_from_slice(frame),
                deferral,
            });
            if deferral == Deferral::Local {
                self.local_bytes += frame.len();
            } else {
                self.batch.copy(frame);
                self.lens.push(frame.len());
            }
        }
        true
    }

    fn has_room(&self, len: usize, limits: &FlowLimits) -> bool {
        self.batch.len() + self.local_bytes + len <= limits.transaction_bytes
            && self.lens.len() + self.deferred.len() <= limits.transaction_requests
    }

    /// Returns true if the proxy answers some of its requests.
    pub(crate) fn is_deferring(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Returns true if it changes the state of its connection.
    pub(crate) fn is_stateful(&self) -> bool {
        let is_stateful = |request: &DeferredRequest| request.deferral == Deferral::Stateful;
        self.deferred.iter().any(is_stateful)
    }

    /// All requests: those that are sent, and those that the proxy answers.
    pub(crate) fn requests(&self) -> Vec<Bytes> {
        let mut sent = Bytes::from(self.batch.pieces().collect::<Vec<_>>().concat());
        let lens = self.lens.iter();
        let requests = lens.map(|len| sent.split_to((*len).min(sent.len())));
        let local = self.deferred.iter();
        let local = local.filter(|request| request.deferral == Deferral::Local);
        requests
            .skip(1)
            .chain(local.map(|request| request.frame.clone()))
            .collect()
    }

    /// Takes the requests that the proxy answers.
    pub(crate) fn take_deferred(&mut self) -> Vec<DeferredRequest> {
        mem::take(&mut self.deferred)
    }

    /// Notes the SHA of a script that its server may lack.
    pub(crate) fn note_script(&mut self, sha: &[u8]) {
        if self.refers_to.len() < MAX_SCRIPTS && !self.refers_to.contains(sha) {
            self.refers_to.insert(sha.into());
        }
    }

    /// Notes a request that removes all scripts when it is executed.
    pub(crate) fn note_flush(&mut self) {
        self.flushes_scripts = true;
    }

    /// Notes a request about all keys, and the reply to EXEC while keys are being moved.
    pub(crate) fn need_one_server(&mut self, refusal: Bytes) {
        self.needs_one_server.get_or_insert(refusal);
    }

    /// The reply to EXEC while keys are being moved, if a request is about all keys.
    pub(crate) fn needs_one_server(&self) -> Option<&Bytes> {
        self.needs_one_server.as_ref()
    }

    /// Returns true if a request of it removes all scripts.
    pub(crate) fn flushes_scripts(&self) -> bool {
        self.flushes_scripts
    }

    pub(crate) fn noted_script(&self) -> &BTreeSet<Box<[u8]>> {
        &self.refers_to
    }

    /// Delays the transaction until a probe has ended.
    pub(crate) fn wait_for(&mut self, failure: Rc<ProbeFailure>) {
        self.awaits = Some(failure);
    }

    /// Does not wait for a probe any more: it is to be sent elsewhere.
    pub(crate) fn forget_probe(&mut self) {
        self.awaits = None;
    }

    /// The error of the probe that it waited for, if any: after that error it does not probe again.
    pub(crate) fn lost(&self) -> Option<UpstreamError> {
        self.awaits.as_ref()?.get().copied()
    }

    /// Aborts the transaction after an error: none of it will be executed.
    pub(crate) fn abort(&mut self) {
        self.aborted = true;
        self.batch = WriteBuf::new();
        self.lens.clear();
        self.deferred = Vec::new();
        self.local_bytes = 0;
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// Returns true if nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.lens.len() <= 1 && self.deferred.is_empty()
    }

    /// Returns all of it, EXEC included.
    pub(crate) fn close<P: Protocol>(mut self) -> Batch {
        let mut commit = BytesMut::new();
        P::Stateful::write_server_command(ServerCommand::Exec, &mut commit);
        self.batch.copy(&commit);
        self.lens.push(commit.len());
        Batch {
            bytes: self.batch,
            lens: self.lens,
        }
    }
}
