//! The table of settings in the documentation is the one that the service uses.
//!
//! With `UPDATE_DOCS=1` in the environment, the file is updated instead.

#![allow(clippy::unwrap_used)]

use payment_latency_api::config;
use std::path::Path;

const BEGIN: &str = "<!-- settings:begin -->\n";
const END: &str = "<!-- settings:end -->";

#[test]
fn the_documented_settings_are_those_in_force() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/APPLICATION.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (documented, after) = rest.split_once(END).unwrap();
    let expected = format!("\n{}\n", config::markdown_table());
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        documented, expected,
        "the table in docs/APPLICATION.md differs; UPDATE_DOCS=1 cargo test --test settings_documented rewrites it"
    );
}

#[test]
fn every_setting_is_documented_once_and_in_full() {
    let table = config::markdown_table();
    for setting in &config::SETTINGS {
        let begin = format!("| `{}` | ", setting.variable);
        let rows: Vec<_> = table
            .lines()
            .filter(|line| line.starts_with(&begin))
            .collect();
        assert_eq!(rows.len(), 1, "{}", setting.variable);
        assert!(
            rows.iter()
                .all(|row| row.ends_with(". |") && row.matches('|').count() == 5),
            "{rows:?}"
        );
    }
}
