//! Channel binding `tls-server-end-point` (RFC 5929 section 4): the hash of the server's certificate,
//! under the hash function of the certificate's own signature.

use ring::digest::{self, Algorithm, SHA256, SHA384, SHA512};
use rustls::pki_types::CertificateDer;

use super::der::{CONTEXT_0, OBJECT_IDENTIFIER, SEQUENCE, element};

// Contents of object identifiers, in DER.
/// PKCS #1, 1.2.840.113549.1.1 (RFC 8017 appendix C); the last arc follows.
const PKCS_1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01";
/// ANSI X9.62 signatures, 1.2.840.10045.4 (RFC 5758 section 3.2); one or two arcs follow.
const ECDSA: &[u8] = b"\x2a\x86\x48\xce\x3d\x04";
/// NIST hashes, 2.16.840.1.101.3.4.2 (RFC 8017 appendix B.1); the last arc follows.
const NIST_HASHES: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02";
/// SHA-1, 1.3.14.3.2.26.
const SHA_1: &[u8] = b"\x2b\x0e\x03\x02\x1a";

/// The channel binding data of `certificate`: MD5 and SHA-1 are replaced by SHA-256 (RFC 5929
/// section 4.1). `None` where there is none: the signature has no hash function of its own
/// (Ed25519), or one that is not implemented here (SHA-224), or the bytes are no certificate.
pub fn server_end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let algorithm = signature_hash(certificate)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// RFC 5280 section 4.1: `SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }`.
fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (certificate, _) = element(SEQUENCE, certificate)?;
    let (_tbs, rest) = element(SEQUENCE, certificate)?;
    let (identifier, _) = element(SEQUENCE, rest)?;
    let (oid, parameters) = element(OBJECT_IDENTIFIER, identifier)?;
    if let Some(arc) = oid.strip_prefix(PKCS_1) {
        pkcs_1_hash(arc, parameters)
    } else {
        ecdsa_hash(oid.strip_prefix(ECDSA)?)
    }
}

fn pkcs_1_hash(arc: &[u8], parameters: &[u8]) -> Option<&'static Algorithm> {
    match arc {
        // md5WithRSAEncryption and sha1WithRSAEncryption are raised to SHA-256.
        [4 | 5 | 11] => Some(&SHA256),
        [12] => Some(&SHA384),
        [13] => Some(&SHA512),
        [10] => pss_hash(parameters),
        _ => None,
    }
}

/// RFC 8017 appendix A.2.3: the hash is the first, optional field, and SHA-1 when it is absent.
fn pss_hash(parameters: &[u8]) -> Option<&'static Algorithm> {
    let (parameters, _) = element(SEQUENCE, parameters)?;
    let Some((field, _)) = element(CONTEXT_0, parameters) else {
        return Some(&SHA256);
    };
    let (identifier, _) = element(SEQUENCE, field)?;
    let (oid, _) = element(OBJECT_IDENTIFIER, identifier)?;
    match oid.strip_prefix(NIST_HASHES) {
        Some([1]) => Some(&SHA256),
        Some([2]) => Some(&SHA384),
        Some([3]) => Some(&SHA512),
        None if oid == SHA_1 => Some(&SHA256),
        _ => None,
    }
}

fn ecdsa_hash(arcs: &[u8]) -> Option<&'static Algorithm> {
    match arcs {
        // ecdsa-with-SHA1 is raised to SHA-256.
        [1] | [3, 2] => Some(&SHA256),
        [3, 3] => Some(&SHA384),
        [3, 4] => Some(&SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
