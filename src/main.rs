//! The command line: one small verb each.
#![forbid(unsafe_code)]

mod cli;

use payment_latency_api::config::{self, Config, ConfigErrors, OwnerConfig, ProcessEnvironment};
use payment_latency_api::metrics::Build;
use payment_latency_api::{log, migrate, probe, prune, server};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::io::Write;
use std::process::ExitCode;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};

use cli::{Command, PruneOptions};

#[cfg(not(feature = "system-allocator"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// sysexits(3): the command line was used wrongly.
const EX_USAGE: u8 = 64;
/// sysexits(3): something is misconfigured.
const EX_CONFIG: u8 = 78;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const REVISION: &str = match option_env!("GIT_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
const BUILD_TIMESTAMP: &str = match option_env!("BUILD_TIMESTAMP") {
    Some(timestamp) => timestamp,
    None => "unknown",
};

fn main() -> ExitCode {
    // Every verb holds secrets: no core dump, and memory and environment closed to other processes of
    // the same user (prctl(2)). It cannot fail on Linux, and nothing depends on it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    match cli::parse(lexopt::Parser::from_env()) {
        Err(usage) => {
            complain(&format!("{usage}\nTry `payment-latency-api --help`."));
            ExitCode::from(EX_USAGE)
        }
        Ok(Command::Help) => say(cli::HELP),
        Ok(Command::Version) => say(&format!("payment-latency-api {VERSION} ({REVISION})")),
        Ok(Command::CheckConfig) => match config::check(&ProcessEnvironment) {
            Ok(text) => say(text.trim_end()),
            Err(errors) => misconfigured(&errors),
        },
        Ok(Command::Serve) => match Config::from_environment(&ProcessEnvironment) {
            Ok(config) => serve(config),
            Err(errors) => misconfigured(&errors),
        },
        Ok(Command::Migrate) => as_owner(run_migrate),
        Ok(Command::ProbeHelp) => say(probe::HELP),
        Ok(Command::Probe(options)) => {
            end_on_signal();
            let verdict = probe::run(&options);
            match (say(&verdict.text), verdict.passed) {
                (ExitCode::SUCCESS, true) => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Ok(Command::Prune(options)) => as_owner(|owner| run_prune(owner, &options)),
    }
}

/// Ends the process at SIGTERM or SIGINT, with the code that a shell gives: the first process of a
/// container receives them only if it handles them. PostgreSQL rolls back an open transaction.
/// Where no thread can be had, the signals keep their default action.
fn end_on_signal() {
    let wait = async || -> std::io::Result<i32> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(tokio::select! {
            _ = terminate.recv() => 128 + SignalKind::terminate().as_raw_value(),
            _ = interrupt.recv() => 128 + SignalKind::interrupt().as_raw_value(),
        })
    };
    let _ = std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let runtime = Builder::new_current_thread().enable_io().build();
            if let Ok(code) = runtime.and_then(|runtime| runtime.block_on(wait())) {
                std::process::exit(code);
            }
        });
}

/// Runs a verb that acts as the schema's owner.
fn as_owner(verb: impl FnOnce(&OwnerConfig) -> ExitCode) -> ExitCode {
    end_on_signal();
    match config::owner_target(&ProcessEnvironment) {
        Err(errors) => misconfigured(&errors),
        Ok(owner) => {
            if let Some(warning) = owner.warning() {
                log::warn("configuration").field("message", &warning).emit();
            }
            verb(&owner)
        }
    }
}

fn run_migrate(config: &OwnerConfig) -> ExitCode {
    match migrate::run(&config.owner, config.application.as_ref()) {
        Err(error) => failed("migrate", &error),
        Ok(report) => {
            for step in &report.steps {
                log::info("migrate").field("step", step).emit();
            }
            log::info("migrated")
                .field("schema", &report.schema)
                .field("steps", &report.steps.len())
                .emit();
            ExitCode::SUCCESS
        }
    }
}

fn run_prune(config: &OwnerConfig, options: &PruneOptions) -> ExitCode {
    let progress = |removed| log::info("prune").field("removed", &removed).emit();
    match prune::run(&config.owner, options.older_than, options.batch, progress) {
        Err(error) => failed("prune", &error),
        Ok(removed) => {
            log::info("pruned").field("removed", &removed).emit();
            ExitCode::SUCCESS
        }
    }
}

fn serve(config: Config) -> ExitCode {
    if let Err(error) = log::start() {
        return failed("serve", &error);
    }
    for warning in &config.warnings {
        log::warn("configuration").field("message", warning).emit();
    }
    let build = Build {
        version: VERSION,
        revision: REVISION,
        timestamp: BUILD_TIMESTAMP,
        region: config.region.clone(),
        environment: config.environment.clone(),
    };
    // Everything runs on this one thread: what the tasks share needs no lock.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    let result = runtime.and_then(|runtime| {
        let result = runtime.block_on(server::run(config, build));
        runtime.shutdown_background();
        result
    });
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed("serve", &error),
    };
    log::flush();
    code
}

fn failed(verb: &str, error: &dyn std::error::Error) -> ExitCode {
    log::error("failed")
        .field("verb", verb)
        .field("reason", &error.to_string())
        .emit();
    ExitCode::FAILURE
}

fn misconfigured(errors: &ConfigErrors) -> ExitCode {
    complain(&errors.to_string());
    ExitCode::from(EX_CONFIG)
}

fn say(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
