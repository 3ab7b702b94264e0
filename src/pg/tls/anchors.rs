//! What `verify-ca` and `verify-full` trust: AWS's authorities, or the file of `sslrootcert`.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::{Trusted, malformed, unusable};
use crate::limits::ROOT_CERT_FILE_MAX_BYTES;
use crate::pg::error::ConnectError;

macro_rules! anchors {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_bytes!(concat!("anchors/", $name, ".pem")).as_slice())),+]
    };
}

/// Name and PEM of each; anchors/README.md says where they come from.
pub(super) const COMPILED_IN: [(&str, &[u8]); 11] = anchors![
    "amazon-root-ca-1",
    "amazon-root-ca-2",
    "amazon-root-ca-3",
    "amazon-root-ca-4",
    "starfield-services-root-g2",
    "rds-eu-south-2-rsa2048-g1",
    "rds-eu-south-2-rsa4096-g1",
    "rds-eu-south-2-ecc384-g1",
    "rds-us-east-1-rsa2048-g1",
    "rds-us-east-1-rsa4096-g1",
    "rds-us-east-1-ecc384-g1",
];

/// AWS's authorities. A test proves that each one parses.
pub(super) fn compiled_in() -> Trusted {
    let parse = |(_, pem): &(&str, &[u8])| CertificateDer::from_pem_slice(pem).ok();
    COMPILED_IN.iter().filter_map(parse).collect()
}

/// The certificates of a PEM file; everything else in it, as text between them, is ignored.
pub(super) fn from_file(path: &Path) -> Result<Trusted, ConnectError> {
    let bytes = read(path)?;
    let found: Result<Trusted, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let trusted = found.map_err(|e| malformed(Some(path), e))?;
    if trusted.is_empty() {
        return Err(unusable(path, "contains no certificate; PEM is expected"));
    }
    Ok(trusted)
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    let cannot = |error| unusable(path, &format!("cannot be read: {error}"));
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(unusable(path, "is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            file.take(ROOT_CERT_FILE_MAX_BYTES + 1)
                .read_to_end(&mut bytes)
        })
        .map_err(cannot)?;
    if bytes.len() as u64 > ROOT_CERT_FILE_MAX_BYTES {
        let reason = format!("it is larger than {ROOT_CERT_FILE_MAX_BYTES} bytes");
        return Err(malformed(Some(path), reason));
    }
    Ok(bytes)
}
