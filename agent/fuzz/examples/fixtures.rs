//! Makes the certificates of the target `certificates` anew, with their keys, which protect nothing.
#![expect(clippy::unwrap_used, reason = "a developer's tool, which has nobody to report to but the terminal")]

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, SanType, SerialNumber,
};
use time::OffsetDateTime;

fn main() {
    fixtures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
}

fn params(name: &str, days: i64) -> CertificateParams {
    let start = 1_800_000_000;
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.not_before = OffsetDateTime::from_unix_timestamp(start).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(start + 86_400 * days).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name, 3_650);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn fixtures(folder: &Path) {
    let key = || KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let (root_key, issuing_key, leaf_key) = (key(), key(), key());
    let write = |name: &str, der: &[u8], key: &KeyPair| {
        fs::write(folder.join(format!("{name}.der")), der).unwrap();
        fs::write(folder.join(format!("{name}.pem")), key.serialize_pem()).unwrap();
    };
    let root = authority("root");
    write("root", root.self_signed(&root_key).unwrap().der(), &root_key);
    let issuing = authority("issuing");
    let issuer = Issuer::new(root, root_key);
    write("issuing", issuing.signed_by(&issuing_key, &issuer).unwrap().der(), &issuing_key);
    let mut leaf = params("a", 30);
    leaf.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbd]));
    leaf.subject_alt_names = vec![
        SanType::DnsName("a.node.mesh.example".try_into().unwrap()),
        SanType::Rfc822Name("a@mesh.example".try_into().unwrap()),
        SanType::IpAddress([10, 1, 2, 3].into()),
        SanType::IpAddress("2001:db8::1".parse().unwrap()),
    ];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17])];
    let issuer = Issuer::new(issuing, issuing_key);
    write("leaf", leaf.signed_by(&leaf_key, &issuer).unwrap().der(), &leaf_key);
}
