//! The last moves of keys, for the admin socket: read at the servers as `ringroad reshard status` does.

use std::sync::Arc;

use serde_json::json;

use crate::admin::api::answers::Moves;
use crate::config::PoolConfig;
use crate::console::Report as _;
use crate::reshard;

/// Asks the servers of these pools. Blocks.
pub(super) fn read(pools: Vec<Arc<PoolConfig>>) -> Moves {
    let mut answer = Moves::default();
    for pool in pools {
        let (status, text) = match reshard::Status::read(&pool) {
            Ok(status) => (status.json(), status.text()),
            Err(error) => (
                json!({ "pool": pool.name, "error": error.to_string() }),
                format!("pool '{}': {error}\n", pool.name),
            ),
        };
        answer.moves.push(status);
        answer.text.push_str(&text);
    }
    answer
}
