//! The checks of a server's certificate that an `sslmode` stands for.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::Trusted;

/// How webpki names its refusal of an authority's certificate as a server's; rustls passes the
/// error on without a type of its own.
const AUTHORITY_AS_SERVER: &str = "CaUsedAsEndEntity";

/// What is asked of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checks {
    /// Only that the server has its key.
    Nothing,
    /// And that it is valid now and leads to a trusted one.
    Chain,
    /// And that it is the host's.
    ChainAndName,
}

/// Verifies as [`Checks`] say. It is always verified that the server has the certificate's key.
#[derive(Debug)]
pub(super) struct Verifier {
    checks: Checks,
    trusted: Trusted,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// `roots` holds the same certificates as `trusted`.
    pub(super) fn new(
        checks: Checks,
        trusted: Trusted,
        roots: RootCertStore,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self {
            checks,
            trusted,
            roots,
            algorithms,
        }
    }

    fn verify_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.algorithms.all;
        let roots = &self.roots;
        match verify_server_cert_signed_by_trust_anchor(
            parsed,
            roots,
            intermediates,
            now,
            algorithms,
        ) {
            // `openssl req -x509` marks a server's self-signed certificate as an authority's, which
            // webpki refuses in that place and OpenSSL does not. It is trusted when it is itself
            // one of the trusted ones; its dates have been checked before that refusal.
            Err(Error::InvalidCertificate(CertificateError::Other(reason)))
                if reason.0.to_string() == AUTHORITY_AS_SERVER
                    && self.trusted.iter().any(|one| one == end_entity) =>
            {
                Ok(())
            }
            result => result,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.checks != Checks::Nothing {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            self.verify_chain(end_entity, &parsed, intermediates, now)?;
            if self.checks == Checks::ChainAndName {
                verify_server_name(&parsed, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
