//! TLS of the stats port: its files, which are read again when they change.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::app::admin_control::absolute;
use crate::app::error::AppError;
use crate::app::file_watch::{Settling, Stamp, stamp};
use crate::cli::Options;
use crate::net::tls::{AcceptorSettings, Identity, MinVersion, TlsAcceptor, TlsFile};

/// The interval at which the files are looked at. A change counts once they have been the same for one.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Reads the files of the options, and again when they change; `None` if there are none.
pub(super) fn start(options: &Options) -> Result<Option<Arc<ArcSwap<TlsAcceptor>>>, AppError> {
    let tls = StatsTls::load(options)?;
    Ok(tls.map(|tls| {
        let current = Arc::clone(&tls.current);
        tokio::spawn(tls.follow());
        current
    }))
}

/// What the stats port encrypts with.
#[derive(Debug)]
struct StatsTls {
    settings: AcceptorSettings,
    current: Arc<ArcSwap<TlsAcceptor>>,
}

impl StatsTls {
    fn load(options: &Options) -> Result<Option<Self>, AppError> {
        let Some((cert, key)) = &options.stats_tls else {
            return Ok(None);
        };
        let file = |option, path: &Path| TlsFile::new(option, absolute(path));
        let settings = AcceptorSettings {
            own: Identity {
                cert: file("--stats-tls-cert", cert),
                key: file("--stats-tls-key", key),
            },
            clients: None,
            min_version: MinVersion::default(),
        };
        let acceptor = TlsAcceptor::load(&settings).map_err(|error| {
            let text = format!("option {}: {}", error.directive, error.text);
            AppError::Stats(io::Error::new(io::ErrorKind::InvalidInput, text))
        })?;
        Ok(Some(Self {
            settings,
            current: Arc::new(ArcSwap::from_pointee(acceptor)),
        }))
    }

    /// Reads the files again when they change. Faulty ones leave the old ones in use.
    async fn follow(self) {
        // They may have changed since they were read.
        let mut settling = Settling::new(None);
        loop {
            sleep(LOOK_EVERY).await;
            if !settling.has_changed_to(self.stamps().await) {
                continue;
            }
            settling.accept();
            let settings = self.settings.clone();
            match spawn_blocking(move || TlsAcceptor::load(&settings)).await {
                Ok(Ok(acceptor)) if acceptor == **self.current.load() => {}
                Ok(Ok(acceptor)) => {
                    self.current.store(Arc::new(acceptor));
                    tracing::info!("the certificate of the stats port has changed");
                }
                Ok(Err(error)) => {
                    let option = error.directive;
                    tracing::error!("option {option}: {error}; the old one stays in use");
                }
                Err(error) => tracing::error!(%error, "the files of the stats port are not read"),
            }
        }
    }

    async fn stamps(&self) -> [Option<Stamp>; 2] {
        let paths = [&self.settings.own.cert, &self.settings.own.key].map(|file| file.path.clone());
        let stamps = spawn_blocking(move || paths.map(|path| stamp(&path))).await;
        stamps.unwrap_or_default()
    }
}
