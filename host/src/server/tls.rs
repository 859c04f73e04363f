//! TLS: the certificate that a host shows, from files that may be renewed while it runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error as RustlsError, InconsistentKeys};
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

/// No file of a certificate or a key is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files of a certificate, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The host's own certificate, then those that lead to a root.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
}

/// Why a certificate cannot be used. Each text names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the TLS {what} {}: {error}", .path.display())]
    Unreadable {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("the TLS {what} {} {problem}", .path.display())]
    Unusable {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "the TLS key {} does not belong to the certificate {}: name the pair that was made together, the host's own \
         certificate first in its file",
        .key.display(),
        .certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// A host's certificate. Connections that are made get the newest one that could be read.
#[derive(Clone, Debug)]
pub struct Tls {
    files: TlsFiles,
    shown: Arc<Shown>,
}

#[derive(Debug)]
struct Shown {
    current: RwLock<Arc<CertifiedKey>>,
    /// What the files looked like when they were last read.
    stamps: RwLock<Stamps>,
}

/// What tells of a file that it has changed: its length and time, each none while it cannot be seen.
type Stamps = [Option<(u64, SystemTime)>; 2];

impl Tls {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let stamps = stamps(&files);
        let current = RwLock::new(read(&files)?);
        Ok(Self { files, shown: Arc::new(Shown { current, stamps: RwLock::new(stamps) }) })
    }

    /// Reads the files again, whether they changed or not. If they cannot be used, the certificate stays as it is, and the log
    /// has the reason. Returns whether they could.
    pub fn reload(&self) -> bool {
        *self.shown.stamps.write().unwrap_or_else(PoisonError::into_inner) = stamps(&self.files);
        match read(&self.files) {
            Ok(key) => {
                *self.shown.current.write().unwrap_or_else(PoisonError::into_inner) = key;
                info!(certificate = %self.files.certificate.display(), "the TLS certificate was read again");
                true
            }
            Err(error) => {
                error!(%error, "the TLS certificate stays the one before: the files cannot be used");
                false
            }
        }
    }

    /// Reads the files again if they have changed since they were last read.
    pub fn reload_if_changed(&self) {
        let now = stamps(&self.files);
        if *self.shown.stamps.read().unwrap_or_else(PoisonError::into_inner) != now {
            self.reload();
        }
    }

    /// TLS 1.2 and 1.3, for HTTP/2 and HTTP/1.1.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows a cipher suite of each version")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    [&files.certificate, &files.key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    })
}

fn read(files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let TlsFiles { certificate, key } = files;
    let chain = certificates(certificate)?;
    let private = private_key(key)?;
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map(Arc::new).map_err(|error| match error {
        RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() }
        }
        RustlsError::InvalidCertificate(_) => {
            unusable("certificate", certificate, format!("holds no valid X.509 certificate first: {error}"))
        }
        error => {
            unusable("key", key, format!("holds no key that can be used ({error}): give one of RSA, ECDSA or Ed25519"))
        }
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const WHAT: &str = "certificate";
    let text = text(WHAT, path)?;
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    // Not the error's own words: they would show a line of the file, which may be a key's.
    let chain = chain.map_err(|_| unusable(WHAT, path, "is no valid PEM file"))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    let problem = match PrivateKeyDer::from_pem_slice(&text) {
        Ok(_) => "holds a private key and no certificate: the two files may have been swapped",
        Err(_) => "holds no certificate: give a PEM file, which begins with -----BEGIN CERTIFICATE-----",
    };
    Err(unusable(WHAT, path, problem))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const WHAT: &str = "key";
    let text = text(WHAT, path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let holds = |label: &str| text.windows(label.len()).any(|window| window == label.as_bytes());
        let problem = match error {
            _ if holds("ENCRYPTED") => {
                "is encrypted: give a key without a password, made by `openssl pkey -in KEY -out PLAIN`".to_owned()
            }
            pem::Error::NoItemsFound if holds("BEGIN CERTIFICATE") => {
                "holds a certificate and no private key: the two files may have been swapped".to_owned()
            }
            pem::Error::NoItemsFound => {
                "holds no private key: give a PEM file, which begins with -----BEGIN PRIVATE KEY-----".to_owned()
            }
            // Never what it says itself: it would show a line of the file.
            _ => "is no valid PEM file".to_owned(),
        };
        unusable(WHAT, path, problem)
    })
}

fn text(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable { what, path: path.to_owned(), error };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(unusable(what, path, "is no file of a certificate or a key: it is no regular file, or too large"));
    }
    fs::read(path).map_err(unreadable)
}

fn unusable(what: &'static str, path: &Path, problem: impl Into<String>) -> TlsError {
    TlsError::Unusable { what, path: path.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }
    }

    fn folder() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn refusal(certificate: &str, key: &str) -> String {
        let folder = folder();
        let files = TlsFiles { certificate: folder.write("host.crt", certificate), key: folder.write("host.key", key) };
        Tls::load(files).unwrap_err().to_string()
    }

    #[test]
    fn every_mistake_names_the_file_and_the_remedy() {
        let ((certificate, key), (other, _)) = (pair(), pair());
        for (certificate, key, says) in [
            (&*certificate, "", "host.key holds no private key: give a PEM file"),
            ("", &*key, "host.crt holds no certificate: give a PEM file"),
            (
                &*key,
                &*certificate,
                "host.crt holds a private key and no certificate: the two files may have been swapped",
            ),
            (&*certificate, &*certificate, "host.key holds a certificate and no private key"),
            (&*other, &*key, "host.key does not belong to the certificate"),
            (
                &*certificate,
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "is encrypted",
            ),
            (&*certificate, "-----BEGIN PRIVATE KEY-----\nS3CRET", "host.key is no valid PEM file"),
            ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", &*key, "host.crt holds no valid X.509"),
        ] {
            let text = refusal(certificate, key);
            assert!(text.contains(says) && !text.contains("S3CRET"), "{text}");
        }
        let missing = TlsFiles { certificate: "/nowhere/host.crt".into(), key: "/nowhere/host.key".into() };
        let text = Tls::load(missing).unwrap_err().to_string();
        assert!(text.starts_with("cannot read the TLS certificate /nowhere/host.crt: No such file"), "{text}");
    }

    #[test]
    fn a_renewed_pair_is_shown_and_a_broken_one_is_not() {
        let folder = folder();
        let write = |(certificate, key): (String, String)| TlsFiles {
            certificate: folder.write("host.crt", &certificate),
            key: folder.write("host.key", &key),
        };
        let tls = Tls::load(write(pair())).unwrap();
        let shown = || tls.shown.current.read().unwrap().cert[0].clone();
        let first = shown();
        tls.reload_if_changed();
        assert_eq!(shown(), first);
        folder.write("host.key", "half a fi");
        tls.reload_if_changed();
        assert_eq!(shown(), first, "a broken pair is not shown");
        write(pair());
        assert!(tls.reload());
        assert_ne!(shown(), first);
    }
}
