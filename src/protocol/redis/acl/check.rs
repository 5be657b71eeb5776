//! Whether a user may execute a request.

use crate::protocol::redis::acl::access::{Access, RowAccess};
use crate::protocol::redis::acl::user::User;
use crate::protocol::redis::command::{Command, Keys, Policy, flags};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::{ChannelKind, KeySpan};
use crate::stats::CommandId;

/// What a user may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied<'f> {
    /// Execute the command.
    Command,
    /// Access this key.
    Key(&'f [u8]),
    /// Use this channel.
    Channel(&'f [u8]),
    /// Have `SORT` read keys that this option names by a pattern.
    SortOption(&'static str),
}

impl User {
    /// Checks a request of this row, whose first argument is the next of `args`. The contents of `keys` are lost.
    pub(crate) fn check<'f>(
        &self,
        (id, row): (CommandId, &Command),
        args: &Args<'f>,
        frame: &'f [u8],
        keys: &mut Vec<KeySpan>,
    ) -> Result<(), Denied<'f>> {
        if self.is_unrestricted() {
            return Ok(());
        }
        if !self.commands.allow(id)
            && row.flags & flags::NO_AUTH == 0
            && !self.commands.allow_with(id, args.clone().nth(1))
        {
            return Err(Denied::Command);
        }
        let access = RowAccess::at(id);
        if access.has_keys && !self.keys.are_all() {
            let access = access.refined(row, args.clone());
            let checked = self.check_keys(row, access, args, frame, keys);
            keys.clear();
            checked?;
        }
        if self.channels.are_all() {
            return Ok(());
        }
        self.check_channels(row, args.clone())
    }

    fn check_keys<'f>(
        &self,
        row: &Command,
        access: RowAccess,
        args: &Args<'f>,
        frame: &'f [u8],
        keys: &mut Vec<KeySpan>,
    ) -> Result<(), Denied<'f>> {
        // The keys of a malformed request are not looked at: the server does not, either.
        if row.collect_keys(args.clone(), keys).is_err() {
            return Ok(());
        }
        for (nth, key) in keys.iter().enumerate() {
            let key = key.key.of(frame);
            let access = if nth == 0 {
                access.first
            } else {
                access.others
            };
            if !self.keys.allow(key, access) {
                return Err(Denied::Key(key));
            }
        }
        if row.keys == Keys::Sort && !self.keys.allow_any(Access::READ) {
            return sort_options(args.clone());
        }
        Ok(())
    }

    fn check_channels<'f>(&self, row: &Command, args: Args<'f>) -> Result<(), Denied<'f>> {
        let (kind, most) = match row.policy {
            Policy::Subscribe(kind) => (kind, usize::MAX),
            Policy::Publish(kind) => (kind, 1),
            _ => return Ok(()),
        };
        let mut names = args.skip(1).take(most);
        match names.find(|name| !self.channels.allow(kind, name)) {
            Some(name) => Err(Denied::Channel(name)),
            None => Ok(()),
        }
    }

    /// Returns true if it may be subscribed to this channel.
    pub(crate) fn may_subscribe(&self, kind: ChannelKind, name: &[u8]) -> bool {
        self.channels.allow(kind, name)
    }
}

/// `SORT` reads keys that its options name by patterns, which only users of all keys may have it do.
fn sort_options(mut args: Args<'_>) -> Result<(), Denied<'static>> {
    args.nth(1);
    while let Some(option) = args.next() {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"BY") {
            if args.next().is_some_and(|pattern| pattern.contains(&b'*')) {
                return Err(Denied::SortOption("BY"));
            }
        } else if is(b"GET") {
            if args.next().is_some() {
                return Err(Denied::SortOption("GET"));
            }
        } else if is(b"LIMIT") {
            args.nth(1);
        } else if is(b"STORE") {
            args.next();
        }
    }
    Ok(())
}
