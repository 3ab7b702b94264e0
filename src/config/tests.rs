//! The configuration as a whole.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt;

use super::test_support::{ScratchFile, environment};
use super::*;
use crate::limits::{
    API_KEY_MAX_BYTES, API_KEY_MIN_BYTES, API_KEYS_MAX_COUNT, DEPLOYMENT_NAME_MAX_BYTES,
};

const URL: &str = "postgres://app:hunter2@db.example.com/payments?sslmode=verify-full";
const KEY: &str = "hunter2-0123456789";
const REQUIRED: [(&str, &str); 4] = [
    ("DATABASE_URL", URL),
    ("API_SECRET_KEY", KEY),
    ("REGION", "eu-south-2"),
    ("ENVIRONMENT", "production"),
];

fn with(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let mut all = environment(&REQUIRED);
    all.extend(environment(variables));
    Config::from_environment(&all)
}

fn described(config: &Config) -> String {
    let mut text = String::new();
    config.describe(&mut text);
    text
}

#[test]
fn the_defaults_are_those_of_limits() {
    let config = with(&[]).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(
        described(&config),
        "REGION=eu-south-2\n\
         ENVIRONMENT=production\n\
         DATABASE_URL=postgresql://app:***@db.example.com:5432/payments?sslmode=verify-full\
         &application_name=payment-latency-api\n\
         API_SECRET_KEY=***\n\
         LISTEN_ADDRESS=0.0.0.0\n\
         PORT=8080\n\
         DEFAULT_CURRENCY=EUR\n\
         PAYMENT_DEADLINE_MS=2000\n\
         CHECKOUT_TIMEOUT_MS=500\n\
         EXCHANGE_TIMEOUT_MS=900\n\
         WAITERS_MAX=1024\n\
         BATCH_MAX=32\n\
         POOL_SIZE=8\n\
         CONNECT_TIMEOUT_MS=5000\n\
         CONNECTION_LIFETIME_S=3600\n\
         IDLE_PROBE_INTERVAL_MS=30000\n\
         STATEMENT_MODE=unnamed\n\
         MAX_CONNECTIONS=12000\n\
         DRAIN_MS=15000\n\
         LOG_REQUESTS=false\n"
    );
    assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.pool.checkout_timeout, Duration::from_millis(500));
    assert_eq!(config.pool.exchange_timeout, Duration::from_millis(900));
    assert_eq!(config.pool.connection_lifetime, Duration::from_secs(3_600));
    assert_eq!((config.pool.size, config.pool.waiters_max), (8, 1_024));
    assert_eq!(config.pool.statement_mode, StatementMode::Unnamed);
    assert_eq!(config.payment_deadline, Duration::from_secs(2));
    assert_eq!(config.max_connections, 12_000);
    assert_eq!(config.drain, Duration::from_secs(15));
    assert!(!config.log_requests && config.api_keys.verify(KEY.as_bytes()));
    assert!(!config.database_source.is_file() && !config.api_keys_source.is_file());
}

#[test]
fn every_setting_of_the_table_is_described_in_its_order() {
    let config = with(&[]).unwrap();
    let text = described(&config);
    let shown = text.lines().map(|line| line.split_once('=').unwrap().0);
    let expected = SETTINGS
        .iter()
        .map(|setting| setting.variable)
        .filter(|name| !name.ends_with("_FILE") && !name.starts_with("MIGRATE_"));
    assert!(shown.eq(expected), "{text}");
}

#[test]
fn each_setting_is_read_and_described_as_given() {
    for (variable, value) in [
        ("REGION", "us-east-1"),
        ("ENVIRONMENT", "stage_2.b"),
        ("LISTEN_ADDRESS", "127.0.0.1"),
        ("LISTEN_ADDRESS", "::1"),
        ("PORT", "0"),
        ("PORT", "65535"),
        ("DEFAULT_CURRENCY", "JPY"),
        ("PAYMENT_DEADLINE_MS", "60000"),
        ("CHECKOUT_TIMEOUT_MS", "2000"),
        ("EXCHANGE_TIMEOUT_MS", "10"),
        ("WAITERS_MAX", "0"),
        ("BATCH_MAX", "1"),
        ("POOL_SIZE", "512"),
        ("CONNECT_TIMEOUT_MS", "100"),
        ("CONNECTION_LIFETIME_S", "1"),
        ("IDLE_PROBE_INTERVAL_MS", "100"),
        ("STATEMENT_MODE", "named"),
        ("MAX_CONNECTIONS", "1"),
        ("DRAIN_MS", "0"),
        ("LOG_REQUESTS", "true"),
    ] {
        let text = described(&with(&[(variable, value)]).unwrap());
        assert!(text.contains(&format!("{variable}={value}\n")), "{text}");
    }
    let config = with(&[
        ("LISTEN_ADDRESS", "::1"),
        ("PORT", "0"),
        ("LOG_REQUESTS", "true"),
    ])
    .unwrap();
    assert_eq!(config.listen.to_string(), "[::1]:0");
    assert!(config.log_requests);
    let config = with(&[
        ("STATEMENT_MODE", "named"),
        ("POOL_SIZE", "3"),
        ("WAITERS_MAX", "4"),
    ])
    .unwrap();
    assert_eq!(config.pool.statement_mode, StatementMode::Named);
    assert_eq!((config.pool.size, config.pool.waiters_max), (3, 4));
}

#[test]
fn every_number_accepts_its_range_and_nothing_outside_it() {
    for setting in &SETTINGS {
        let Accepts::Number(bound) = setting.accepts else {
            continue;
        };
        let name = setting.variable;
        let long_deadline = ("PAYMENT_DEADLINE_MS", "60000");
        for value in [bound.min, bound.max] {
            let value = value.to_string();
            let text = described(&with(&[long_deadline, (name, &value)]).unwrap());
            assert!(text.contains(&format!("{name}={value}\n")), "{text}");
        }
        let above = (bound.max + 1).to_string();
        let below = bound.min.checked_sub(1).map(|value| value.to_string());
        let wrong = [
            "-1",
            "+9",
            "9 ",
            " 9",
            "0x9",
            "9.0",
            "9ms",
            "1e3",
            "٩",
            "99999999999999999999",
        ];
        for value in wrong
            .iter()
            .copied()
            .chain([above.as_str()])
            .chain(below.as_deref())
        {
            let shown = with(&[long_deadline, (name, value)])
                .unwrap_err()
                .to_string();
            let (min, max) = (bound.min, bound.max);
            let expected =
                format!("{name}: must be a whole number from {min} to {max}, digits only");
            assert_eq!(shown, expected, "{value}");
        }
    }
}

#[test]
fn the_currency_follows_the_region() {
    for (region, currency) in [
        ("eu-south-2", "EUR"),
        ("us-east-1", "MXN"),
        ("eu-west-1", "EUR"),
        ("local", "EUR"),
    ] {
        let config = with(&[("REGION", region)]).unwrap();
        assert_eq!(config.default_currency.code(), currency, "{region}");
        let config = with(&[("REGION", region), ("DEFAULT_CURRENCY", "KWD")]).unwrap();
        assert_eq!(config.default_currency.code(), "KWD");
    }
}

#[test]
fn defaults_are_cut_to_the_deadline_and_given_values_must_respect_it() {
    let config = with(&[("PAYMENT_DEADLINE_MS", "100")]).unwrap();
    assert_eq!(config.pool.checkout_timeout, Duration::from_millis(100));
    assert_eq!(config.pool.exchange_timeout, Duration::from_millis(100));
    for variable in ["CHECKOUT_TIMEOUT_MS", "EXCHANGE_TIMEOUT_MS"] {
        for (value, accepted) in [("99", true), ("100", true), ("101", false)] {
            let read = with(&[("PAYMENT_DEADLINE_MS", "100"), (variable, value)]);
            assert_eq!(read.is_ok(), accepted, "{variable}={value}");
            if let Err(errors) = read {
                let expected =
                    format!("{variable}: must be at most PAYMENT_DEADLINE_MS, which is 100");
                assert_eq!(errors.to_string(), expected);
            }
        }
    }
}

#[test]
fn empty_settings_count_as_absent_and_empty_secrets_do_not() {
    let empty: Vec<_> = SETTINGS
        .iter()
        .map(|setting| setting.variable)
        .filter(|name| !REQUIRED.iter().any(|(required, _)| required == name))
        .filter(|name| !name.ends_with("_FILE") && !name.starts_with("MIGRATE_"))
        .map(|name| (name, ""))
        .collect();
    assert_eq!(
        described(&with(&empty).unwrap()),
        described(&with(&[]).unwrap())
    );
    for name in ["DATABASE_URL", "API_SECRET_KEY"] {
        let shown = with(&[(name, "")]).unwrap_err().to_string();
        assert_eq!(shown, format!("{name}: is set but empty"));
    }
    for name in ["DATABASE_URL_FILE", "API_SECRET_KEY_FILE"] {
        let mut variables = environment(&REQUIRED);
        variables.remove(name.trim_end_matches("_FILE"));
        variables.insert(name.to_owned(), OsString::new());
        let shown = Config::from_environment(&variables)
            .unwrap_err()
            .to_string();
        assert_eq!(
            shown,
            format!("{name}: must be a file path that begins with `/` or `.`")
        );
    }
}

#[test]
fn all_mistakes_are_reported_together() {
    let file = ScratchFile::new(KEY.as_bytes());
    let variables = [
        ("REGION", "eu south 2"),
        ("ENVIRONMENT", "ünknown"),
        ("DATABASE_URL", "hunter2"),
        ("API_SECRET_KEY", KEY),
        ("API_SECRET_KEY_FILE", file.path().to_str().unwrap()),
        ("LISTEN_ADDRESS", "localhost"),
        ("PORT", "70000"),
        ("DEFAULT_CURRENCY", "XAU"),
        ("PAYMENT_DEADLINE_MS", "2s"),
        ("CHECKOUT_TIMEOUT_MS", "3000"),
        ("EXCHANGE_TIMEOUT_MS", "2001"),
        ("WAITERS_MAX", "many"),
        ("POOL_SIZE", "0"),
        ("STATEMENT_MODE", "prepared"),
        ("MAX_CONNECTIONS", ""),
        ("LOG_REQUESTS", "yes"),
        ("UNKNOWN_VARIABLE", "is no error"),
    ];
    let errors = Config::from_environment(&environment(&variables)).unwrap_err();
    let shown = errors.to_string();
    let expected = [
        "REGION: must be at most 63 letters, digits",
        "ENVIRONMENT: must be at most 63 letters, digits",
        "DATABASE_URL: is not a PostgreSQL URL",
        "API_SECRET_KEY: is set together with API_SECRET_KEY_FILE; set only one",
        "LISTEN_ADDRESS: must be an IPv4 or IPv6 address",
        "PORT: must be a whole number from 0 to 65535",
        "DEFAULT_CURRENCY: has no minor units",
        "PAYMENT_DEADLINE_MS: must be a whole number from 10 to 60000",
        "CHECKOUT_TIMEOUT_MS: must be at most PAYMENT_DEADLINE_MS, which is 2000",
        "EXCHANGE_TIMEOUT_MS: must be at most PAYMENT_DEADLINE_MS, which is 2000",
        "WAITERS_MAX: must be a whole number from 0 to 65536",
        "POOL_SIZE: must be a whole number from 1 to 512",
        "STATEMENT_MODE: must be unnamed or named",
        "LOG_REQUESTS: must be false or true",
    ];
    assert_eq!(errors.0.len(), expected.len(), "{shown}");
    for (line, beginning) in shown.lines().zip(expected) {
        assert!(line.starts_with(beginning), "{line}");
    }
}

#[test]
fn nothing_set_names_what_is_required() {
    let shown = Config::from_environment(&environment(&[]))
        .unwrap_err()
        .to_string();
    assert_eq!(
        shown,
        "DATABASE_URL: is not set; set it or DATABASE_URL_FILE\n\
         API_SECRET_KEY: is not set; set it or API_SECRET_KEY_FILE"
    );
}

#[test]
fn values_that_are_not_utf8_are_mistakes() {
    for setting in &SETTINGS {
        let name = setting.variable;
        if name.ends_with("_FILE") || name.starts_with("MIGRATE_") {
            continue;
        }
        let mut variables = environment(&REQUIRED);
        variables.insert(name.to_owned(), OsString::from_vec(b"hunter2\xff".to_vec()));
        let shown = Config::from_environment(&variables)
            .unwrap_err()
            .to_string();
        assert_eq!(shown, format!("{name}: is not UTF-8"));
    }
}

#[test]
fn secrets_may_come_from_files_and_name_them() {
    let url = ScratchFile::new(format!("{URL}\n").as_bytes());
    let keys = ScratchFile::new(format!("{KEY}\nnext-{KEY}\n").as_bytes());
    let variables = [
        ("DATABASE_URL_FILE", url.path().to_str().unwrap()),
        ("API_SECRET_KEY_FILE", keys.path().to_str().unwrap()),
    ];
    let config = Config::from_environment(&environment(&variables)).unwrap();
    let text = described(&config);
    for (variable, path) in variables {
        assert!(text.contains(&format!("{variable}={path}\n")), "{text}");
    }
    assert!(text.contains("\nAPI_SECRET_KEY=***,***\n"), "{text}");
    assert!(config.database_source.is_file() && config.api_keys_source.is_file());
    assert_eq!(config.database_source.variable(), "DATABASE_URL_FILE");
    assert_eq!(config.database_source.read().unwrap().expose(), URL);

    keys.write(b"short");
    url.write(b"postgres://app:hunter2@/payments");
    let shown = Config::from_environment(&environment(&variables))
        .unwrap_err()
        .to_string();
    assert_eq!(
        shown,
        "DATABASE_URL_FILE: has no host\n\
         API_SECRET_KEY_FILE: key 1 has 5 characters; 16 to 256 are accepted"
    );
}

#[test]
fn what_should_not_stay_so_is_a_warning() {
    let all = environment(&[
        (
            "DATABASE_URL",
            "postgres://app:pw@payments.proxy-abc123.us-east-1.rds.amazonaws.com/payments?sslmode=require",
        ),
        ("API_SECRET_KEY", KEY),
        ("STATEMENT_MODE", "named"),
    ]);
    let config = Config::from_environment(&all).unwrap();
    assert_eq!(
        (config.region.as_str(), config.environment.as_str()),
        ("unknown", "dev")
    );
    let expected = [
        "REGION is not set",
        "ENVIRONMENT is not set",
        "DATABASE_URL: sslmode is require",
        "STATEMENT_MODE is named, but the database is an RDS Proxy",
    ];
    assert_eq!(
        config.warnings.len(),
        expected.len(),
        "{:?}",
        config.warnings
    );
    for (warning, beginning) in config.warnings.iter().zip(expected) {
        assert!(warning.starts_with(beginning), "{warning}");
    }
}

#[test]
fn check_config_shows_both_targets_and_the_mistakes_of_both() {
    let owner = "postgres://owner:hunter2@db.example.com/payments";
    let mut variables = environment(&REQUIRED);
    let plain = check(&variables).unwrap();
    assert_eq!(plain, described(&with(&[]).unwrap()));
    variables.extend(environment(&[("MIGRATE_DATABASE_URL", owner)]));
    let text = check(&variables).unwrap();
    assert!(
        text.contains("\nMIGRATE_DATABASE_URL=postgresql://owner:***@db"),
        "{text}"
    );
    assert!(
        text.ends_with("use verify-full\n")
            && text.contains("\nwarning: MIGRATE_DATABASE_URL: sslmode is prefer"),
        "{text}"
    );
    assert_eq!(text.matches("\nDATABASE_URL=").count(), 1);
    variables.extend(environment(&[
        ("MIGRATE_DATABASE_URL", "x"),
        ("DATABASE_URL", "x"),
        ("PORT", "x"),
    ]));
    let shown = check(&variables).unwrap_err().to_string();
    let names: Vec<_> = shown
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    assert_eq!(names, ["DATABASE_URL", "PORT", "MIGRATE_DATABASE_URL"]);
}

#[test]
fn the_service_is_reached_at_its_own_address_or_at_the_loopback() {
    for (variables, expected) in [
        (&[][..], "127.0.0.1:8080"),
        (&[("LISTEN_ADDRESS", "::"), ("PORT", "81")], "[::1]:81"),
        (&[("LISTEN_ADDRESS", "192.0.2.1")], "192.0.2.1:8080"),
    ] {
        let own = own_address(&environment(variables)).unwrap();
        assert_eq!(own.to_string(), expected);
    }
    let errors = own_address(&environment(&[("PORT", "x")])).unwrap_err();
    assert!(errors.to_string().starts_with("PORT: "), "{errors}");
}

/// The planted word is put into every variable in turn, valid there or not.
#[test]
fn no_secret_is_shown_anywhere() {
    let config = with(&[]).unwrap();
    let shown = format!("{config:?} {config:#?} {}", described(&config));
    assert!(!shown.contains("hunter2"), "{shown}");
    for setting in &SETTINGS {
        let name = setting.variable;
        for value in [
            "hunter2",
            "hunter2 0123456789 ñ",
            "postgres://app:hunter2@:x/",
        ] {
            // A name is no secret, and is shown.
            if ["REGION", "ENVIRONMENT"].contains(&name) && value == "hunter2" {
                continue;
            }
            let mut variables = environment(&REQUIRED);
            variables.remove(name.trim_end_matches("_FILE"));
            variables.extend(environment(&[(name, value)]));
            let shown = match check(&variables) {
                Ok(text) => text,
                Err(errors) => format!("{errors} {errors:?} {errors:#?}"),
            };
            let mentioned = shown.contains(name) && !shown.contains("hunter2");
            assert!(mentioned, "{name}={value}: {shown}");
        }
    }
}

/// Bounds that the table states in words stand elsewhere as numbers.
#[test]
fn the_words_of_the_table_say_the_bounds() {
    let accepts = |setting: Setting| match setting.accepts {
        Accepts::Text(text) => text,
        _ => unreachable!("these are texts"),
    };
    let name = format!("at most {DEPLOYMENT_NAME_MAX_BYTES}");
    assert!(accepts(settings::REGION).ends_with(&name));
    assert!(accepts(settings::ENVIRONMENT).ends_with(&name));
    let keys = format!(
        "1 to {API_KEYS_MAX_COUNT} keys of {API_KEY_MIN_BYTES} to {API_KEY_MAX_BYTES} visible"
    );
    assert!(accepts(settings::API_SECRET_KEY).starts_with(&keys));
    let mut currencies = String::new();
    for (region, currency) in REGION_CURRENCIES {
        let _ = write!(currencies, "`{}` in `{region}`, ", currency.code());
    }
    assert!(settings::DEFAULT_CURRENCY.default.starts_with(&currencies));
}

/// A key that another session has locked must cost its own payment alone, not the whole exchange
/// that carries it.
#[test]
fn a_lock_of_the_regions_and_of_make_run_is_waited_for_less_long_than_an_exchange() {
    let said = settings::EXCHANGE_TIMEOUT_MS.setting().meaning;
    let number = |text: &str, before: &str| -> u64 {
        let rest = text.split_once(before).unwrap().1;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
        rest.get(..end).unwrap().parse().unwrap()
    };
    let [regions, here, table] = [
        number(
            include_str!("../../terraform/modules/rds/main.tf"),
            "\"lock_timeout\" = { value = \"",
        ),
        number(
            include_str!("../../scripts/postgres.sh"),
            "lock_timeout = '",
        ),
        number(said, "in the regions ("),
    ];
    assert_eq!((regions, here), (table, table));
    assert!(table < crate::limits::EXCHANGE_TIMEOUT_MS.default);
}
