//! Function libraries: all servers of a pool have the same, and those that are added get them.

use crate::reshard::error::ReshardError;
use crate::reshard::functions::{Libraries, differing, libraries};
use crate::reshard::plan::servers::Survey;
use crate::reshard::server::Server;

/// The first version that has them.
const SINCE: u64 = 7;

impl Survey<'_> {
    pub(super) fn functions(&mut self) -> Result<(), ReshardError> {
        let listed = self
            .servers
            .iter()
            .map(|server| Ok((server, libraries(server)?)));
        let listed: Vec<(&Server, Libraries)> = listed.collect::<Result<_, ReshardError>>()?;
        let is_old = |server: &Server| self.routes.before.server(&server.name).is_some();
        let (old, added): (Vec<_>, Vec<_>) = listed.iter().partition(|(server, _)| is_old(server));
        let Some((first, wanted)) = old.first() else {
            return Ok(());
        };
        for (server, there) in old.iter().skip(1) {
            let names = differing(wanted, there);
            if !names.is_empty() {
                self.obstacles.push(format!(
                    "{} and {} have different function libraries ({}), and all servers of a pool need the same: load them \
                     through a proxy (FUNCTION LOAD REPLACE, FUNCTION DELETE)",
                    first.at,
                    server.at,
                    names.join(", ")
                ));
            }
        }
        for (server, there) in added {
            let lacks_all = !wanted.is_empty() && major(server) < SINCE;
            if lacks_all {
                self.obstacles.push(format!(
                    "{} is {} and has no functions, and {} has function libraries ({}): they need Redis 7.0, or Valkey",
                    server.at,
                    server.info.version(),
                    first.at,
                    wanted.keys().cloned().collect::<Vec<_>>().join(", ")
                ));
            }
            let names = differing(wanted, there);
            let own: Vec<_> = names
                .into_iter()
                .filter(|name| there.contains_key(name))
                .collect();
            if !own.is_empty() {
                self.warnings.push(format!(
                    "{} has function libraries that {} has not, or has otherwise ({}): those of the same name are replaced, \
                     the others stay",
                    server.at,
                    first.at,
                    own.join(", ")
                ));
            }
        }
        Ok(())
    }
}

/// The major version of Redis that the server says it is.
fn major(server: &Server) -> u64 {
    let version = server.info.text("redis_version").unwrap_or_default();
    let major = version.split('.').next().unwrap_or_default();
    major.parse().unwrap_or_default()
}
