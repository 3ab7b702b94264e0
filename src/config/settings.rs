//! The one table of settings: how each is read, shown by `check-config`, and documented.

use super::database::StatementMode;
use crate::limits::{self, Bound};

/// One variable, as the documentation shows it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The variable's name; its unit stands last in it.
    pub variable: &'static str,
    /// What values it takes.
    pub accepts: Accepts,
    /// What is in force without it, where `accepts` does not say so.
    pub default: &'static str,
    /// What it does, as a sentence.
    pub meaning: &'static str,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Accepts {
    /// A text of the named form.
    Text(&'static str),
    /// A whole number in a range.
    Number(Bound),
    /// One of these words; the first is the default.
    Word(&'static [&'static str]),
}

/// A setting that is a whole number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) variable: &'static str,
    pub(super) bound: Bound,
    meaning: &'static str,
}

/// A setting that is one of a few words, the first being the default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) variable: &'static str,
    pub(super) words: &'static [&'static str],
    meaning: &'static str,
}

impl Number {
    pub(super) const fn setting(self) -> Setting {
        Setting {
            variable: self.variable,
            accepts: Accepts::Number(self.bound),
            default: "",
            meaning: self.meaning,
        }
    }
}

impl Word {
    const fn setting(self) -> Setting {
        Setting {
            variable: self.variable,
            accepts: Accepts::Word(self.words),
            default: "",
            meaning: self.meaning,
        }
    }
}

pub(super) const REGION: Setting = Setting {
    variable: "REGION",
    accepts: Accepts::Text("letters, digits, `-`, `_`, `.`; at most 63"),
    default: "`unknown`, with a warning",
    meaning: "AWS region of this deployment, such as `eu-south-2`; written with every payment. A \
              database host that names another AWS region is refused, unless this is unset or `unknown`.",
};
pub(super) const ENVIRONMENT: Setting = Setting {
    variable: "ENVIRONMENT",
    accepts: Accepts::Text("letters, digits, `-`, `_`, `.`; at most 63"),
    default: "`dev`, with a warning",
    meaning: "Name of the stage, such as `production`; shown by `/health` and `/info`.",
};
pub(super) const DATABASE_URL: Setting = Setting {
    variable: "DATABASE_URL",
    accepts: Accepts::Text("PostgreSQL URL"),
    default: "required",
    meaning: "URL for the application's role, which inserts into and selects from `payments`: \
              `postgresql://user:password@host:5432/database?sslmode=verify-full`.",
};
pub(super) const DATABASE_URL_FILE: Setting = Setting {
    variable: "DATABASE_URL_FILE",
    accepts: Accepts::Text("path that begins with `/` or `.`"),
    default: "",
    meaning: "File to read `DATABASE_URL` from instead; read again when it changes.",
};
pub(super) const API_SECRET_KEY: Setting = Setting {
    variable: "API_SECRET_KEY",
    accepts: Accepts::Text(
        "1 to 2 keys of 16 to 256 visible ASCII characters, separated by a comma or a line break",
    ),
    default: "required",
    meaning: "Keys accepted in `X-API-Key`; two while one is rotated.",
};
pub(super) const API_SECRET_KEY_FILE: Setting = Setting {
    variable: "API_SECRET_KEY_FILE",
    accepts: Accepts::Text("path that begins with `/` or `.`"),
    default: "",
    meaning: "File to read `API_SECRET_KEY` from instead; read again when it changes.",
};
pub(super) const MIGRATE_DATABASE_URL: Setting = Setting {
    variable: "MIGRATE_DATABASE_URL",
    accepts: Accepts::Text("PostgreSQL URL"),
    default: "`DATABASE_URL`",
    meaning: "URL of the schema's owner, for `migrate` and `prune` only; `serve` does not read it.",
};
pub(super) const MIGRATE_DATABASE_URL_FILE: Setting = Setting {
    variable: "MIGRATE_DATABASE_URL_FILE",
    accepts: Accepts::Text("path that begins with `/` or `.`"),
    default: "",
    meaning: "File to read `MIGRATE_DATABASE_URL` from instead.",
};
pub(super) const LISTEN_ADDRESS: Setting = Setting {
    variable: "LISTEN_ADDRESS",
    accepts: Accepts::Text("IPv4 or IPv6 address"),
    default: "`0.0.0.0`",
    meaning: "Address to listen on; `::` accepts IPv6 as well.",
};
pub(super) const PORT: Number = Number {
    variable: "PORT",
    bound: limits::PORT,
    meaning: "Port to listen on; 0 picks a free one, given in the log's `listening` line.",
};
pub(super) const DEFAULT_CURRENCY: Setting = Setting {
    variable: "DEFAULT_CURRENCY",
    accepts: Accepts::Text("ISO 4217 code"),
    default: "`EUR` in `eu-south-2`, `MXN` in `us-east-1`, else `EUR`",
    meaning: "Currency of a payment that names none.",
};
pub(super) const POOL_SIZE: Number = Number {
    variable: "POOL_SIZE",
    bound: limits::POOL_SIZE,
    meaning: "Connections to PostgreSQL, all opened before readiness.",
};
pub(super) const WAITERS_MAX: Number = Number {
    variable: "WAITERS_MAX",
    bound: limits::WAITERS_MAX,
    meaning: "Payments that may wait for a connection; the next one gets 503 at once. Never more \
              than `IN_FLIGHT_MAX_COUNT` wait.",
};
pub(super) const BATCH_MAX: Number = Number {
    variable: "BATCH_MAX",
    bound: limits::BATCH_MAX,
    meaning: "Payments that share one round trip and one commit when every connection was busy; 1 \
              gives each its own.",
};
pub(super) const PAYMENT_DEADLINE_MS: Number = Number {
    variable: "PAYMENT_DEADLINE_MS",
    bound: limits::PAYMENT_DEADLINE_MS,
    meaning: "Milliseconds from the end of a payment's simulated processing to its answer; past it, \
              504.",
};
pub(super) const CHECKOUT_TIMEOUT_MS: Number = Number {
    variable: "CHECKOUT_TIMEOUT_MS",
    bound: limits::CHECKOUT_TIMEOUT_MS,
    meaning: "Milliseconds of the deadline that may be spent waiting for a connection; past it, \
              503. At most `PAYMENT_DEADLINE_MS`; a default above that is lowered to it.",
};
pub(super) const EXCHANGE_TIMEOUT_MS: Number = Number {
    variable: "EXCHANGE_TIMEOUT_MS",
    bound: limits::EXCHANGE_TIMEOUT_MS,
    meaning: "Milliseconds that one exchange with PostgreSQL may take before it is retried on \
              another connection. PostgreSQL's `lock_timeout` should be shorter, as it is in the \
              regions (750): a key that another session has locked then affects only its own payment. \
              At most `PAYMENT_DEADLINE_MS`; a default above that is lowered to it.",
};
pub(super) const CONNECT_TIMEOUT_MS: Number = Number {
    variable: "CONNECT_TIMEOUT_MS",
    bound: limits::CONNECT_TIMEOUT_MS,
    meaning: "Milliseconds for resolving, connecting, TLS and login of one connection, together; \
        a name resolution that hangs is ended by the resolver's own time-out. `migrate` and `prune` \
        take the default.",
};
pub(super) const CONNECTION_LIFETIME_S: Number = Number {
    variable: "CONNECTION_LIFETIME_S",
    bound: limits::CONNECTION_LIFETIME_S,
    meaning: "Seconds after which a connection is replaced, once its replacement has logged in.",
};
pub(super) const IDLE_PROBE_INTERVAL_MS: Number = Number {
    variable: "IDLE_PROBE_INTERVAL_MS",
    bound: limits::IDLE_PROBE_INTERVAL_MS,
    meaning: "Milliseconds after which a connection is validated by a query again; an idle one is looked at \
        once a second.",
};
pub(super) const STATEMENT_MODE: Word = Word {
    variable: "STATEMENT_MODE",
    words: &[
        StatementMode::Unnamed.as_str(),
        StatementMode::Named.as_str(),
    ],
    meaning: "`unnamed` is safe behind RDS Proxy and pgbouncer; `named` prepares statements once \
              for each connection, for a direct one.",
};
pub(super) const MAX_CONNECTIONS: Number = Number {
    variable: "MAX_CONNECTIONS",
    bound: limits::MAX_CONNECTIONS,
    meaning: "Open connections of callers; beyond it, one that only lingers is closed, else the one \
              idle for longest, else the slowest (`SLOW_AFTER_MS`), else one waiting for its turn, else \
              the newcomer gets 503.",
};
pub(super) const DRAIN_MS: Number = Number {
    variable: "DRAIN_MS",
    bound: limits::DRAIN_MS,
    meaning: "Milliseconds between the first signal and the listener's close, for the load \
              balancer to stop sending.",
};
pub(super) const LOG_REQUESTS: Word = Word {
    variable: "LOG_REQUESTS",
    words: &["false", "true"],
    meaning: "Whether each answered request is logged; refused ones never are.",
};

/// Every setting, in the order in which it is shown.
pub const SETTINGS: [Setting; 24] = [
    REGION,
    ENVIRONMENT,
    DATABASE_URL,
    DATABASE_URL_FILE,
    MIGRATE_DATABASE_URL,
    MIGRATE_DATABASE_URL_FILE,
    API_SECRET_KEY,
    API_SECRET_KEY_FILE,
    LISTEN_ADDRESS,
    PORT.setting(),
    DEFAULT_CURRENCY,
    PAYMENT_DEADLINE_MS.setting(),
    CHECKOUT_TIMEOUT_MS.setting(),
    EXCHANGE_TIMEOUT_MS.setting(),
    WAITERS_MAX.setting(),
    BATCH_MAX.setting(),
    POOL_SIZE.setting(),
    CONNECT_TIMEOUT_MS.setting(),
    CONNECTION_LIFETIME_S.setting(),
    IDLE_PROBE_INTERVAL_MS.setting(),
    STATEMENT_MODE.setting(),
    MAX_CONNECTIONS.setting(),
    DRAIN_MS.setting(),
    LOG_REQUESTS.setting(),
];

/// The table as Markdown, for `docs/APPLICATION.md`.
pub fn markdown_table() -> String {
    let mut table = "| Variable | Accepts | Default | Meaning |\n|---|---|---|---|\n".to_owned();
    for setting in &SETTINGS {
        let (accepts, default) = match setting.accepts {
            Accepts::Text(form) => (form.to_owned(), setting.default.to_owned()),
            Accepts::Number(bound) => (
                format!("{} to {}", bound.min, bound.max),
                format!("`{}`", bound.default),
            ),
            Accepts::Word(words) => (
                format!("`{}`", words.join("`, `")),
                words
                    .first()
                    .map_or_else(String::new, |word| format!("`{word}`")),
            ),
        };
        let cells = [
            &format!("`{}`", setting.variable),
            &accepts,
            &default,
            setting.meaning,
        ];
        table.push_str(&format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |"));
    }
    table
}
