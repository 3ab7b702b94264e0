//! `GET /info`: what runs here.

use serde::Serialize;

use super::{App, Caller, json};
use crate::clock;
use crate::http::{Content, Status};

#[derive(Serialize)]
struct Info<'a> {
    name: &'static str,
    version: &'static str,
    region: &'a str,
    environment: &'a str,
    timestamp: &'a str,
    git_revision: &'static str,
    build_timestamp: &'static str,
    rust_version: &'static str,
    target: &'static str,
}

pub(super) fn answer(app: &App, caller: &Caller, out: &mut Vec<u8>) -> Status {
    let build = app.metrics.build();
    let info = Info {
        name: env!("CARGO_PKG_NAME"),
        version: build.version,
        region: &build.region,
        environment: &build.environment,
        timestamp: &clock::now_rfc3339(),
        git_revision: build.revision,
        build_timestamp: build.timestamp,
        rust_version: env!("CARGO_PKG_RUST_VERSION"),
        target: std::env::consts::ARCH,
    };
    caller
        .respond(app, Status::Ok, out)
        .body(Content::Json, json(&info));
    Status::Ok
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_of_rust_is_that_of_the_compiler() {
        let version = env!("CARGO_PKG_RUST_VERSION");
        let of_the_harness = include_str!("../../benches/harness/Cargo.toml");
        assert!(of_the_harness.contains(&format!("rust-version = \"{version}\"")));
        let toolchain = include_str!("../../rust-toolchain.toml");
        assert!(toolchain.contains(&format!("channel = \"{version}.")));
        assert!(include_str!("../../Dockerfile").contains(&format!("rust:{version}-")));
    }
}
