//! Files of TLS that a configuration names.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::thread;

use ringroad::net::tls::{
    AcceptorSettings, ClientCertificates, ConnectorSettings, Identity, LoadedFiles, MinVersion,
    Roots, TlsAcceptor, TlsConnector, TlsFile, TlsFileError, Verification,
};

/// A certificate and its key, which are good.
const CERT: &[u8] = include_bytes!("../seeds/tls_files/cert");
const KEY: &[u8] = include_bytes!("../seeds/tls_files/key");

/// A directory of files for one input, one after the other.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!(
            "ringroad-fuzz-{}-{:?}",
            process::id(),
            thread::current().id()
        );
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a directory for files");
        Self(path)
    }

    fn file(&self, directive: &'static str, content: &[u8]) -> TlsFile {
        let path = self.0.join(directive);
        fs::write(&path, content).expect("room for a file");
        TlsFile::new(directive, path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The same bytes in place of each file, with good ones beside it: they are used, or refused by an error that names the file and
/// shows nothing of it.
pub fn tls_files(bytes: &[u8]) {
    let folder = Folder::new();
    let input = |directive| folder.file(directive, bytes);
    let good = || Identity {
        cert: folder.file("tls_cert", CERT),
        key: folder.file("tls_key", KEY),
    };
    let server = |own, clients| {
        let min_version = MinVersion::default();
        let loaded = TlsAcceptor::load(&AcceptorSettings {
            own,
            clients,
            min_version,
        });
        check(loaded.as_ref().map(TlsAcceptor::files), &folder, bytes);
    };
    let own = |cert: Option<TlsFile>, key: Option<TlsFile>| Identity {
        cert: cert.unwrap_or_else(|| good().cert),
        key: key.unwrap_or_else(|| good().key),
    };
    server(own(Some(input("tls_cert")), None), None);
    server(own(None, Some(input("tls_key"))), None);
    for (ca, crl) in [(bytes, None), (CERT, Some(bytes))] {
        let clients = ClientCertificates {
            ca: folder.file("tls_client_ca", ca),
            are_required: true,
            crl: crl.map(|crl| folder.file("tls_client_crl", crl)),
        };
        server(good(), Some(clients));
    }
    for (ca, crl) in [(bytes, None), (CERT, Some(input("server_tls_crl")))] {
        let settings = ConnectorSettings {
            verification: Verification::Full(Roots::File(folder.file("server_tls_ca", ca)), crl),
            name: None,
            own: Some(own(
                Some(input("server_tls_cert")),
                Some(input("server_tls_key")),
            )),
        };
        let loaded = TlsConnector::load(&settings, "server_tls_ca");
        check(loaded.as_ref().map(TlsConnector::files), &folder, bytes);
    }
}

fn check(loaded: Result<&LoadedFiles, &TlsFileError>, folder: &Folder, bytes: &[u8]) {
    match loaded {
        Ok(files) => assert!(
            files
                .expiries()
                .iter()
                .all(|expiry| files.digest(expiry.file.directive).is_some())
        ),
        Err(error) => {
            assert!(
                error.text.contains(&folder.0.display().to_string()),
                "{error}"
            );
            // Bytes are shown as numbers in brackets by who prints them.
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains("[45, 45"),
                "{shown}: {}",
                bytes.escape_ascii()
            );
        }
    }
}
