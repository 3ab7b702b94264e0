//! docs/HTTP-CONFORMANCE.md names, for every requirement, the tests that show it is met. This checks that
//! all of them exist.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    unreachable_pub,
    reason = "a failure here is the test's failure"
)]

#[path = "support/framing_cases.rs"]
mod framing_cases;

use std::collections::HashSet;
use std::path::Path;

const DOCUMENT: &str = include_str!("../docs/HTTP-CONFORMANCE.md");

/// Names of all functions marked as tests in the Rust files below `folder`.
fn tests_in(folder: &Path, names: &mut HashSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_in(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            for code in text.split("#[test]").skip(1) {
                let name = code.split_once("fn ").unwrap().1.split('(').next();
                names.insert(name.unwrap().to_owned());
            }
        }
    }
}

/// Cells of the table rows that have five: section, level, requirement, how it is met, what shows it.
fn requirements() -> Vec<Vec<&'static str>> {
    let rows = DOCUMENT.lines().filter_map(|line| {
        let cells: Vec<&str> = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split(" | ")
            .collect();
        (cells.len() == 5 && cells[0].starts_with(|c: char| c.is_ascii_digit())).then_some(cells)
    });
    rows.collect()
}

fn in_quotes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_families_of_smuggling_name_cases_that_exist() {
    let known: HashSet<&str> = framing_cases::cases()
        .iter()
        .map(|case| case.name)
        .collect();
    // A whole group is a function of the table.
    let groups = include_str!("support/framing_cases.rs");
    let (_, section) = DOCUMENT.split_once("\n## Request smuggling\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let requests = section.lines().filter_map(|line| line.split('|').nth(2));
    let names: Vec<&str> = requests.flat_map(in_quotes).collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let is_group = groups.contains(&format!("\nfn {name}() -> Vec<Case> {{"));
        let is_header = name == "Expect";
        assert!(known.contains(name) || is_group || is_header, "{name:?}");
    }
}

#[test]
fn the_comparison_is_of_all_cases_of_today() {
    let cases = framing_cases::cases().len();
    let counted = format!("\n{cases} requests: ");
    assert!(DOCUMENT.contains(&counted), "make http-compare: {cases}");
}

#[test]
fn cases_have_names_of_their_own() {
    let mut names = HashSet::new();
    for case in framing_cases::cases() {
        assert!(
            names.insert(case.name),
            "two cases have the name {:?}",
            case.name
        );
    }
}

#[test]
fn every_requirement_names_tests_or_cases_that_exist() {
    let mut known: HashSet<String> = framing_cases::cases()
        .iter()
        .map(|case| case.name.to_owned())
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests"] {
        tests_in(&root.join(folder), &mut known);
    }
    let requirements = requirements();
    for cells in &requirements {
        assert!(["MUST", "SHOULD"].contains(&cells[1]), "{cells:?}");
        let shown: Vec<&str> = in_quotes(cells[4]).collect();
        // What a server never sends cannot be tested; then the row says so.
        assert!(!shown.is_empty() || cells[4] == "(not sent)", "{cells:?}");
        for name in shown {
            assert!(
                known.contains(name),
                "{name:?} of section {} does not exist",
                cells[0]
            );
        }
    }
    assert!(
        requirements.len() > 60,
        "{}: the search for them failed",
        requirements.len()
    );
}
