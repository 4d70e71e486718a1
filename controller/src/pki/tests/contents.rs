//! What the certificates hold, read by other code than writes them.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;

use super::*;

/// Reads a certificate, and checks who has signed it and that both key identifiers are there.
fn under<'a>(der: &'a [u8], issuer: &[u8]) -> X509Certificate<'a> {
    let (certificate, issuer) = (read(der).unwrap(), read(issuer).unwrap());
    certificate.verify_signature(Some(issuer.public_key())).unwrap();
    let identifier = |c: &X509Certificate<'_>| {
        c.iter_extensions().find_map(|e| {
            let ParsedExtension::SubjectKeyIdentifier(id) = e.parsed_extension() else { return None };
            Some(id.0.to_vec())
        })
    };
    let authority = certificate.iter_extensions().find_map(|e| {
        let ParsedExtension::AuthorityKeyIdentifier(id) = e.parsed_extension() else { return None };
        id.key_identifier.as_ref().map(|id| id.0.to_vec())
    });
    assert!(identifier(&certificate).is_some());
    assert!(authority.is_some() && authority == identifier(&issuer));
    certificate
}

fn lifetime(certificate: &X509Certificate<'_>) -> (i64, i64) {
    let validity = certificate.validity();
    let since = |time: x509_parser::time::ASN1Time| time.timestamp() - now().unix_timestamp();
    (since(validity.not_before), since(validity.not_after))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn a_root_and_an_issuing_authority_sign_certificates_and_nothing_else() {
    let (authority, parts) = Authority::create(&"mesh.example".parse().unwrap(), now()).unwrap();
    let root = under(authority.root(), authority.root());
    let issuing = under(&parts.issuing.certificate, authority.root());
    for (certificate, below, days) in [(&root, 1, 3_652), (&issuing, 0, 90)] {
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(below));
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && !usage.value.digital_signature());
        assert_eq!(lifetime(certificate), (-300, days * 86_400));
        assert!(certificate.subject().to_string().contains("O=mesh.example"));
    }
}

#[test]
fn a_node_holds_its_names_and_purposes_whatever_it_asks_for() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let mut asked = CertificateParams::default();
    asked.distinguished_name = rcgen::DistinguishedName::new();
    asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    asked.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    asked.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    let request = asked.serialize_request(&key).unwrap().der().to_vec();
    let issued = authority.issue_node(&"node-1".parse().unwrap(), &request, now()).unwrap();
    let [leaf, issuing] = &issued.chain[..] else { panic!("a leaf and its issuer") };
    let leaf = under(leaf, issuing);
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
    assert_eq!(lifetime(&leaf), (-300, 72 * 3_600));
    assert_eq!(leaf.subject().to_string(), "CN=node-1");
    let own = [GeneralName::DNSName("node-1.node.mesh.example"), GeneralName::URI("spiffe://mesh.example/node/node-1")];
    assert_eq!(leaf.subject_alternative_name().unwrap().unwrap().value.general_names, own);
    assert!(!leaf.is_ca());
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1, "digitalSignature alone");
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.client_auth && !purposes.server_auth && !purposes.any);
    assert_eq!(purposes.other.iter().map(|id| id.to_id_string()).collect::<Vec<_>>(), ["1.3.6.1.5.5.7.3.17"]);
    let serial = leaf.raw_serial();
    assert!(serial.len() == 16 && serial[0] < 0x80, "128 bits, positive");
    assert_eq!(issued.serial.len(), 32);
    let again = authority.issue_node(&"node-1".parse().unwrap(), &request, now()).unwrap();
    assert_ne!(issued.serial, again.serial);
}

#[test]
fn the_longest_names_fit_and_a_longer_domain_is_refused() {
    let label = "d".repeat(52);
    let domain: DomainName = format!("{label}.example.net").parse().unwrap();
    assert_eq!(domain.as_str().len(), MOST_DOMAIN);
    let (authority, _) = Authority::create(&domain, now()).unwrap();
    let name: espalier_model::identity::Name = "n".repeat(63).parse().unwrap();
    let issued = authority.issue_node(&name, &request(&KeyPair::generate().unwrap(), "", &[]), now()).unwrap();
    let store = TrustStore::new(&[authority.root().to_vec()]).unwrap();
    let unix = u64::try_from(now().unix_timestamp()).unwrap();
    assert!(store.verify(&issued.chain, &name.node_identity(&domain), &BTreeSet::new(), unix).is_ok());

    let longer = format!("d{label}.example.net").parse().unwrap();
    let error = Authority::create(&longer, now()).err().unwrap().to_string();
    assert!(error.contains("65 bytes") && error.contains("at most 64"), "{error}");
}

#[test]
fn a_client_of_tls_accepts_the_controller_for_its_names_alone() {
    let authority = authority();
    let issued = authority.issue_controller(&["mesh.test".to_owned(), "192.0.2.1".to_owned()], now()).unwrap();
    let chain: Vec<CertificateDer<'_>> = issued.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (leaf, issuing) = chain.split_first().unwrap();
    let parsed = under(leaf, &issuing[0]);
    assert_eq!(lifetime(&parsed), (-300, 30 * 86_400));
    assert!(names(&parsed).contains(&"URI(spiffe://mesh.example/controller)".to_owned()), "{:?}", names(&parsed));

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.root().to_vec())).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
    let verifier = verifier.build().unwrap();
    let accepts = |name: &str, at: OffsetDateTime| {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.unix_timestamp()).unwrap()));
        verifier.verify_server_cert(leaf, issuing, &ServerName::try_from(name.to_owned()).unwrap(), &[], at).is_ok()
    };
    for name in ["mesh.test", "192.0.2.1", "controller.mesh.example"] {
        assert!(accepts(name, now()), "{name}");
    }
    for name in ["other.test", "192.0.2.2", "node-1.node.mesh.example", "plan-signer.controller.mesh.example"] {
        assert!(!accepts(name, now()), "{name}");
    }
    assert!(!accepts("mesh.test", now() + Duration::from_secs(31 * 86_400)));
}

#[test]
fn a_node_cannot_serve_as_controller_over_tls() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let issued = authority.issue_node(&"node-1".parse().unwrap(), &request(&key, "", &[]), now()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.root().to_vec())).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
    let chain: Vec<CertificateDer<'_>> = issued.chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now().unix_timestamp()).unwrap()));
    let own = ServerName::try_from("node-1.node.mesh.example").unwrap();
    let verdict = verifier.build().unwrap().verify_server_cert(&chain[0], &chain[1..], &own, &[], at);
    let Err(rustls::Error::InvalidCertificate(error)) = verdict else { panic!("a certificate that is refused") };
    assert!(matches!(error, CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }));
}

#[test]
fn the_plan_signer_has_a_name_of_its_own_and_only_signs() {
    let authority = authority();
    let issued = authority.issue_plan_signer(now()).unwrap();
    let leaf = under(&issued.chain[0], &issued.chain[1]);
    assert_eq!(lifetime(&leaf), (-300, 90 * 86_400));
    assert!(names(&leaf).contains(&"URI(spiffe://mesh.example/controller/plan-signer)".to_owned()));
    assert_eq!(leaf.key_usage().unwrap().unwrap().value.flags, 1, "digitalSignature alone");
}
