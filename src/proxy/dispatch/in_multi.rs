//! The requests of a client in MULTI, and those that the plan refuses.

use std::mem;

use tokio::time::Instant;

use crate::buf::Frame;
use crate::protocol::PoolObserver as _;
use crate::protocol::{KeySpan, Plan, PlanOf, Protocol, ProxyReply, Route};
use crate::proxy::dispatch::Dispatcher;
use crate::proxy::forward::Dispatched;
use crate::proxy::worker::plan_buffers::PlanBuffers;
use crate::stats::{CommandId, RefusalReason};

impl<P: Protocol> Dispatcher<P> {
    /// Queues a request of a client in MULTI, or executes what is not queued.
    #[cold]
    pub(super) fn execute_in_multi(
        &mut self,
        plan: &PlanOf<P>,
        request: &P::Request,
        frame: Frame<'_>,
        buffers: &mut PlanBuffers,
        now: Instant,
    ) -> Dispatched<P> {
        let tx = &mut self.pinned.get_or_insert_default().tx;
        let fw = &mut self.forwarder;
        let command = P::command(request, frame.bytes());
        fw.command.set(command);
        match *plan {
            Plan::Ignore
            | Plan::Reply
            | Plan::ReplyPart(_)
            | Plan::ReplyAndClose
            | Plan::Monitor
            | Plan::Transaction(_) => {}
            Plan::Error(_) => tx.abort(),
            Plan::Forward(Route::Placeholder, _) => {
                tx.note_keyless(command);
                return tx.queue(fw, &[], frame, buffers);
            }
            Plan::Forward(Route::Key(key), _) => {
                let key = KeySpan { key, unit: key };
                return tx.queue(fw, &[key], frame, buffers);
            }
            Plan::ForwardSameServer(_)
            | Plan::ForwardScript(..)
            | Plan::MultiShard(..)
            | Plan::Blocking(_) => {
                if let Plan::ForwardScript(op, _) = *plan {
                    tx.note_script(fw, op, frame.bytes());
                }
                let keys = mem::take(&mut buffers.keys);
                let next = tx.queue(fw, &keys, frame, buffers);
                buffers.keys = keys;
                return next;
            }
            Plan::Deferred(deferral) => return tx.defer(fw, deferral, &frame, buffers),
            Plan::PubSub(..) => drop(tx.forget_transaction(fw)),
            Plan::Forward(Route::Decoded, _)
            | Plan::ForwardInstead { .. }
            | Plan::AllServers(..)
            | Plan::Survey(_)
            | Plan::ScriptFlush(..)
            | Plan::Rewrite(..)
            | Plan::Publish(..)
            | Plan::WaitReplicas(..) => return tx.refuse(fw, ProxyReply::Elsewhere, buffers),
        }
        self.execute(plan, request, frame, buffers, now)
    }

    /// Replies to a request that the plan refuses.
    #[cold]
    pub(super) fn refuse(
        &self,
        reason: RefusalReason,
        request: &P::Request,
        frame: &Frame<'_>,
        buffers: &PlanBuffers,
    ) -> Dispatched<P> {
        let mut name = Vec::new();
        if let RefusalReason::UnknownCommand | RefusalReason::UnknownSubcommand = reason {
            P::Observer::write_unknown_name(request, frame.bytes(), &mut name);
            self.forwarder.command.set(CommandId::NONE);
        }
        self.forwarder.refuse_named(&name, &buffers.reply, reason)
    }
}
