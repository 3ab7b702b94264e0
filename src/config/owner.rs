//! The configuration of `migrate` and `prune`, which act as the schema's owner.

use super::database::DatabaseTarget;
use super::environment::{ConfigErrors, Environment};
use super::reader::Reader;
use super::settings::{
    DATABASE_URL, DATABASE_URL_FILE, MIGRATE_DATABASE_URL, MIGRATE_DATABASE_URL_FILE, REGION,
};
use super::{UNKNOWN_REGION, write_lines};

/// As which role to change the schema, and for which application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerConfig {
    /// The owner: `MIGRATE_DATABASE_URL`, or else `DATABASE_URL`.
    pub owner: DatabaseTarget,
    /// The application's target, when `DATABASE_URL` is set as well and is another one: its login
    /// is made if it is missing.
    pub application: Option<DatabaseTarget>,
    owner_variable: &'static str,
    in_force: Vec<(&'static str, String)>,
}

impl OwnerConfig {
    /// What should be changed about the owner's target.
    pub fn warning(&self) -> Option<String> {
        let warning = self.owner.warning()?;
        Some(format!("{}: {warning}", self.owner_variable))
    }

    /// Appends the settings in force that are the owner's alone, one `NAME=value` a line, secrets masked.
    pub(super) fn describe(&self, out: &mut String) {
        let variables = [&MIGRATE_DATABASE_URL, &MIGRATE_DATABASE_URL_FILE].map(|s| s.variable);
        for line in &self.in_force {
            if variables.contains(&line.0) {
                write_lines(std::slice::from_ref(line), out);
            }
        }
    }
}

/// Reads the owner's target, and the application's, from the environment.
///
/// # Errors
/// All errors at once.
pub fn owner_target(environment: &dyn Environment) -> Result<OwnerConfig, ConfigErrors> {
    let mut reader = Reader::new(environment);
    let read = read(&mut reader);
    reader.finish(read)
}

fn read(reader: &mut Reader<'_>) -> Option<OwnerConfig> {
    let region = reader.name(&REGION);
    let region = region.unwrap_or_else(|| UNKNOWN_REGION.to_owned());
    let owner_is_set = reader.is_set(&MIGRATE_DATABASE_URL, &MIGRATE_DATABASE_URL_FILE);
    let application_is_set = reader.is_set(&DATABASE_URL, &DATABASE_URL_FILE);
    if !owner_is_set && !application_is_set {
        let problem = "is not set; set it or DATABASE_URL, or the _FILE variable of either";
        reader.error(MIGRATE_DATABASE_URL.variable, problem);
        return None;
    }
    // Both are read before either is given up on, so that the errors of both are reported.
    let application =
        application_is_set.then(|| reader.database(&DATABASE_URL, &DATABASE_URL_FILE, &region));
    let owner = owner_is_set
        .then(|| reader.database(&MIGRATE_DATABASE_URL, &MIGRATE_DATABASE_URL_FILE, &region));
    let application = match application {
        Some(read) => Some(read?),
        None => None,
    };
    let (owner, source) = match owner {
        Some(read) => read?,
        None => application.clone()?,
    };
    Some(OwnerConfig {
        application: application
            .map(|(target, _)| target)
            .filter(|target| *target != owner),
        owner_variable: source.variable(),
        owner,
        in_force: reader.in_force(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::test_support::{ScratchFile, environment};

    const APPLICATION: &str = "postgres://app:pw-a@db.example.com/payments?sslmode=verify-full";
    const OWNER: &str = "postgres://owner:pw-o@db.example.com/payments?sslmode=verify-full";

    #[test]
    fn the_owner_falls_back_to_the_application() {
        for (variables, owner, application) in [
            (vec![("DATABASE_URL", APPLICATION)], "app", None),
            (vec![("MIGRATE_DATABASE_URL", OWNER)], "owner", None),
            (
                vec![
                    ("DATABASE_URL", APPLICATION),
                    ("MIGRATE_DATABASE_URL", OWNER),
                ],
                "owner",
                Some("app"),
            ),
            (
                vec![("DATABASE_URL", OWNER), ("MIGRATE_DATABASE_URL", OWNER)],
                "owner",
                None,
            ),
        ] {
            let config = owner_target(&environment(&variables)).unwrap();
            assert_eq!(config.owner.user, owner, "{variables:?}");
            let user = config
                .application
                .as_ref()
                .map(|target| target.user.as_str());
            assert_eq!(user, application, "{variables:?}");
            let mut text = String::new();
            config.describe(&mut text);
            let own = variables
                .iter()
                .filter(|(name, _)| name.starts_with("MIGRATE"));
            assert_eq!(text.lines().count(), own.count());
            assert!(
                !text.contains("pw-") && !format!("{config:?}").contains("pw-"),
                "{text}"
            );
        }
    }

    #[test]
    fn either_may_come_from_a_file() {
        let file = ScratchFile::new(format!("{OWNER}\n").as_bytes());
        let path = file.path().to_str().unwrap();
        let variables = [
            ("DATABASE_URL", APPLICATION),
            ("MIGRATE_DATABASE_URL_FILE", path),
        ];
        let config = owner_target(&environment(&variables)).unwrap();
        assert_eq!(config.owner.user, "owner");
        let mut text = String::new();
        config.describe(&mut text);
        assert!(
            text.ends_with(&format!("\nMIGRATE_DATABASE_URL_FILE={path}\n")),
            "{text}"
        );
    }

    #[test]
    fn the_mistakes_of_both_are_reported() {
        for (variables, expected) in [
            (
                vec![],
                vec!["MIGRATE_DATABASE_URL: is not set; set it or DATABASE_URL"],
            ),
            (
                vec![("DATABASE_URL", ""), ("MIGRATE_DATABASE_URL", "x")],
                vec![
                    "DATABASE_URL: is set but empty",
                    "MIGRATE_DATABASE_URL: is not a PostgreSQL URL",
                ],
            ),
            (
                vec![
                    ("MIGRATE_DATABASE_URL", OWNER),
                    ("MIGRATE_DATABASE_URL_FILE", "x"),
                ],
                vec!["MIGRATE_DATABASE_URL: is set together with MIGRATE_DATABASE_URL_FILE"],
            ),
            (
                vec![
                    ("REGION", "eu-south-2"),
                    (
                        "MIGRATE_DATABASE_URL",
                        "postgres://o:pw@us-east-1.example.com/payments",
                    ),
                ],
                vec!["MIGRATE_DATABASE_URL: the host is in the AWS region us-east-1"],
            ),
        ] {
            let shown = owner_target(&environment(&variables))
                .unwrap_err()
                .to_string();
            assert_eq!(shown.lines().count(), expected.len(), "{shown}");
            for (line, beginning) in shown.lines().zip(expected) {
                assert!(line.starts_with(beginning), "{line}");
            }
        }
    }
}
