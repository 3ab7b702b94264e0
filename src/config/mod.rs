//! The configuration: the only module that reads the environment.
//!
//! Everything is read at once and every error is reported together; nothing that is shown, here or
//! in an error, holds a secret. It knows what settings mean, not what is done with them. Unknown
//! variables are not an error: an environment is shared.

mod api_keys;
mod database;
mod environment;
mod owner;
mod reader;
mod residency;
mod secret;
mod settings;
#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::payment::Currency;
use reader::Reader;
use settings as s;

pub use api_keys::ApiKeys;
pub use database::{DatabaseTarget, SslMode, StatementMode};
pub use environment::{ConfigError, ConfigErrors, Environment, ProcessEnvironment};
pub use owner::{OwnerConfig, owner_target};
pub use residency::UNKNOWN_REGION;
pub use secret::{Secret, SecretSource};
pub use settings::{Accepts, SETTINGS, Setting, markdown_table};

/// The stage when `ENVIRONMENT` is not set.
const DEFAULT_ENVIRONMENT: &str = "dev";
/// Currencies of the regions that the service runs in; elsewhere it is the euro.
const REGION_CURRENCIES: [(&str, Currency); 2] =
    [("eu-south-2", Currency::EUR), ("us-east-1", Currency::MXN)];

/// What `serve` runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The AWS region's name, or [`UNKNOWN_REGION`].
    pub region: String,
    /// The stage, such as `production`.
    pub environment: String,
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The currency of a payment that names none.
    pub default_currency: Currency,
    /// Open connections of callers.
    pub max_connections: usize,
    /// Time between the first signal and the listener's close.
    pub drain: Duration,
    /// Time from the end of a payment's simulated processing to its answer.
    pub payment_deadline: Duration,
    /// Bounds towards the database.
    pub pool: PoolSettings,
    /// Whether every request writes a line to the log.
    pub log_requests: bool,
    /// The database as it was at the time of reading.
    pub database: DatabaseTarget,
    /// Where to look for a changed database URL.
    pub database_source: SecretSource,
    /// The API keys as they were at the time of reading.
    pub api_keys: ApiKeys,
    /// Where to look for changed API keys.
    pub api_keys_source: SecretSource,
    /// What is valid but should be changed; each begins with its variable's name.
    pub warnings: Vec<String>,
    in_force: Vec<(&'static str, String)>,
}

/// Bounds towards the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Connections.
    pub size: usize,
    /// Payments that may wait for a connection.
    pub waiters_max: usize,
    /// Payments in one exchange, when several wait.
    pub batch_max: usize,
    /// How long one may wait; at most the deadline.
    pub checkout_timeout: Duration,
    /// How long one exchange may take; at most the deadline.
    pub exchange_timeout: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// When a connection is replaced, before jitter.
    pub connection_lifetime: Duration,
    /// When an idle connection is validated.
    pub idle_probe_interval: Duration,
    /// Whether statements are prepared once for each connection.
    pub statement_mode: StatementMode,
}

impl Config {
    /// Reads the configuration of `serve`.
    ///
    /// # Errors
    /// All errors at once, none of them holding a secret.
    pub fn from_environment(environment: &dyn Environment) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(environment);
        let read = Self::read(&mut reader);
        reader.finish(read)
    }

    /// Appends every setting in force, one `NAME=value` a line, secrets masked; a secret that comes
    /// from a file is followed by the file's name.
    pub fn describe(&self, out: &mut String) {
        write_lines(&self.in_force, out);
    }

    /// Reads in the order of [`SETTINGS`]; gives up only at the end, so that no error hides
    /// another.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut warnings = Vec::new();
        let region = read_region(reader, &mut warnings);
        let environment = read_stage(reader, &mut warnings);
        let database = reader.database(&s::DATABASE_URL, &s::DATABASE_URL_FILE, &region);
        let api_keys = reader.secret(&s::API_SECRET_KEY, &s::API_SECRET_KEY_FILE, |secret| {
            ApiKeys::parse(secret.expose())
        });
        let listen = read_listen(reader);
        let default_currency = read_currency(reader, &region);
        let (payment_deadline, pool) = read_bounds(reader);
        let max_connections = count(reader.number(&s::MAX_CONNECTIONS));
        let drain = Duration::from_millis(reader.number(&s::DRAIN_MS));
        let log_requests = reader.word(&s::LOG_REQUESTS) == "true";
        let (database, database_source) = database?;
        let (api_keys, api_keys_source) = api_keys?;
        warn_of_database(&database, &database_source, &pool, &mut warnings);
        Some(Self {
            region,
            environment,
            listen: listen?,
            default_currency,
            max_connections,
            drain,
            payment_deadline,
            pool,
            log_requests,
            database,
            database_source,
            api_keys,
            api_keys_source,
            warnings,
            in_force: reader.in_force(),
        })
    }
}

/// Where `serve` is reached from its own machine: at the address that it listens on, or at the
/// loopback's when it listens on all.
///
/// # Errors
/// What is wrong with the two settings.
pub fn own_address(environment: &dyn Environment) -> Result<SocketAddr, ConfigErrors> {
    let mut reader = Reader::new(environment);
    let listen = read_listen(&mut reader);
    let mut address = reader.finish(listen)?;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

/// What `check-config` prints: every setting in force, the owner's as well where they are set, and
/// the warnings.
///
/// # Errors
/// The errors of all verbs' configurations at once.
pub fn check(environment: &dyn Environment) -> Result<String, ConfigErrors> {
    let config = Config::from_environment(environment);
    let has_owner =
        Reader::new(environment).is_set(&s::MIGRATE_DATABASE_URL, &s::MIGRATE_DATABASE_URL_FILE);
    let owner = has_owner.then(|| owner_target(environment)).transpose();
    match (config, owner) {
        (Ok(config), Ok(owner)) => {
            let mut text = String::new();
            config.describe(&mut text);
            let mut warnings = config.warnings;
            if let Some(owner) = owner {
                owner.describe(&mut text);
                warnings.extend(owner.warning());
            }
            for warning in &warnings {
                text.push_str(&format!("warning: {warning}\n"));
            }
            Ok(text)
        }
        (config, owner) => {
            let mut errors = config.err().unwrap_or_default().0;
            for error in owner.err().unwrap_or_default().0 {
                if !errors.contains(&error) {
                    errors.push(error);
                }
            }
            Err(ConfigErrors(errors))
        }
    }
}

fn read_region(reader: &mut Reader<'_>, warnings: &mut Vec<String>) -> String {
    let region = reader.name(&s::REGION).unwrap_or_else(|| {
        warnings.push(format!(
            "REGION is not set: payments are recorded in region {UNKNOWN_REGION}, and a database \
             in any region is accepted"
        ));
        UNKNOWN_REGION.to_owned()
    });
    reader.note(s::REGION.variable, &region);
    region
}

fn read_stage(reader: &mut Reader<'_>, warnings: &mut Vec<String>) -> String {
    let stage = reader.name(&s::ENVIRONMENT).unwrap_or_else(|| {
        warnings.push(format!(
            "ENVIRONMENT is not set: using {DEFAULT_ENVIRONMENT}"
        ));
        DEFAULT_ENVIRONMENT.to_owned()
    });
    reader.note(s::ENVIRONMENT.variable, &stage);
    stage
}

fn read_listen(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let address = reader.address(&s::LISTEN_ADDRESS, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let port = u16::try_from(reader.number(&s::PORT)).ok()?;
    Some(SocketAddr::new(address, port))
}

fn read_currency(reader: &mut Reader<'_>, region: &str) -> Currency {
    let of_region = REGION_CURRENCIES
        .iter()
        .find_map(|(name, currency)| (*name == region).then_some(*currency))
        .unwrap_or(Currency::EUR);
    let variable = s::DEFAULT_CURRENCY.variable;
    let currency = match reader.text(variable).map(|code| Currency::parse(&code)) {
        None => of_region,
        Some(Ok(currency)) => currency,
        Some(Err(error)) => {
            reader.error(variable, error.to_string());
            of_region
        }
    };
    reader.note(variable, &currency);
    currency
}

/// The payments' deadline, and the pool's bounds.
fn read_bounds(reader: &mut Reader<'_>) -> (Duration, PoolSettings) {
    let deadline_ms = reader.number(&s::PAYMENT_DEADLINE_MS);
    let within_deadline = |reader: &mut Reader<'_>, setting| {
        let value = reader.number_below(setting, deadline_ms, &s::PAYMENT_DEADLINE_MS);
        Duration::from_millis(value)
    };
    let pool = PoolSettings {
        checkout_timeout: within_deadline(reader, &s::CHECKOUT_TIMEOUT_MS),
        exchange_timeout: within_deadline(reader, &s::EXCHANGE_TIMEOUT_MS),
        waiters_max: count(reader.number(&s::WAITERS_MAX)),
        batch_max: count(reader.number(&s::BATCH_MAX)),
        size: count(reader.number(&s::POOL_SIZE)),
        connect_timeout: Duration::from_millis(reader.number(&s::CONNECT_TIMEOUT_MS)),
        connection_lifetime: Duration::from_secs(reader.number(&s::CONNECTION_LIFETIME_S)),
        idle_probe_interval: Duration::from_millis(reader.number(&s::IDLE_PROBE_INTERVAL_MS)),
        statement_mode: StatementMode::from_name(reader.word(&s::STATEMENT_MODE))
            .unwrap_or(StatementMode::Unnamed),
    };
    (Duration::from_millis(deadline_ms), pool)
}

fn warn_of_database(
    database: &DatabaseTarget,
    source: &SecretSource,
    pool: &PoolSettings,
    warnings: &mut Vec<String>,
) {
    if let Some(warning) = database.warning() {
        warnings.push(format!("{}: {warning}", source.variable()));
    }
    if pool.statement_mode == StatementMode::Named && database.is_rds_proxy() {
        warnings.push(
            "STATEMENT_MODE is named, but the database is an RDS Proxy, which pins sessions that \
             prepare statements; use unnamed"
                .to_owned(),
        );
    }
}

/// Every bound fits: the platform's `usize` has 32 bits at least, and `limits` stays below that.
fn count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn write_lines(settings: &[(&'static str, String)], out: &mut String) {
    for (variable, value) in settings {
        out.push_str(variable);
        out.push('=');
        out.push_str(value);
        out.push('\n');
    }
}
