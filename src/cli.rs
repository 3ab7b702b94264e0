//! What the command line says.

use lexopt::Error;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use payment_latency_api::config::{self, ProcessEnvironment};
use payment_latency_api::limits::{PRUNE_AGE_HOURS, PRUNE_BATCH_COUNT};
use payment_latency_api::{probe, prune};
use std::time::Duration;

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

pub(crate) const HELP: &str = "\
payment-latency-api: simulates payments, one durable PostgreSQL write for each

Usage: payment-latency-api [VERB]

Verbs:
  serve          answers requests until SIGTERM or SIGINT (default)
  migrate        creates or updates the schema, the application's role and its login
  prune          removes old payments: prune [--older-than 90d] [--batch 100]
  probe URL      checks a URL; with --rate, measures its latency (probe --help)
  check-config   prints the configuration that would be in force, with secrets masked

Options:
  --version      prints the version
  --help         prints this text

Everything else is set by environment variables: see docs/APPLICATION.md.
Exit codes: 0 success, 1 failure, 64 usage error, 78 configuration error;
130 or 143 where SIGINT or SIGTERM ended migrate, prune or probe.";

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, Error> {
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
            _ => return Err(format!("unknown verb {verb:?}").into()),
        },
        Some(other) => return Err(other.unexpected()),
    };
    match parser.next()? {
        None => Ok(command),
        Some(Long("help") | Short('h')) => Ok(Command::Help),
        Some(other) => Err(other.unexpected()),
    }
}

fn probe(mut parser: lexopt::Parser) -> Result<Command, Error> {
    let own_address =
        || config::own_address(&ProcessEnvironment).map_err(|errors| errors.to_string().into());
    Ok(match probe::Options::parse(&mut parser, own_address)? {
        Some(options) => Command::Probe(Box::new(options)),
        None => Command::ProbeHelp,
    })
}

fn prune(mut parser: lexopt::Parser) -> Result<Command, Error> {
    let mut options = PruneOptions {
        older_than: Duration::from_hours(PRUNE_AGE_HOURS.default),
        batch: PRUNE_BATCH_COUNT.default,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("older-than") => {
                let age = parser.value()?;
                options.older_than = prune::parse_age(&age.to_string_lossy())
                    .map_err(|problem| format!("--older-than: {problem}"))?;
            }
            Long("batch") => {
                let (min, max) = (PRUNE_BATCH_COUNT.min, PRUNE_BATCH_COUNT.max);
                let batch = parser.value()?.parse().ok();
                options.batch = batch.filter(|b| (min..=max).contains(b)).ok_or_else(|| {
                    format!("--batch: must be a whole number from {min} to {max}")
                })?;
            }
            Long("help") | Short('h') => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Command::Prune(options))
}
