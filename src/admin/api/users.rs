//! What operators ask and change of the users of pools.

use super::answer::Answer;
use super::answers::{DeletedUser, User, Users};
use super::requests::{DeleteUser, SetUser};

/// The part of [`super::Control`] that concerns users.
pub trait UserRequests {
    /// The users of a pool.
    fn users(&self, pool: Option<String>) -> Answer<'_, Users>;

    /// Applies rules to a user, which is created if there is none of that name: all of them, or none.
    fn set_user(&self, set: SetUser) -> Answer<'_, User>;

    /// Deletes a user, and disconnects its clients.
    fn delete_user(&self, delete: DeleteUser) -> Answer<'_, DeletedUser>;
}
