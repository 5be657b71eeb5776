//! CAs, and the certificates that they sign.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

/// A CA with a directory of files.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    dir: TempDir,
}

/// The files of a certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What is special about a certificate.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Special {
    pub(crate) is_expired: bool,
    pub(crate) is_early: bool,
    pub(crate) serial: u64,
    /// It ends so many days from now.
    pub(crate) days: Option<u32>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "a CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        let ca = Self {
            issuer: Issuer::new(params, key),
            certificate,
            dir: TempDir::new().unwrap(),
        };
        ca.write("ca.pem", &ca.certificate.pem());
        ca
    }

    /// The file of its certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate with these names, which are host names or addresses.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Files {
        self.issue_special(file, names, Special::default())
    }

    /// A certificate that is good for so many days.
    pub(crate) fn issue_for_days(&self, file: &str, names: &[&str], days: u32) -> Files {
        let special = Special {
            days: Some(days),
            ..Special::default()
        };
        self.issue_special(file, names, special)
    }

    pub(crate) fn issue_special(&self, file: &str, names: &[&str], special: Special) -> Files {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        params.distinguished_name.push(DnType::CommonName, file);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_after = date_time_ymd(if special.is_expired { 2020 } else { 4000 }, 1, 1);
        if let Some(days) = special.days {
            params.not_after = (SystemTime::now() + Duration::from_secs(86_400) * days).into();
        }
        params.not_before = date_time_ymd(if special.is_early { 3900 } else { 2010 }, 1, 1);
        params.serial_number = Some(SerialNumber::from(special.serial + 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Files {
            cert: self.write(&format!("{file}.pem"), &certificate.pem()),
            key: self.write(&format!("{file}.key"), &key.serialize_pem()),
        }
    }

    /// A revocation list with the certificates of these serials.
    pub(crate) fn revoke(&self, serials: &[u64]) -> PathBuf {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial + 1),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).unwrap();
        self.write("revoked.pem", &list.pem().unwrap())
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(file);
        replace(&path, text);
        path
    }
}

impl Files {
    /// Replaces them by others, as an operator does: each by one step.
    pub(crate) fn become_those_of(&self, others: &Self) {
        replace(&self.key, &fs::read_to_string(&others.key).unwrap());
        replace(&self.cert, &fs::read_to_string(&others.cert).unwrap());
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn alternative(name: &str) -> SanType {
    match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.to_owned().try_into().unwrap()),
    }
}
