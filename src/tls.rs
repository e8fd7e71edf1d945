//! TLS from PEM files: the server's side for listeners, the client's side for the command line.
//!
//! Owns how certificates and keys are read and checked, and that aws-lc-rs is the one provider of cryptography. Knows no
//! socket and no API key: a client certificate decides who may connect, never on whose behalf (`access.rs`).
//!
//! Rule: an error names the file, the setting that names the file, what was expected and what to do; never what is in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::Config;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{setting}: cannot read {}; check the path and the permissions", file.display())]
    Unreadable {
        /// What names the file.
        setting: &'static str,
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has not what it should have.
    #[error("{setting}: expected {expected} in {}, found {found}", file.display())]
    Unexpected {
        /// What names the file.
        setting: &'static str,
        /// Which file.
        file: PathBuf,
        /// What it should have.
        expected: &'static str,
        /// What it has.
        found: String,
    },
    /// Certificate and key are no pair, or of a kind that TLS cannot use.
    #[error("certificate {} and key {} cannot be used together: {source}; make both anew, or \
             correct the paths", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The authorities of client certificates cannot be used.
    #[error("tls_client_ca: cannot use {}: {reason}", file.display())]
    ClientAuthority {
        /// Which file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The operating system trusts no authority.
    #[error(
        "the operating system has no trusted certificates ({reason}); name the server's \
             authority with --tls-ca FILE"
    )]
    NoTrustStore {
        /// What it says.
        reason: String,
    },
    /// The address has no name that a certificate could be for.
    #[error("expected HOST:PORT, found `{address}`; a certificate is checked against the host")]
    NoServerName {
        /// What was given.
        address: String,
    },
    /// The provider has no protocol version in common with us.
    #[error("the provider of cryptography cannot speak TLS 1.2 or 1.3")]
    Provider(#[source] rustls::Error),
}

/// What a client shows of itself to a server that asks for certificates.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Certificate chain, PEM.
    pub cert: &'a Path,
    /// Its private key, PEM.
    pub key: &'a Path,
}

/// Makes aws-lc-rs the provider of everything in this process that does not choose one. The first thing a binary does.
pub fn install_provider() {
    // An error says that a provider is installed already, which is as good.
    drop(aws_lc_rs::default_provider().install_default());
}

/// What turns accepted sockets into encrypted ones; `None` when the configuration names no certificate.
///
/// # Errors
///
/// Says which file is wrong, and how.
pub fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>, TlsError> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    let client_ca = config.tls_client_ca.as_deref();
    let config = server_config(Identity { cert, key }, client_ca)?;
    Ok(Some(TlsAcceptor::from(config)))
}

/// The server's side. With `client_ca`, only clients with a certificate from one of its authorities may connect.
///
/// # Errors
///
/// Says which file is wrong, and how.
pub fn server_config(
    own: Identity<'_>,
    client_ca: Option<&Path>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(authorities("tls_client_ca", file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| {
                TlsError::ClientAuthority {
                    file: file.to_owned(),
                    reason: error.to_string(),
                }
            })?)
        }
    };
    let (chain, key) = pair("tls_cert", "tls_key", own)?;
    let config = builder
        .with_single_cert(chain, key)
        .map_err(|source| own.refused(source))?;
    Ok(Arc::new(config))
}

/// The client's side. Trusts the authorities in `ca`, or those of the operating system.
///
/// # Errors
///
/// Says which file is wrong, and how.
pub fn client_config(
    ca: Option<&Path>,
    own: Option<Identity<'_>>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match ca {
        Some(file) => authorities("--tls-ca", file)?,
        None => native_authorities()?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let (chain, key) = pair("--tls-client-cert", "--tls-client-key", own)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|source| own.refused(source))?
        }
    };
    Ok(Arc::new(config))
}

/// The name that the certificate of the server at `HOST:PORT` has to be for.
///
/// # Errors
///
/// The address has no host that could be one.
pub fn server_name(address: &str) -> Result<ServerName<'static>, TlsError> {
    let refused = || TlsError::NoServerName {
        address: address.to_owned(),
    };
    let (host, _port) = address.rsplit_once(':').ok_or_else(refused)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|_| refused())
}

impl Identity<'_> {
    fn refused(self, source: rustls::Error) -> TlsError {
        TlsError::Pair {
            cert: self.cert.to_owned(),
            key: self.key.to_owned(),
            source,
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn pair(
    cert_setting: &'static str,
    key_setting: &'static str,
    own: Identity<'_>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(cert_setting, own.cert)?;
    let expected = "an unencrypted private key in PEM (PKCS#8, PKCS#1 or SEC1)";
    let text = read(key_setting, own.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| unexpected(key_setting, own.key, expected, &error))?;
    Ok((chain, key))
}

fn certificates(
    setting: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let expected = "at least one certificate in PEM";
    let text = read(setting, file)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(unexpected(setting, file, expected, &PemError::NoItemsFound))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unexpected(setting, file, expected, &error)),
    }
}

fn authorities(setting: &'static str, file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(setting, file)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Unexpected {
                setting,
                file: file.to_owned(),
                expected: "certificates of authorities",
                found: format!("one that cannot be used: {error}"),
            })?;
    }
    Ok(roots)
}

fn native_authorities() -> Result<RootCertStore, TlsError> {
    let native = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(native.certs);
    if added == 0 {
        let reasons = native
            .errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        let reason = if reasons.is_empty() {
            String::from("none found")
        } else {
            reasons.join("; ")
        };
        return Err(TlsError::NoTrustStore { reason });
    }
    Ok(roots)
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| TlsError::Unreadable {
        setting,
        file: file.to_owned(),
        source,
    })
}

/// What the library found, without the line that it quotes, which may be of a key.
fn unexpected(
    setting: &'static str,
    file: &Path,
    expected: &'static str,
    error: &PemError,
) -> TlsError {
    let found = match error {
        PemError::NoItemsFound => String::from("none"),
        PemError::MissingSectionEnd { .. } => String::from("a section without its END line"),
        PemError::IllegalSectionStart { .. } => String::from("a malformed BEGIN line"),
        PemError::Base64Decode(_) => String::from("a section that is not base64"),
        PemError::SectionTooLarge => String::from("a section that is too large"),
        PemError::Io(_) | _ => String::from("something else"),
    };
    TlsError::Unexpected {
        setting,
        file: file.to_owned(),
        expected,
        found,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// An authority, a server and a client that it vouches for, as files.
    struct Files {
        folder: TempDir,
    }

    impl Files {
        fn new() -> Self {
            let files = Self {
                folder: TempDir::new().unwrap(),
            };
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority =
                CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            files.write("ca.pem", &authority.pem());
            for name in ["server", "client"] {
                let key = KeyPair::generate().unwrap();
                let params = CertificateParams::new(vec![String::from("localhost")]).unwrap();
                let cert = params.signed_by(&key, &authority).unwrap();
                files.write(&format!("{name}.pem"), &cert.pem());
                files.write(&format!("{name}.key"), &key.serialize_pem());
            }
            files
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn server(&self, client_ca: Option<&str>) -> Result<Arc<ServerConfig>, TlsError> {
            let (cert, key) = (self.path("server.pem"), self.path("server.key"));
            let client_ca = client_ca.map(|name| self.path(name));
            server_config(
                Identity {
                    cert: &cert,
                    key: &key,
                },
                client_ca.as_deref(),
            )
        }

        fn client(&self, name: Option<&str>) -> Result<Arc<ClientConfig>, TlsError> {
            let paths = name.map(|name| {
                (
                    self.path(&format!("{name}.pem")),
                    self.path(&format!("{name}.key")),
                )
            });
            let own = paths.as_ref().map(|(cert, key)| Identity { cert, key });
            client_config(Some(&self.path("ca.pem")), own)
        }
    }

    /// Sends one byte through TLS and back.
    async fn talk(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> std::io::Result<u8> {
        let (near, far) = duplex(64 * 1024);
        let echo = tokio::spawn(async move {
            let mut stream = TlsAcceptor::from(server).accept(far).await?;
            let byte = stream.read_u8().await?;
            stream.write_u8(byte).await?;
            stream.flush().await
        });
        let name = server_name("localhost:7420").unwrap();
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.write_u8(42).await?;
        stream.flush().await?;
        let answer = stream.read_u8().await;
        echo.await.unwrap()?;
        answer
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_talks_to_the_server() {
        let files = Files::new();
        let answer = talk(files.server(None).unwrap(), files.client(None).unwrap()).await;
        assert_eq!(answer.unwrap(), 42);
    }

    #[tokio::test]
    async fn a_client_that_trusts_another_authority_does_not() {
        let (files, other) = (Files::new(), Files::new());
        let answer = talk(files.server(None).unwrap(), other.client(None).unwrap()).await;
        assert!(answer.is_err());
    }

    #[tokio::test]
    async fn where_clients_need_a_certificate_one_of_the_authority_is_needed() {
        let (files, other) = (Files::new(), Files::new());
        let server = || files.server(Some("ca.pem")).unwrap();
        assert_eq!(
            talk(server(), files.client(Some("client")).unwrap())
                .await
                .unwrap(),
            42
        );
        assert!(talk(server(), files.client(None).unwrap()).await.is_err());
        let (cert, key) = (other.path("client.pem"), other.path("client.key"));
        let own = Some(Identity {
            cert: &cert,
            key: &key,
        });
        let stranger = client_config(Some(&files.path("ca.pem")), own).unwrap();
        assert!(talk(server(), stranger).await.is_err());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name_and_setting() {
        let files = Files::new();
        let refusal = |files: &Files| files.server(None).unwrap_err().to_string();

        files.write("server.key", "nothing");
        let error = refusal(&files);
        assert!(
            error.starts_with("tls_key: expected an unencrypted private key"),
            "{error}"
        );
        assert!(error.contains("server.key, found none"), "{error}");

        files.write("server.key", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0");
        let error = refusal(&files);
        assert!(
            error.ends_with("found a section without its END line"),
            "{error}"
        );
        assert!(!error.contains("c2VjcmV0"), "{error}");

        let another = KeyPair::generate().unwrap().serialize_pem();
        files.write("server.key", &another);
        let error = refusal(&files);
        assert!(error.contains("cannot be used together"), "{error}");

        files.write("server.pem", "");
        let error = refusal(&files);
        assert!(
            error.starts_with("tls_cert: expected at least one certificate"),
            "{error}"
        );

        fs::remove_file(files.path("server.pem")).unwrap();
        let error = refusal(&files);
        assert!(error.starts_with("tls_cert: cannot read"), "{error}");

        let error = files.server(Some("no-such.pem")).unwrap_err().to_string();
        assert!(error.starts_with("tls_client_ca: cannot read"), "{error}");
    }

    #[test]
    fn without_a_certificate_there_is_no_acceptor() {
        assert!(acceptor(&Config::default()).unwrap().is_none());
        let files = Files::new();
        let config = Config {
            tls_cert: Some(files.path("server.pem")),
            tls_key: Some(files.path("server.key")),
            ..Config::default()
        };
        assert!(acceptor(&config).unwrap().is_some());
    }

    #[test]
    fn the_name_of_a_server_is_its_host() {
        for (address, name) in [
            ("locks.example.com:7420", "locks.example.com"),
            ("127.0.0.1:7420", "127.0.0.1"),
            ("[::1]:7420", "::1"),
        ] {
            assert_eq!(server_name(address).unwrap().to_str(), name);
        }
        assert!(server_name("locks.example.com").is_err());
        assert!(server_name(":7420").is_err());
    }
}
