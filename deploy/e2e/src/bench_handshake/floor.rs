//! The asymmetric operations of a handshake, alone, with the library that the agent uses: what no implementation on it can beat.

use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use aws_lc_rs::agreement::{EphemeralPrivateKey, PublicKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, Signature,
};

use espalier_e2e::rate::per_second;

/// Keys of a root, an issuing authority and two ends, and what the authorities have signed.
pub(crate) struct Floor {
    root: Vec<u8>,
    issuing: Certified,
    ends: [Certified; 2],
    random: SystemRandom,
}

struct Certified {
    key: EcdsaKeyPair,
    signed: Vec<u8>,
    signature: Signature,
}

/// About the length of the signed part of a certificate, and of what an AUTH payload covers.
const MESSAGE: usize = 400;

impl Floor {
    /// Makes the keys.
    pub(crate) fn new() -> Result<Self> {
        let random = SystemRandom::new();
        let root = key()?;
        let issuing = Certified::by(&root, &random)?;
        let ends = [Certified::by(&issuing.key, &random)?, Certified::by(&issuing.key, &random)?];
        Ok(Self { root: root.public_key().as_ref().to_vec(), issuing, ends, random })
    }

    /// Does what so many handshakes demand. Returns the handshakes per second.
    pub(crate) fn round(&mut self, handshakes: u16) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..handshakes {
            self.handshake().map_err(|_| anyhow!("the provider fails"))?;
        }
        per_second(handshakes.into(), start.elapsed())
    }

    /// Two key pairs, two agreements, two signatures; and each end verifies the other's signature and two of its chain.
    fn handshake(&self) -> Result<(), Unspecified> {
        let (ours, our_value) = share(&self.random)?;
        let (theirs, their_value) = share(&self.random)?;
        let agree = |key, value: &PublicKey| {
            agree_ephemeral(key, UnparsedPublicKey::new(&X25519, value), Unspecified, |secret| Ok(secret.to_vec()))
        };
        if agree(ours, &their_value)? != agree(theirs, &our_value)? {
            return Err(Unspecified);
        }
        for end in &self.ends {
            let message = [7; MESSAGE];
            let proof = end.key.sign(&self.random, &message)?;
            verify(end.key.public_key().as_ref(), &message, &proof)?;
            verify(self.issuing.key.public_key().as_ref(), &end.signed, &end.signature)?;
            verify(&self.root, &self.issuing.signed, &self.issuing.signature)?;
        }
        Ok(())
    }
}

impl Certified {
    fn by(authority: &EcdsaKeyPair, random: &SystemRandom) -> Result<Self> {
        let key = key()?;
        let mut signed = key.public_key().as_ref().to_vec();
        signed.resize(MESSAGE, 0);
        let signature = authority.sign(random, &signed).map_err(|_| anyhow!("signing fails"))?;
        ensure!(verify(authority.public_key().as_ref(), &signed, &signature).is_ok(), "the signature is good");
        Ok(Self { key, signed, signature })
    }
}

fn key() -> Result<EcdsaKeyPair> {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| anyhow!("a key cannot be made"))
}

fn share(random: &SystemRandom) -> Result<(EphemeralPrivateKey, PublicKey), Unspecified> {
    let key = EphemeralPrivateKey::generate(&X25519, random)?;
    let value = key.compute_public_key()?;
    Ok((key, value))
}

fn verify(key: &[u8], message: &[u8], signature: &Signature) -> Result<(), Unspecified> {
    signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(message, signature.as_ref())
}
