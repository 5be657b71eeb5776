//! The names that all files of rows need.

pub(crate) use crate::protocol::redis::command::Policy::{
    Block, Forward, Keyless, Local as Answer, Refused as Refuse, Scan, Split, Transaction,
    WaitReplicas,
};
pub(crate) use crate::protocol::redis::command::{
    Command, Group, Keys, Local, MergeKind, Policy, Refusal, ResponsePolicy, Verb,
};

pub(crate) const NONE: Keys = Keys::None;
pub(crate) const FIRST: Keys = Keys::At(1);

pub(crate) use crate::protocol::redis::command::flags::*;

pub(crate) const fn range(first: u8, last: i8, step: u8) -> Keys {
    Keys::Range { first, last, step }
}

pub(crate) const fn counted(count: u8) -> Keys {
    Keys::Counted {
        into: false,
        count,
        step: 1,
    }
}

pub(crate) const fn counted_into(count: u8) -> Keys {
    Keys::Counted {
        into: true,
        count,
        step: 1,
    }
}

pub(crate) const fn all(policy: ResponsePolicy) -> Policy {
    Policy::AllServers(MergeKind::All(policy))
}

pub(crate) const fn radius(options: u8) -> Keys {
    Keys::Radius { options }
}
