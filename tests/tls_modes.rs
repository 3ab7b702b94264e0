//! Every `sslmode` against servers with and without TLS and with every kind of certificate.

#[path = "support/postgres.rs"]
mod postgres;

use postgres::{Cluster, Tls};

#[test]
fn a_private_server_starts_stops_and_starts_again_on_its_port() {
    let cluster = Cluster::start(Tls::for_localhost());
    for end in [Cluster::stop, Cluster::crash] {
        end(&cluster);
        cluster.start_again();
        assert_eq!(cluster.psql("SELECT 1"), "1");
    }
}
