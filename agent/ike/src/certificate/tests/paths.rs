//! Paths: length, names that an authority may speak for, loops, several roots.

use rcgen::{CidrSubnet, CustomExtension, GeneralSubtree, NameConstraints};

use super::*;

/// An authority below another, changed as a test wants it.
fn below(parent: &Ca, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = ca_params(name, 2, 9);
    change(&mut params);
    let der = params.signed_by(&key, &parent.issuer).unwrap().der().to_vec();
    Ca { der, issuer: Issuer::new(params, key) }
}

#[test]
fn a_path_is_no_longer_than_its_authorities_allow() {
    let root = root("root", &PKCS_ECDSA_P256_SHA256);
    for (length, good) in [(0, false), (1, true), (2, true)] {
        let upper = below(&root, "upper", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(length)));
        let lower = below(&upper, "lower", |_| {});
        let chain = [leaf(&lower, |_| {}), lower.der.clone(), upper.der.clone()];
        assert_eq!(check(&root, &chain, NAME).is_ok(), good, "pathLenConstraint {length}");
    }
}

#[test]
fn an_authority_speaks_only_for_the_names_that_it_may() {
    let root = root("root", &PKCS_ECDSA_P256_SHA256);
    let permitted =
        |trees: Vec<GeneralSubtree>| NameConstraints { permitted_subtrees: trees, excluded_subtrees: vec![] };
    let excluded =
        |trees: Vec<GeneralSubtree>| NameConstraints { permitted_subtrees: vec![], excluded_subtrees: trees };
    let dns = |text: &str| GeneralSubtree::DnsName(text.to_owned());
    let net = |a, b, c, d| GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([a, b, c, d], 8));
    let mail = |text: &str| GeneralSubtree::Rfc822Name(text.to_owned());
    let rows = [
        (permitted(vec![dns("mesh.example")]), NAME, true),
        (permitted(vec![dns("other.example")]), NAME, false),
        (permitted(vec![dns("esh.example")]), NAME, false),
        (excluded(vec![dns("node.mesh.example")]), NAME, false),
        (excluded(vec![dns("other.example")]), NAME, true),
        (permitted(vec![net(10, 0, 0, 0)]), "10.0.0.1", true),
        (permitted(vec![net(11, 0, 0, 0)]), "10.0.0.1", false),
        (excluded(vec![net(10, 0, 0, 0)]), "10.0.0.1", false),
        (permitted(vec![mail("mesh.example")]), "user@other.example", false),
        (excluded(vec![mail("mesh.example")]), "user@mesh.example", false),
    ];
    for (constraints, name, good) in rows {
        let names = format!("{:?}", constraints.permitted_subtrees.len());
        let authority = below(&root, "bounded", |p| p.name_constraints = Some(constraints));
        let san = match name.parse::<Identity>().unwrap() {
            Identity::Fqdn(_) => SanType::DnsName(name.try_into().unwrap()),
            Identity::Email(_) => SanType::Rfc822Name(name.try_into().unwrap()),
            Identity::Address(address) => SanType::IpAddress(address),
            Identity::Distinguished(_) | Identity::KeyId(_) => unreachable!("no row has one"),
        };
        let chain = [leaf(&authority, |p| p.subject_alt_names = vec![san]), authority.der.clone()];
        let result = check(&root, &chain, name);
        assert_eq!(result.is_ok(), good, "{name}, {names} permitted: {result:?}");
    }
}

#[test]
fn a_name_is_checked_against_constraints_even_beside_a_good_one() {
    let root = root("root", &PKCS_ECDSA_P256_SHA256);
    let trees = vec![GeneralSubtree::DnsName("mesh.example".to_owned())];
    let constraints = NameConstraints { permitted_subtrees: trees, excluded_subtrees: vec![] };
    let authority = below(&root, "bounded", |p| p.name_constraints = Some(constraints));
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let chain =
        [leaf(&authority, |p| p.subject_alt_names = vec![dns(NAME), dns("victim.example")]), authority.der.clone()];
    assert!(check(&root, &chain, NAME).is_err());
}

#[test]
fn an_authority_that_is_bound_to_directory_names_certifies_no_subject() {
    let root = root("root", &PKCS_ECDSA_P256_SHA256);
    let subject = |p: &mut CertificateParams| {
        p.distinguished_name = rcgen::DistinguishedName::new();
        p.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
        p.subject_alt_names = vec![];
    };
    let certified = |constraints: Option<NameConstraints>| {
        let authority = below(&root, "bounded", |p| p.name_constraints = constraints);
        check(&root, &[leaf(&authority, subject), authority.der.clone()], "O=Example").is_ok()
    };
    let mut tree = rcgen::DistinguishedName::new();
    tree.push(rcgen::DnType::OrganizationName, "Example");
    let trees = vec![GeneralSubtree::DirectoryName(tree)];
    assert!(certified(None));
    // Such constraints are not computed, so nothing passes them.
    assert!(!certified(Some(NameConstraints { permitted_subtrees: trees.clone(), excluded_subtrees: vec![] })));
    assert!(!certified(Some(NameConstraints { permitted_subtrees: vec![], excluded_subtrees: trees })));
}

#[test]
fn an_authority_that_lists_wrong_purposes_certifies_nobody() {
    let root = root("root", &PKCS_ECDSA_P256_SHA256);
    let with = |purpose| {
        let authority = below(&root, "purposeful", |p| p.extended_key_usages = vec![purpose]);
        check(&root, &[leaf(&authority, |_| {}), authority.der.clone()], NAME).is_ok()
    };
    assert!(with(ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17])));
    assert!(with(ExtendedKeyUsagePurpose::Any));
    assert!(!with(ExtendedKeyUsagePurpose::CodeSigning));
}

#[test]
fn authorities_that_certify_each_other_lead_nowhere_and_soon() {
    let trusted = root("trusted", &PKCS_ECDSA_P256_SHA256);
    let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
    let names = [ca_params("one", 1, 9), ca_params("two", 1, 9)];
    let issuers = [0, 1].map(|n| Issuer::new(names[n].clone(), KeyPair::try_from(keys[n].serialize_der()).unwrap()));
    let crossed = [0, 1].map(|n| names[n].signed_by(&keys[n], &issuers[1 - n]).unwrap().der().to_vec());
    let [issuer, _] = issuers;
    let one = Ca { der: crossed[0].clone(), issuer };
    let start = std::time::Instant::now();
    let chain = [leaf(&one, |_| {}), crossed[0].clone(), crossed[1].clone(), crossed[0].clone()];
    assert!(check(&trusted, &chain, NAME).is_err());
    // An authority that certifies itself is a loop of one.
    let selfish = root("selfish", &PKCS_ECDSA_P256_SHA256);
    let chain = [leaf(&selfish, |_| {}), selfish.der.clone(), selfish.der.clone(), selfish.der.clone()];
    assert!(check(&trusted, &chain, NAME).is_err());
    assert!(start.elapsed().as_secs() < 2, "it takes no longer than a few signatures");
}

#[test]
fn each_of_several_roots_ends_a_path() {
    let roots = [root("a", &PKCS_ECDSA_P256_SHA256), root("b", &PKCS_ED25519), root("a", &PKCS_ECDSA_P384_SHA384)];
    let store = TrustStore::new(&roots.each_ref().map(|ca| ca.der.clone())).unwrap();
    for ca in &roots {
        let chain = [leaf(ca, |_| {})];
        assert!(store.verify(&chain, &NAME.parse().unwrap(), &BTreeSet::new(), NOW).is_ok());
    }
    assert_eq!(store.request().authorities.len(), 60);
}

#[test]
fn a_root_that_was_renewed_with_its_key_counts_with_its_later_end() {
    let key = KeyPair::generate().unwrap();
    let [old, new] = [1, 100].map(|days| ca_params("root", 1, days).self_signed(&key).unwrap().der().to_vec());
    let ca = Ca { der: new.clone(), issuer: Issuer::new(ca_params("root", 1, 100), key) };
    let chain = [leaf(&ca, |_| {})];
    let ends = |roots: &[Vec<u8>]| {
        let store = TrustStore::new(roots).unwrap();
        store.verify(&chain, &NAME.parse().unwrap(), &BTreeSet::new(), NOW).unwrap().not_after
    };
    let end = validity(&chain[0]).unwrap().1;
    assert_eq!((ends(&[old.clone(), new.clone()]), ends(&[new, old.clone()])), (end, end));
    assert_eq!(ends(std::slice::from_ref(&old)), validity(&old).unwrap().1);
}

#[test]
fn an_extension_that_is_critical_and_unknown_refuses_the_certificate() {
    let root = root("root", &PKCS_ECDSA_P256_SHA256);
    let with = |critical| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55_555, 2], vec![5, 0]);
        extension.set_criticality(critical);
        check(&root, &[leaf(&root, |p| p.custom_extensions = vec![extension])], NAME).is_ok()
    };
    assert_eq!((with(false), with(true)), (true, false));
    let authority = |critical| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55_555, 2], vec![5, 0]);
        extension.set_criticality(critical);
        let ca = below(&root, "strange", |p| p.custom_extensions = vec![extension]);
        check(&root, &[leaf(&ca, |_| {}), ca.der.clone()], NAME).is_ok()
    };
    assert_eq!((authority(false), authority(true)), (true, false));
}

#[test]
fn many_certificates_of_one_name_cost_no_more_than_a_few_signatures() {
    let trusted = root("trusted", &PKCS_ECDSA_P256_SHA256);
    let stranger = root("trusted", &PKCS_ECDSA_P256_SHA256);
    let same: Vec<_> = (0..3).map(|_| under(&stranger, 9).der).collect();
    let own = leaf(&under(&stranger, 9), |_| {});
    let start = std::time::Instant::now();
    assert!(check(&trusted, &[vec![own], same].concat(), NAME).is_err());
    assert!(start.elapsed().as_millis() < 500);
}
