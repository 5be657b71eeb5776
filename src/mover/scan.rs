//! A scan of the keys of a server, page by page.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::redis_client::{Connection, ServerError};
use crate::topology::is_mark;

/// A scan of some databases. Every key that is there from the beginning to the end is found, perhaps more than once;
/// marks are not.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Those that are still to be scanned, the current one first.
    databases: VecDeque<u32>,
    cursor: Bytes,
    page_keys: u32,
}

impl Scan {
    pub(crate) fn new(databases: impl IntoIterator<Item = u32>, page_keys: u32) -> Self {
        Self {
            databases: databases.into_iter().collect(),
            cursor: Bytes::from_static(b"0"),
            page_keys,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.databases.is_empty()
    }

    /// The next page, with its database; `None` at the end.
    pub(crate) fn next(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<(u32, Vec<Bytes>)>, ServerError> {
        let Some(&database) = self.databases.front() else {
            return Ok(None);
        };
        connection.select(database)?;
        let (next, mut keys) = connection.scan(&self.cursor, self.page_keys)?;
        if *next == *b"0" {
            self.databases.pop_front();
        }
        self.cursor = next;
        keys.retain(|key| !is_mark(key));
        Ok(Some((database, keys)))
    }
}
