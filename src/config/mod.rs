//! Stub replaced at merge.
use std::{path::PathBuf, sync::Arc, time::Duration};
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementMode {
    Unnamed,
    Named,
}
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);
impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseTarget {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<Secret>,
    pub database: String,
    pub ssl_mode: SslMode,
    pub ssl_root_cert: Option<PathBuf>,
    pub application_name: String,
}
pub struct PoolSettings {
    pub size: usize,
    pub waiters_max: usize,
    pub checkout_timeout: Duration,
    pub exchange_timeout: Duration,
    pub connect_timeout: Duration,
    pub connection_lifetime: Duration,
    pub idle_probe_interval: Duration,
    pub statement_mode: StatementMode,
}
pub struct HttpSettings {
    pub max_connections: usize,
    pub drain: Duration,
}
pub struct PaymentSettings {
    pub deadline: Duration,
}
pub type T = Arc<DatabaseTarget>;
