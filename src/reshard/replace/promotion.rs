//! The moment in which a replica has all, and becomes a primary with a mark of its own.

use std::thread;
use std::time::{Duration, Instant};

use crate::protocol::redis::mark::Change;
use crate::redis_client::Info;
use crate::reshard::error::ReshardError;
use crate::reshard::hold::Reason;
use crate::reshard::lead::Lead;
use crate::reshard::replace::holding::lost;
use crate::reshard::server::Server;
use crate::topology::{BucketSet, Decision};

/// How often the servers are asked how far they are, in a hold.
const POLL_EVERY: Duration = Duration::from_millis(1);

/// Step 4 of a hold: the replica has all, and becomes a primary with a mark of its own.
pub(super) struct Promotion<'a> {
    pub(super) lead: &'a Lead,
    pub(super) source: &'a Server,
    pub(super) taker: &'a Server,
    pub(super) until: Instant,
}

impl Promotion<'_> {
    /// Has it promoted in the hold of that number. `None` if it is.
    pub(super) fn run(&self, hold: u64) -> Result<Option<Reason>, ReshardError> {
        // All that was written there before the fence.
        let wanted = self.source.read_info()?;
        if wanted.text("role") != Some("master") {
            return Err(lost(self.source));
        }
        loop {
            let info = self.taker.read_info()?;
            let left = offset_left(&wanted, &info);
            if left == 0 {
                break;
            }
            if Instant::now() > self.until {
                let text = if left == i64::MAX {
                    format!("{} is not connected to its primary", self.taker.at)
                } else {
                    format!("{} lacked {left} bytes of changes", self.taker.at)
                };
                return Ok(Some(Reason::of(text)));
            }
            thread::sleep(POLL_EVERY);
        }
        if Instant::now() > self.until {
            return Ok(Some(Reason::of(
                "the offsets were equal too late".to_owned(),
            )));
        }
        self.taker.call(&["REPLICAOF", "NO", "ONE"])?;
        if !has_history_of(&self.taker.read_info()?, &wanted) {
            let text = format!("{} did not replicate in that moment", self.taker.at);
            return Ok(Some(Reason::of(text)));
        }
        let change = Change::Settle {
            by: self.lead.by(),
            hold,
            decision: Decision::Abort,
            moved: &BucketSet::EMPTY,
        };
        self.taker.change_surely(&self.lead.names, &change)?;
        Ok(None)
    }
}

/// Returns true if a primary was a replica of `wanted` up to its promotion, and had all that it had written.
fn has_history_of(info: &Info, wanted: &Info) -> bool {
    let is_primary = info.text("role") == Some("master");
    let followed = info.text("master_replid2");
    let until = info.number("second_repl_offset").unwrap_or_default();
    let written = wanted.number("master_repl_offset");
    is_primary
        && followed.is_some()
        && followed == wanted.text("master_replid")
        && written.is_some_and(|written| until > written)
}

/// The bytes of changes that a replica lacks; `i64::MAX` if it is not connected.
pub(super) fn offset_left(primary: &Info, replica: &Info) -> i64 {
    let is_up = replica.text("master_link_status") == Some("up");
    let is_same = replica.text("master_replid") == primary.text("master_replid");
    let number = |info: &Info, name| i64::try_from(info.number(name)?).ok();
    let offsets = (
        number(primary, "master_repl_offset"),
        number(replica, "slave_repl_offset"),
    );
    match offsets {
        (Some(written), Some(applied)) if is_up && is_same => i64::max(written - applied, 0),
        _ => i64::MAX,
    }
}
