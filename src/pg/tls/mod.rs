//! Stub replaced at merge.
use crate::config::SslMode;
use std::{path::Path, sync::Arc};
#[derive(Debug)]
pub struct TlsConfigError;
impl std::fmt::Display for TlsConfigError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
pub fn client_config(
    _: SslMode,
    _: Option<&Path>,
) -> Result<Arc<rustls::ClientConfig>, TlsConfigError> {
    Err(TlsConfigError)
}
pub fn server_end_point(_: &rustls::pki_types::CertificateDer<'_>) -> Option<Vec<u8>> {
    None
}
