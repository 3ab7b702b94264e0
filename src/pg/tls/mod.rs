//! TLS towards PostgreSQL: what each `sslmode` checks, whom it trusts, and what channel binding
//! hashes. It knows certificates; of sockets, messages and payments it must never know.
//!
//! The modes' meanings are libpq's: <https://www.postgresql.org/docs/17/libpq-ssl.html>.

mod anchors;
mod der;
mod end_point;
mod verifier;

pub use end_point::server_end_point;

use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use crate::config::SslMode;
use crate::pg::error::{ConnectError, ConnectStep};
use verifier::{Checks, Verifier};

/// Registered for PostgreSQL. Version 17's libpq sends it on every TLS connection, and version 17's
/// server closes one that was started without SSLRequest and lacks it. Older servers ignore it.
const ALPN: &[u8] = b"postgresql";

/// Makes the client side of TLS for `mode`, with TLS 1.2 and 1.3.
///
/// | Mode | Without `root_cert` | With `root_cert` |
/// |---|---|---|
/// | `prefer`, `require` | encrypts, trusts anybody | as `verify-ca` |
/// | `verify-ca` | a chain to the compiled-in anchors, dates | a chain to the file's certificates, dates |
/// | `verify-full` | and the host's name | and the host's name |
///
/// The file is read anew each time, so that a changed one needs no restart. In two things this is
/// stricter than libpq: a `root_cert` that cannot be read is an error in every mode, and a host
/// name is compared with subject alternative names only, never with the common name (RFC 9525).
/// `disable` needs no TLS; asked for all the same, it is treated as `prefer`.
///
/// # Errors
/// The file of `root_cert` cannot be read, or holds something else than certificates.
pub fn client_config(
    mode: SslMode,
    root_cert: Option<&Path>,
) -> Result<Arc<ClientConfig>, ConnectError> {
    let trusted = trusted(root_cert)?;
    let checks = match mode {
        SslMode::Disable | SslMode::Prefer | SslMode::Require if root_cert.is_none() => {
            Checks::Nothing
        }
        SslMode::Disable | SslMode::Prefer | SslMode::Require | SslMode::VerifyCa => Checks::Chain,
        SslMode::VerifyFull => Checks::ChainAndName,
    };
    let mut roots = RootCertStore::empty();
    for certificate in &trusted {
        roots
            .add(certificate.clone())
            .map_err(|e| malformed(root_cert, e))?;
    }
    // PostgreSQL before 18 takes P-256 alone (its setting ssl_ecdh_curve); a first offer of another
    // group costs a round trip and a second key.
    let provider = Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::SECP256R1, kx_group::X25519, kx_group::SECP384R1],
        ..ring::default_provider()
    });
    let verifier = Verifier::new(
        checks,
        trusted,
        roots,
        provider.signature_verification_algorithms,
    );
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|e| malformed(root_cert, e))?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    // PostgreSQL issues no tickets and keeps no sessions, and each connection has its own
    // configuration: there is never anything to resume.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn trusted(root_cert: Option<&Path>) -> Result<Trusted, ConnectError> {
    match root_cert {
        Some(path) => anchors::from_file(path),
        None => Ok(anchors::compiled_in()),
    }
}

/// What an operator should read about a failed TLS session: which check the certificate did not
/// pass, and what to do.
pub fn explain(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(reason) = error else {
        return error.to_string();
    };
    match reason {
        CertificateError::UnknownIssuer => "the server's certificate is not signed by a trusted \
             authority; set sslrootcert to the right one"
            .to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the server's certificate has expired ({reason})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet; check the clock ({reason})")
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "the server's certificate has no subject alternative name, so no host can match it; \
             issue one that has, or use sslmode=verify-ca"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate is for another host ({reason})")
        }
        CertificateError::BadSignature => {
            "the signature of the server's certificate, or of its proof of the key, is wrong"
                .to_owned()
        }
        other => format!("the server's certificate was rejected: {other}"),
    }
}

/// Something in the file of `sslrootcert` is not a certificate.
fn malformed(path: Option<&Path>, reason: impl Display) -> ConnectError {
    let path = path.unwrap_or(Path::new("(compiled in)"));
    let why = format!("contains something that is not a certificate: {reason}");
    unusable(path, &why)
}

fn unusable(path: &Path, why: &str) -> ConnectError {
    let sentence = format!("sslrootcert {} {why}", path.display());
    ConnectError::new(ConnectStep::Tls, sentence)
}

/// Certificates that are trusted, in DER.
type Trusted = Vec<CertificateDer<'static>>;

#[cfg(test)]
mod tests;
