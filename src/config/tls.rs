//! What a pool says of TLS, towards its clients and towards its servers, and what its files have.

use std::sync::Arc;
use std::time::Duration;

use crate::net::tls::{
    AcceptorSettings, ConnectorSettings, LoadedFiles, TlsAcceptor, TlsConnector, TlsExpiry,
    TlsFile, TlsFileError, Verification,
};

use super::setting::Setting;

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenTls {
    /// What the file says.
    pub settings: AcceptorSettings,
    /// The time limit for a handshake.
    pub handshake_timeout: Duration,
    /// `None` before [`Self::load`].
    acceptor: Option<Arc<TlsAcceptor>>,
}

/// TLS towards servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// What the file says.
    pub settings: ConnectorSettings,
    /// Connections to the sentinels are encrypted too.
    pub covers_sentinels: bool,
    /// Connects with nobody before [`Self::load`].
    connector: Arc<TlsConnector>,
}

impl ListenTls {
    pub(super) fn new(settings: AcceptorSettings, handshake_timeout: Duration) -> Self {
        Self {
            settings,
            handshake_timeout,
            acceptor: None,
        }
    }

    /// Reads the files.
    pub fn load(&mut self) -> Result<(), TlsFileError> {
        self.acceptor = Some(Arc::new(TlsAcceptor::load(&self.settings)?));
        Ok(())
    }

    /// Accepts clients; `None` before [`Self::load`].
    #[must_use]
    pub fn acceptor(&self) -> Option<&Arc<TlsAcceptor>> {
        self.acceptor.as_ref()
    }
}

impl ServerTls {
    pub(super) fn new(settings: ConnectorSettings, covers_sentinels: bool) -> Self {
        Self {
            settings,
            covers_sentinels,
            connector: Arc::new(TlsConnector::unloaded()),
        }
    }

    /// Reads the files.
    pub fn load(&mut self) -> Result<(), TlsFileError> {
        let connector = TlsConnector::load(&self.settings, "server_tls_ca")?;
        self.connector = Arc::new(connector);
        Ok(())
    }

    /// Makes connections to servers; to none before [`Self::load`].
    #[must_use]
    pub fn connector(&self) -> &Arc<TlsConnector> {
        &self.connector
    }

    /// Returns true if the certificates of servers are not checked.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.settings.verification == Verification::Insecure
    }
}

/// TLS of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolTls {
    /// Towards clients; `None` without `tls_listen`.
    pub listen: Option<ListenTls>,
    /// Towards servers; `None` without `server_tls`.
    pub server: Option<ServerTls>,
}

impl PoolTls {
    /// Reads all files. Every error is one of another file or directive.
    pub fn load(&mut self) -> Result<(), Vec<TlsFileError>> {
        let listen = self.listen.as_mut().map_or(Ok(()), ListenTls::load);
        let server = self.server.as_mut().map_or(Ok(()), ServerTls::load);
        let errors: Vec<_> = listen.err().into_iter().chain(server.err()).collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Reads the files for connections to servers.
    pub fn load_server(&mut self) -> Result<(), Vec<TlsFileError>> {
        let server = self.server.as_mut().map_or(Ok(()), ServerTls::load);
        server.map_err(|error| vec![error])
    }

    /// Returns true if both are from the same configuration file, whatever their own files have.
    #[must_use]
    pub fn is_of_same_file(&self, other: &Self) -> bool {
        let listen = |tls: &'_ Self| tls.listen.as_ref().map(|listen| listen.settings.clone());
        let server = |tls: &'_ Self| tls.server.as_ref().map(|server| server.settings.clone());
        listen(self) == listen(other) && server(self) == server(other)
    }

    /// Returns true if there is any.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.listen.is_some() || self.server.is_some()
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &TlsFile> {
        let listen = self.listen.iter();
        let listen = listen.flat_map(|listen| listen.settings.files());
        let server = self.server.iter();
        listen.chain(server.flat_map(|server| server.settings.files()))
    }

    /// When what the files have expires.
    pub fn expiries(&self) -> impl Iterator<Item = &TlsExpiry> {
        self.loaded().flat_map(LoadedFiles::expiries)
    }

    /// The file of a directive, with what it has.
    pub(super) fn file(&self, directive: &str) -> Setting {
        let Some(file) = self.files().find(|file| file.directive == directive) else {
            return Setting::Absent;
        };
        Setting::File {
            path: file.path.display().to_string(),
            digest: self.loaded().find_map(|files| files.digest(directive)),
        }
    }

    /// What was read of the files.
    fn loaded(&self) -> impl Iterator<Item = &LoadedFiles> {
        let listen = self.listen.as_ref().and_then(ListenTls::acceptor);
        let server = self.server.as_ref().map(ServerTls::connector);
        let listen = listen.map(|acceptor| acceptor.files()).into_iter();
        listen.chain(server.map(|connector| connector.files()))
    }
}
