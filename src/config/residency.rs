//! The residency guard: payments of one region are not written in another.

/// What `REGION` is when nobody has set it; the guard then has nothing to compare with.
pub const UNKNOWN_REGION: &str = "unknown";

/// First parts of AWS region names, as of the published list of regions.
const AREAS: [&str; 11] = [
    "af", "ap", "ca", "cn", "eu", "eusc", "il", "me", "mx", "sa", "us",
];
/// Parts before the number.
const DIRECTIONS: [&str; 9] = [
    "central",
    "east",
    "north",
    "northeast",
    "northwest",
    "south",
    "southeast",
    "southwest",
    "west",
];
/// The ends of RDS's host names for instances, clusters and proxies, behind
/// `<name>.<account>.<region>`.
const RDS_SUFFIXES: [&str; 2] = [".rds.amazonaws.com", ".rds.amazonaws.com.cn"];

/// Refuses a host that names another AWS region than `region`.
///
/// A host names a region when one of its labels is a region's name, or, below RDS's own domain, by
/// the label in the region's place, whatever it is: a region that is newer than the list above is
/// then refused as well.
pub(super) fn check(host: &str, region: &str) -> Result<(), String> {
    if region == UNKNOWN_REGION {
        return Ok(());
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let rds_label = RDS_SUFFIXES
        .iter()
        .find_map(|suffix| host.strip_suffix(suffix))
        .and_then(|name| name.rsplit('.').next());
    let named = host.split('.').filter(|label| is_region(label));
    match named.chain(rds_label).find(|label| *label != region) {
        None => Ok(()),
        Some(other) => Err(format!(
            "the host is in the AWS region {other}, but REGION is {region}: payments must stay in \
             their region"
        )),
    }
}

/// Whether the host is an RDS Proxy's end point.
pub(super) fn is_rds_proxy(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let labels = || host.split('.');
    RDS_SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
        && labels().any(|label| label.starts_with("proxy-"))
}

fn is_region(label: &str) -> bool {
    let mut parts = label.split('-');
    let number = parts.next_back().unwrap_or_default();
    let direction = parts.next_back().unwrap_or_default();
    let area = parts.next().unwrap_or_default();
    let partition = parts.next().unwrap_or("gov");
    (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && DIRECTIONS.contains(&direction)
        && AREAS.contains(&area)
        && partition.bytes().all(|byte| byte.is_ascii_lowercase())
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_the_region_and_hosts_that_name_none_pass() {
        for host in [
            "db.abc123.eu-south-2.rds.amazonaws.com",
            "DB.ABC123.EU-SOUTH-2.RDS.AMAZONAWS.COM",
            "db.abc123.eu-south-2.rds.amazonaws.com.",
            "payments.proxy-abc123.eu-south-2.rds.amazonaws.com",
            "payments.cluster-ro-abc123.eu-south-2.rds.amazonaws.com",
            "db.example.com",
            "localhost",
            "127.0.0.1",
            "::1",
            "postgres.payments.svc.cluster.local",
            "pg-primary-1.example.com",
            "db-east-1.example.com",
            "us-east.example.com",
            "us-east-1a.example.com",
            "eu-south-2.example.com",
        ] {
            assert_eq!(check(host, "eu-south-2"), Ok(()), "{host}");
        }
    }

    #[test]
    fn hosts_of_another_region_are_refused() {
        for (host, named) in [
            ("db.abc123.us-east-1.rds.amazonaws.com", "us-east-1"),
            ("db.abc123.US-EAST-1.rds.amazonaws.com", "us-east-1"),
            (
                "payments.proxy-abc123.us-east-1.rds.amazonaws.com",
                "us-east-1",
            ),
            ("db.abc123.eu-south-1.rds.amazonaws.com", "eu-south-1"),
            ("db.abc123.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"),
            ("db.abc123.cn-north-1.rds.amazonaws.com.cn", "cn-north-1"),
            ("db.abc123.mx-central-1.rds.amazonaws.com.", "mx-central-1"),
            ("db.abc123.xx-new-9.rds.amazonaws.com", "xx-new-9"),
            ("us-east-1.db.example.com", "us-east-1"),
            ("eu-south-2.db.ap-southeast-4.example.com", "ap-southeast-4"),
            ("vpce-1.rds.us-east-1.vpce.amazonaws.com", "us-east-1"),
        ] {
            let error = check(host, "eu-south-2").unwrap_err();
            let beginning =
                format!("the host is in the AWS region {named}, but REGION is eu-south-2");
            assert!(error.starts_with(&beginning), "{host}: {error}");
            assert_eq!(check(host, UNKNOWN_REGION), Ok(()), "{host}");
        }
    }

    #[test]
    fn proxies_are_known_by_their_end_point() {
        for (host, expected) in [
            ("payments.proxy-abc123.us-east-1.rds.amazonaws.com", true),
            ("ro.endpoint.proxy-abc123.us-east-1.rds.amazonaws.com", true),
            ("db.abc123.us-east-1.rds.amazonaws.com", false),
            ("proxy-1.example.com", false),
        ] {
            assert_eq!(is_rds_proxy(host), expected, "{host}");
        }
    }
}
