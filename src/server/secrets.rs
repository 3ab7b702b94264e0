//! Watches the files that secrets come from, and puts new contents in force without a restart.
//!
//! A thread reads them, since a file may block. Contents are compared, not times: a Kubernetes
//! volume swaps a symbolic link.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

use crate::config::{ApiKeys, Config, DatabaseTarget, Secret, SecretSource};
use crate::handlers::App;
use crate::limits::SECRET_POLL_INTERVAL_MS;
use crate::log;
use crate::pool::Credentials;

enum Change {
    Database(Box<DatabaseTarget>),
    ApiKeys(ApiKeys),
    /// What is in the file cannot be used.
    Failed {
        variable: &'static str,
        reason: String,
    },
    /// It has not changed since its failure was told.
    StillFailed,
}

/// Starts watching, if any secret is in a file.
pub(super) fn watch(config: &Config, app: Rc<App>, credentials: Credentials) -> io::Result<()> {
    let region = config.region.clone();
    let database = Watched::new(&config.database_source, |url| {
        DatabaseTarget::parse(url, &region).is_ok_and(|target| target == config.database)
    });
    let api_keys = Watched::new(&config.api_keys_source, |text| {
        ApiKeys::parse(text).is_ok_and(|keys| keys == config.api_keys)
    });
    if database.is_none() && api_keys.is_none() {
        return Ok(());
    }
    let (changes, received) = mpsc::channel(1);
    std::thread::Builder::new()
        .name("secrets".into())
        .spawn(move || poll(database, api_keys, &region, &changes))?;
    tokio::task::spawn_local(apply(received, app, credentials));
    Ok(())
}

/// A file and what was last found in it.
struct Watched {
    source: SecretSource,
    last: Result<Secret, String>,
    failed: bool,
}

impl Watched {
    /// Begins with what is `in_force`: content that has changed since that was read is new.
    fn new(source: &SecretSource, in_force: impl Fn(&str) -> bool) -> Option<Self> {
        source.is_file().then(|| Self {
            // A file that cannot be read now is not in force either: the first look reports it.
            last: match source.read() {
                Ok(secret) if in_force(secret.expose()) => Ok(secret),
                _ => Err(String::new()),
            },
            source: source.clone(),
            failed: false,
        })
    }

    /// What is in the file, if it is not what was there before.
    fn changed(&mut self) -> Option<Result<Secret, String>> {
        let now = self.source.read();
        if now == self.last {
            return None;
        }
        self.last = now.clone();
        Some(now)
    }
}

/// Runs until nobody listens any more.
fn poll(
    mut database: Option<Watched>,
    mut api_keys: Option<Watched>,
    region: &str,
    changes: &mpsc::Sender<Change>,
) {
    let look = |watched: &mut Option<Watched>, read: &dyn Fn(&str) -> Result<Change, String>| {
        let watched = watched.as_mut()?;
        let Some(found) = watched.changed() else {
            return watched.failed.then_some(Change::StillFailed);
        };
        let change = found.and_then(|secret| read(secret.expose()));
        watched.failed = change.is_err();
        Some(change.unwrap_or_else(|reason| Change::Failed {
            variable: watched.source.variable(),
            reason,
        }))
    };
    while !changes.is_closed() {
        std::thread::sleep(Duration::from_millis(SECRET_POLL_INTERVAL_MS));
        let keys = look(&mut api_keys, &|text| {
            ApiKeys::parse(text).map(Change::ApiKeys)
        });
        let target = look(&mut database, &|url| {
            DatabaseTarget::parse(url, region).map(|target| Change::Database(Box::new(target)))
        });
        for change in keys.into_iter().chain(target) {
            let _ = changes.blocking_send(change);
        }
    }
}

async fn apply(mut changes: mpsc::Receiver<Change>, app: Rc<App>, credentials: Credentials) {
    let counters = &app.metrics().secrets;
    let mut known = credentials.current();
    while let Some(change) = changes.recv().await {
        match change {
            Change::ApiKeys(keys) => {
                let count = keys.count();
                app.replace_api_keys(keys);
                counters.api_key_reloads.increment();
                log::info("api_keys_reloaded").field("keys", &count).emit();
            }
            Change::Database(target) => {
                let former = std::mem::replace(&mut known, Arc::from(target));
                credentials.replace(known.clone());
                match known.leads_where(&former) {
                    true => app.pool().credentials_changed(),
                    false => app.pool().database_changed(),
                }
                counters.database_reloads.increment();
                log::info("database_credentials_reloaded").emit();
            }
            Change::Failed { variable, reason } => {
                counters.failures.increment();
                log::warn("secret_reload_failed")
                    .field("variable", variable)
                    .field("reason", &reason)
                    .emit();
            }
            Change::StillFailed => counters.failures.increment(),
        }
    }
}
