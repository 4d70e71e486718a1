//! Real certificates for runs with real signatures.

use espalier_crypto::SigningKey;
use espalier_ike::CertificateIdentity;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::world::id;

/// A root that vouches for every node.
pub(crate) struct Authority {
    root: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Self { root, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn trust(&self) -> Vec<Vec<u8>> {
        vec![self.root.clone()]
    }

    pub(crate) fn issue(&self, node: usize) -> CertificateIdentity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![id(node).to_string()]).unwrap();
        let chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().to_vec()];
        CertificateIdentity { chain, key: SigningKey::from_pkcs8_pem(&key.serialize_pem()).unwrap() }
    }
}
