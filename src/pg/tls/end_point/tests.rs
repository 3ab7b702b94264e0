//! The certificates were made by `openssl req -x509 -<hash>` (with `-sigopt rsa_padding_mode:pss` for
//! `pss-*`); the expected values are `openssl x509 -outform DER | openssl dgst -<hash>`.

use super::*;
use rustls::pki_types::pem::PemObject;

macro_rules! certificate {
    ($name:literal) => {
        include_bytes!(concat!("certificates/", $name, ".pem"))
    };
}

/// Name, PEM, and the hash that openssl computed.
const HASHED: [(&str, &[u8], &str); 13] = [
    (
        "rsa-md5",
        certificate!("rsa-md5"),
        "e168f6cc12f0c547804047f577905eaf4a546ecbf3d39edf0814b653d702ade3",
    ),
    (
        "rsa-sha1",
        certificate!("rsa-sha1"),
        "6dd7ee2b10ca3b5fcda9d5d06c896f8d32ae4a5f3fa39424dd5ab86574a8594a",
    ),
    (
        "rsa-sha256",
        certificate!("rsa-sha256"),
        "6ad0528de93255dfd74fd8d29bcc5b5a2a984ba5bd6f3a186415f05e63963eb4",
    ),
    (
        "rsa-sha384",
        certificate!("rsa-sha384"),
        "bf4f127cd4fadd4c1ec15797ee9113f3747d20a0f97dc9fb9f2a5403d461079c \
         6e7f72b394d17e41e4b12fca4b15090c",
    ),
    (
        "rsa-sha512",
        certificate!("rsa-sha512"),
        "7b0cc2c6f7743b7087d13bb95c83ded19618a3ef053ef9119daf06a64ae2d133 \
         53e7c5815036953f47cee61e7cd4abc17a1298c690755662be609867e3fc4d56",
    ),
    (
        "pss-sha1",
        certificate!("pss-sha1"),
        "06afb201c7d166509e4df28d77f0c9430c8298b613dcbbb41e7ef9dfba3177b3",
    ),
    (
        "pss-sha256",
        certificate!("pss-sha256"),
        "61b6345263e2c178bba53264aa17dbae8ec8fb164eb03ff5881265b32ab73e0e",
    ),
    (
        "pss-sha384",
        certificate!("pss-sha384"),
        "656423bf0683de0f9769487ea686ccfda2352a0325a8f2d7d1335e79b971047b \
         e16a08de53fcbfd09bc074aa153ee9be",
    ),
    (
        "pss-sha512",
        certificate!("pss-sha512"),
        "58d977393a9115d33965fe9d91f6dac5d21b392e3fb9d95919297b617a61e46b \
         ef61f3142bbae103227d2c5fad72dd2c7f83e67641d9293cc4715a97f537a908",
    ),
    (
        "ecdsa-sha1",
        certificate!("ecdsa-sha1"),
        "df2a294d48f3a462fa9ea80363448bc9424bfc99f3d0ece74a6e40029c62a46f",
    ),
    (
        "ecdsa-sha256",
        certificate!("ecdsa-sha256"),
        "d02e0fdae53f7b9743158375908e01f9fa882bab6b0db8f99b3547f6010729a5",
    ),
    (
        "ecdsa-sha384",
        certificate!("ecdsa-sha384"),
        "05c3b19b34865bd8946d9dfa2a7299c065f4c8b175ca0b7fea45ebf6c73e983e \
         666c12e7122d76118102d35dbd31c654",
    ),
    (
        "ecdsa-sha512",
        certificate!("ecdsa-sha512"),
        "a9441164f47c3032ba98aab7127d004e70a013c08ecd5241a8816fac147b60b7 \
         df16a2d92793e5a14c6c6c0c1f9f4eb50c73712d2c30e342ac0bfc3953c14749",
    ),
];

/// Signatures without a hash of their own, or with one that is not implemented.
const WITHOUT: [(&str, &[u8]); 2] = [
    ("ed25519", certificate!("ed25519")),
    ("rsa-sha224", certificate!("rsa-sha224")),
];

fn parse(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_end_point_is_hashed_as_openssl_hashes_it() {
    for (name, pem, expected) in HASHED {
        let expected: String = expected.split_whitespace().collect();
        let hash = server_end_point(&parse(pem)).map(|hash| hexadecimal(&hash));
        assert_eq!(hash, Some(expected), "{name}");
    }
}

#[test]
fn a_signature_without_a_known_hash_has_no_end_point() {
    for (name, pem) in WITHOUT {
        assert_eq!(server_end_point(&parse(pem)), None, "{name}");
    }
}

#[test]
fn certificates_of_every_key_type_have_the_expected_length() {
    for (algorithm, length) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
        (&rcgen::PKCS_ED25519, None),
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(vec!["db.example.com".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let hash = server_end_point(certificate.der());
        assert_eq!(hash.map(|hash| hash.len()), length, "{algorithm:?}");
    }
}

#[test]
fn bytes_that_are_no_certificate_have_no_end_point_and_no_panic() {
    let whole = parse(HASHED[8].1);
    for end in 0..whole.len() {
        // Cut short, the outermost length no longer fits.
        assert_eq!(server_end_point(&whole[..end].into()), None, "cut at {end}");
    }
    for position in 0..whole.len().min(64) {
        for value in [0x00, 0x7f, 0x80, 0x81, 0x84, 0xff] {
            let mut bytes = whole.to_vec();
            bytes[position] = value;
            let _ = server_end_point(&bytes.into());
        }
    }
}
