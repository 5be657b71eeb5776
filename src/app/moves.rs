//! The last moves of keys, for the admin API: read at the servers as `ringroad reshard status` does.
//!
//! ```text
//! GET /moves --no look at these pools under way--> thread: ask the servers --+
//! GET /moves --one is under way------------------------------------------> wait for its answer
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::broadcast;
use tokio::task::spawn_blocking;

use crate::admin::api::ControlError;
use crate::admin::api::answers::Moves;
use crate::config::PoolConfig;
use crate::console::Report as _;
use crate::reshard;

/// The pool that is looked at; `None` for all.
type Wanted = Option<String>;

/// Looks at the servers: who asks while one is under way shares its answer, so any number of readers costs one.
#[derive(Debug, Default)]
pub(super) struct Looks {
    running: Mutex<HashMap<Wanted, broadcast::Sender<Moves>>>,
}

/// A look under way. When it is dropped, all who wait have the answer, or know that there is none.
struct Look {
    looks: Arc<Looks>,
    wanted: Wanted,
    answer: Option<Moves>,
}

impl Looks {
    /// The moves of these pools, which are those of `wanted`. A server that hangs is named after a few seconds.
    pub(super) async fn look(
        self: &Arc<Self>,
        wanted: Wanted,
        pools: Vec<Arc<PoolConfig>>,
    ) -> Result<Moves, ControlError> {
        let mut answer = self.join(wanted, pools);
        answer.recv().await.map_err(|_| ControlError::Stopping)
    }

    fn join(
        self: &Arc<Self>,
        wanted: Wanted,
        pools: Vec<Arc<PoolConfig>>,
    ) -> broadcast::Receiver<Moves> {
        let mut running = self.running();
        if let Some(look) = running.get(&wanted) {
            return look.subscribe();
        }
        let (sender, receiver) = broadcast::channel(1);
        running.insert(wanted.clone(), sender);
        let mut look = Look {
            looks: Arc::clone(self),
            wanted,
            answer: None,
        };
        spawn_blocking(move || {
            look.answer = Some(read(pools));
            drop(look);
        });
        receiver
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Wanted, broadcast::Sender<Moves>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let sender = self.looks.running().remove(&self.wanted);
        if let (Some(sender), Some(answer)) = (sender, self.answer.take()) {
            // All who have asked may have gone.
            let _ = sender.send(answer);
        }
    }
}

/// Asks the servers of these pools. Blocks.
fn read(pools: Vec<Arc<PoolConfig>>) -> Moves {
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
