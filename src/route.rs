//! Which path is which endpoint.

use crate::labels::labels;

labels! {
    /// The endpoints; `Unmatched` stands for every other path, so that metrics never hold a raw one.
    pub enum Route {
        /// One simulated payment.
        Payment = "/api/payment/simulate",
        /// The state of the service and its database.
        Health = "/health",
        /// Whether the event loop turns.
        Livez = "/livez",
        /// Whether requests should be sent here.
        Readyz = "/readyz",
        /// Prometheus' scrape.
        Metrics = "/metrics",
        /// What runs here.
        Info = "/info",
        /// Anything else.
        Unmatched = "unmatched",
    }
}

impl Route {
    /// The route of a request's path.
    pub fn of(path: &str) -> Self {
        Self::from_name(path).unwrap_or(Self::Unmatched)
    }

    /// What `Allow` says: HEAD goes with GET, except where GET has an effect.
    pub fn allowed_methods(self) -> &'static str {
        match self {
            Self::Payment => "GET",
            _ => "GET, HEAD",
        }
    }
}
