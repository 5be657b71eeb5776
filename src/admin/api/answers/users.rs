//! The answers about the users of pools.

use crate::admin::api::described::described;

described! {
    /// The users of the Redis pools.
    pub struct Users {
        /// The users, by pool and name.
        users: Vec<User>,
    }

    /// A user.
    pub struct User {
        /// Name of the pool.
        pool: String,
        /// Name of the user.
        user: String,
        /// True if clients can be this user.
        enabled: bool,
        /// True if any password is right.
        nopass: bool,
        /// The number of its passwords, which are not shown.
        passwords: usize,
        /// Rules for keys.
        keys: String,
        /// Rules for channels.
        channels: String,
        /// Rules for commands.
        commands: String,
        /// The number of clients that are this user.
        clients: usize,
    }

    /// A user that was deleted.
    pub struct DeletedUser {
        /// Name of the pool.
        pool: String,
        /// Name of the user.
        user: String,
        /// The number of clients that were this user, and are disconnected.
        clients: usize,
    }
}
