//! TLS of the stats port: its files, which are read again when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::app::admin_control::absolute;
use crate::app::error::AppError;
use crate::app::file_watch::{Settling, Stamp, stamp};
use crate::cli::Options;
use crate::control;
use crate::net::tls::{AcceptorSettings, Identity, MinVersion, TlsAcceptor, TlsFile, TlsFileError};

/// The interval at which the files are looked at. A change counts once they have been the same for one.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The interval of warnings about a certificate that expires soon.
const WARN_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Reads the files of the options, and again when they change; `None` if there are none.
pub(super) fn start(options: &Options) -> Result<Option<Arc<ArcSwap<TlsAcceptor>>>, AppError> {
    let tls = StatsTls::load(options)?;
    Ok(tls.map(|tls| {
        tls.warn();
        let current = Arc::clone(&tls.current);
        tokio::spawn(tls.follow());
        current
    }))
}

/// Checks the files of the options. Returns warnings about them.
pub fn check(files: Option<&(PathBuf, PathBuf)>) -> Result<Vec<String>, String> {
    let Some(files) = files else {
        return Ok(Vec::new());
    };
    let acceptor = TlsAcceptor::load(&settings(files)).map_err(|error| faulty(&error))?;
    Ok(warnings(&acceptor))
}

fn settings((cert, key): &(PathBuf, PathBuf)) -> AcceptorSettings {
    let file = |option, path: &Path| TlsFile::new(option, absolute(path));
    AcceptorSettings {
        own: Identity {
            cert: file("--stats-tls-cert", cert),
            key: file("--stats-tls-key", key),
        },
        clients: None,
        min_version: MinVersion::default(),
    }
}

fn faulty(error: &TlsFileError) -> String {
    format!("option {}: {}", error.directive, error.text)
}

fn warnings(acceptor: &TlsAcceptor) -> Vec<String> {
    let expiries = acceptor.files().expiries();
    expiries
        .iter()
        .filter_map(control::expiry_warning)
        .collect()
}

/// What the stats port encrypts with.
#[derive(Debug)]
struct StatsTls {
    settings: AcceptorSettings,
    current: Arc<ArcSwap<TlsAcceptor>>,
}

impl StatsTls {
    fn load(options: &Options) -> Result<Option<Self>, AppError> {
        let Some(files) = &options.stats_tls else {
            return Ok(None);
        };
        let settings = settings(files);
        let acceptor = TlsAcceptor::load(&settings).map_err(|error| {
            AppError::Stats(io::Error::new(io::ErrorKind::InvalidInput, faulty(&error)))
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
        let mut warned = Instant::now();
        loop {
            sleep(LOOK_EVERY).await;
            if warned.elapsed() >= WARN_EVERY {
                warned = Instant::now();
                self.warn();
            }
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
                    self.warn();
                }
                Ok(Err(error)) => {
                    let option = error.directive;
                    tracing::error!("option {option}: {error}; the old one stays in use");
                }
                Err(error) => tracing::error!(%error, "the files of the stats port are not read"),
            }
        }
    }

    fn warn(&self) {
        for warning in warnings(&self.current.load()) {
            tracing::warn!("stats port: {warning}");
        }
    }

    async fn stamps(&self) -> [Option<Stamp>; 2] {
        let paths = [&self.settings.own.cert, &self.settings.own.key].map(|file| file.path.clone());
        let stamps = spawn_blocking(move || paths.map(|path| stamp(&path))).await;
        stamps.unwrap_or_default()
    }
}
