//! The rules for what a pool says of passwords.

use super::draft::Draft;
use super::pool_reader::Reader;

impl Reader<'_> {
    pub(super) fn check_passwords(&mut self, draft: &Draft) {
        // One that is faulty has its own error.
        if self.places.contains_key("server_password") {
            return;
        }
        if draft.server_user.is_some() {
            self.refuse("server_user", "needs 'server_password'");
        }
        let password = draft.redis_auth.as_ref();
        if password.is_some_and(|password| password.plain().is_none()) {
            let text = "is a hash, which needs 'server_password': servers are not let in by it";
            self.refuse("redis_auth", text);
        }
    }
}
