//! What the command line says.

use lexopt::prelude::{Long, Short, Value, ValueExt};
use payment_latency_api::limits::{PRUNE_AGE_HOURS, PRUNE_BATCH_COUNT};
use payment_latency_api::{probe, prune};
use std::fmt;
use std::time::Duration;

/// One of the verbs.
#[derive(Debug)]
pub(crate) enum Command {
    Serve,
    Migrate,
    Prune(PruneOptions),
    Probe(Box<probe::Options>),
    ProbeHelp,
    CheckConfig,
    Version,
    Help,
}

/// What `prune` removes, and how much at a time.
#[derive(Debug)]
pub(crate) struct PruneOptions {
    pub(crate) older_than: Duration,
    pub(crate) batch: u64,
}

/// The command line makes no sense.
#[derive(Debug)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

pub(crate) const HELP: &str = "\
payment-latency-api: simulates payments, one durable PostgreSQL write for each

Usage: payment-latency-api [VERB]

Verbs:
  serve          answers requests until SIGTERM or SIGINT (default)
  migrate        creates or updates the schema, the application's role and its login
  prune          removes old payments: prune [--older-than 90d] [--batch 100]
  probe URL      checks a URL; with --rate, measures its latency (probe --help)
  check-config   prints the configuration that would be in force, secrets masked

Options:
  --version      prints the version
  --help         prints this text

Everything else is set by environment variables: see docs/APPLICATION.md.
Exit codes: 0 done, 1 failed, 64 wrong command line, 78 wrong configuration.";

/// Reads the command line.
pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let command = match parser.next()? {
        None => Command::Serve,
        Some(Long("version") | Short('V')) => Command::Version,
        Some(Long("help") | Short('h')) => Command::Help,
        Some(Value(verb)) => match verb.to_str() {
            Some("serve") => Command::Serve,
            Some("migrate") => Command::Migrate,
            Some("prune") => return prune(parser),
            Some("probe") => return probe(parser),
            Some("check-config") => Command::CheckConfig,
            Some("help") => Command::Help,
            _ => return Err(UsageError(format!("unknown verb {verb:?}"))),
        },
        Some(other) => return Err(other.unexpected().into()),
    };
    match parser.next()? {
        None => Ok(command),
        Some(Long("help") | Short('h')) => Ok(Command::Help),
        Some(other) => Err(other.unexpected().into()),
    }
}

fn probe(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    match probe::Options::parse(&mut parser) {
        Ok(Some(options)) => Ok(Command::Probe(Box::new(options))),
        Ok(None) => Ok(Command::ProbeHelp),
        Err(error) => Err(UsageError(error.to_string())),
    }
}

fn prune(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let mut options = PruneOptions {
        older_than: Duration::from_hours(PRUNE_AGE_HOURS.default),
        batch: PRUNE_BATCH_COUNT.default,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("older-than") => {
                let age = parser.value()?;
                options.older_than = prune::parse_age(&age.to_string_lossy())
                    .map_err(|problem| UsageError(format!("--older-than: {problem}")))?;
            }
            Long("batch") => {
                let (min, max) = (PRUNE_BATCH_COUNT.min, PRUNE_BATCH_COUNT.max);
                let batch = parser.value()?.parse().ok();
                options.batch = batch.filter(|b| (min..=max).contains(b)).ok_or_else(|| {
                    UsageError(format!(
                        "--batch: must be a whole number from {min} to {max}"
                    ))
                })?;
            }
            Long("help") | Short('h') => return Ok(Command::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Prune(options))
}
