//! Which path is which endpoint.

/// The endpoints; `Unmatched` stands for every other path, so that metrics never hold a raw one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One simulated payment.
    Payment,
    /// The state of the service and its database.
    Health,
    /// Whether the event loop turns.
    Livez,
    /// Whether requests should be sent here.
    Readyz,
    /// Prometheus' scrape.
    Metrics,
    /// What runs here.
    Info,
    /// Anything else.
    Unmatched,
}

impl Route {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Payment,
        Self::Health,
        Self::Livez,
        Self::Readyz,
        Self::Metrics,
        Self::Info,
        Self::Unmatched,
    ];

    /// The route of a request's path.
    pub fn of(path: &str) -> Self {
        let found = Self::ALL.into_iter().find(|route| route.as_str() == path);
        found.unwrap_or(Self::Unmatched)
    }

    /// The path; a label of the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "/api/payment/simulate",
            Self::Health => "/health",
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::Info => "/info",
            Self::Unmatched => "unmatched",
        }
    }

    /// What `Allow` says: HEAD goes with GET, except where GET has an effect.
    pub fn allowed_methods(self) -> &'static str {
        match self {
            Self::Payment => "GET",
            _ => "GET, HEAD",
        }
    }
}
