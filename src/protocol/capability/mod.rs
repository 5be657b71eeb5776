//! Optional capabilities of a protocol.
//!
//! Redis has all of them; memcached declares [`unsupported::Unsupported`], and implements nothing more.

pub(crate) mod blocking;
pub(crate) mod connections;
pub(crate) mod own_messages;
pub(crate) mod pubsub;
pub(crate) mod replica_wait;
pub(crate) mod scripts;
pub(crate) mod survey;
pub(crate) mod transactions;
pub(crate) mod unsupported;

use crate::protocol::ProtocolTypes;
use crate::protocol::capability::blocking::Blocking;
use crate::protocol::capability::connections::Connections;
use crate::protocol::capability::pubsub::PubSub;
use crate::protocol::capability::replica_wait::ReplicaWait;
use crate::protocol::capability::scripts::Scripts;
use crate::protocol::capability::survey::Surveys;
use crate::protocol::capability::transactions::Transactions;

/// All the capabilities of a protocol.
pub trait Stateful<P: ProtocolTypes>:
    Transactions<P>
    + Scripts<P>
    + Blocking<P>
    + ReplicaWait<P>
    + PubSub<P>
    + Connections<P>
    + Surveys<P>
{
}

impl<P: ProtocolTypes, T> Stateful<P> for T where
    T: Transactions<P>
        + Scripts<P>
        + Blocking<P>
        + ReplicaWait<P>
        + PubSub<P>
        + Connections<P>
        + Surveys<P>
{
}
