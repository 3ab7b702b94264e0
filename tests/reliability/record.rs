//! Figures for docs/reliability/results.json, when a run is asked to record them.

use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Mutex;

/// Writes `figures` under `section` and `name` into the file that `RELIABILITY_RECORD` names, if it is set.
pub fn record(section: &str, name: &str, figures: Value) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    eprintln!("{section} {name}: {figures}");
    let Some(path) = std::env::var_os("RELIABILITY_RECORD") else {
        return;
    };
    let path = Path::new(&path);
    let _one = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let text = std::fs::read_to_string(path).unwrap_or_else(|_| "{}".to_owned());
    let mut results: Map<String, Value> = serde_json::from_str(&text).expect("the record is JSON");
    let section = results
        .entry(section)
        .or_insert_with(|| Value::Object(Map::new()));
    section[name] = figures;
    let text = serde_json::to_string_pretty(&results).unwrap();
    std::fs::write(path, text + "\n").unwrap();
}

/// A number from the environment: how long or how often a full run does what a test does briefly.
pub fn asked_for(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a whole number, not {text}")),
    )
}

/// To one decimal.
pub fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
