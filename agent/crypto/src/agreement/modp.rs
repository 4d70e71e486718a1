//! Diffie-Hellman in the MODP groups 14, 15 and 16 (RFC 3526), in constant time.

use std::sync::LazyLock;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U512, U2048, U3072, U4096, Uint};
use espalier_model::secret::Secret;
use zeroize::Zeroizing;

use crate::{CryptoError, random};

/// A group of a safe prime, with 2 as its generator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Modp {
    Modp2048,
    Modp3072,
    Modp4096,
}

/// A private exponent of 512 bits: twice the strength of the strongest group is enough in a group of a safe prime
/// (RFC 3526 §8, NIST SP 800-56A §5.6.1.1.1).
pub(super) struct Exponent(Zeroizing<U512>);

type Params<const LIMBS: usize> = FixedMontyParams<LIMBS>;

static GROUP_2048: LazyLock<Params<{ U2048::LIMBS }>> = LazyLock::new(|| params(&U2048::from_be_hex(PRIME_2048)));
static GROUP_3072: LazyLock<Params<{ U3072::LIMBS }>> = LazyLock::new(|| params(&U3072::from_be_hex(PRIME_3072)));
static GROUP_4096: LazyLock<Params<{ U4096::LIMBS }>> = LazyLock::new(|| params(&U4096::from_be_hex(PRIME_4096)));

impl Exponent {
    pub(super) fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; U512::BYTES]);
        random(bytes.as_mut_slice());
        Self(Zeroizing::new(U512::from_be_slice(bytes.as_slice())))
    }
}

impl Modp {
    /// Computes the public value, as long as the prime.
    pub(super) fn public(self, exponent: &Exponent) -> Vec<u8> {
        let value = match self {
            Self::Modp2048 => power(&GROUP_2048, &Uint::from_u8(2), exponent),
            Self::Modp3072 => power(&GROUP_3072, &Uint::from_u8(2), exponent),
            Self::Modp4096 => power(&GROUP_4096, &Uint::from_u8(2), exponent),
        };
        value.expose().to_vec()
    }

    /// Computes the shared secret, as long as the prime (RFC 7296 §2.14).
    pub(super) fn agree(self, exponent: &Exponent, peer: &[u8]) -> Result<Secret, CryptoError> {
        match self {
            Self::Modp2048 => agree(&GROUP_2048, exponent, peer),
            Self::Modp3072 => agree(&GROUP_3072, exponent, peer),
            Self::Modp4096 => agree(&GROUP_4096, exponent, peer),
        }
    }
}

fn agree<const LIMBS: usize>(group: &Params<LIMBS>, exponent: &Exponent, peer: &[u8]) -> Result<Secret, CryptoError> {
    //= RFC 7296 §3.4: a public value is as long as the modulus
    if peer.len() != Uint::<LIMBS>::BYTES {
        return Err(CryptoError::PublicValue);
    }
    let value = Uint::from_be_slice(peer);
    //= RFC 6989 §2.1: 1 < r < p - 1
    let last = group.modulus().as_ref().wrapping_sub(&Uint::ONE);
    if value <= Uint::ONE || value >= last {
        return Err(CryptoError::PublicValue);
    }
    Ok(power(group, &value, exponent))
}

fn power<const LIMBS: usize>(group: &Params<LIMBS>, base: &Uint<LIMBS>, exponent: &Exponent) -> Secret {
    let raised = Zeroizing::new(FixedMontyForm::new(base, group).pow(&*exponent.0));
    let value = Zeroizing::new(raised.retrieve());
    //= RFC 7296 §2.14: the shared secret is as long as the modulus
    Secret::from(Zeroizing::new(value.to_be_bytes()).as_slice())
}

/// Raises 2 to an exponent that everybody knows.
#[cfg(test)]
pub(super) fn power_of_two(group: Modp, exponent: u32) -> Vec<u8> {
    group.public(&Exponent(Zeroizing::new(U512::from_u32(exponent))))
}

/// Returns the prime of a group.
#[cfg(test)]
pub(super) fn prime(group: Modp) -> Vec<u8> {
    match group {
        Modp::Modp2048 => GROUP_2048.modulus().to_be_bytes().as_slice().to_vec(),
        Modp::Modp3072 => GROUP_3072.modulus().to_be_bytes().as_slice().to_vec(),
        Modp::Modp4096 => GROUP_4096.modulus().to_be_bytes().as_slice().to_vec(),
    }
}

fn params<const LIMBS: usize>(prime: &Uint<LIMBS>) -> Params<LIMBS> {
    FixedMontyParams::new_vartime(Odd::new(*prime).expect("a prime of RFC 3526 is odd"))
}

/// 2^2048 - 2^1984 - 1 + 2^64 * ([2^1918 pi] + 124476) (RFC 3526 §3).
const PRIME_2048: &str = "\
    ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
    ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
    ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f\
    83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b\
    e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
    15728e5a8aacaa68ffffffffffffffff";
/// 2^3072 - 2^3008 - 1 + 2^64 * ([2^2942 pi] + 1690314) (RFC 3526 §4).
const PRIME_3072: &str = "\
    ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
    ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
    ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f\
    83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b\
    e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
    15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7\
    abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c\
    bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffffffffffffffff";
/// 2^4096 - 2^4032 - 1 + 2^64 * ([2^3966 pi] + 240904) (RFC 3526 §5).
const PRIME_4096: &str = "\
    ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
    ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
    ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f\
    83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b\
    e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510\
    15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7\
    abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c\
    bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a92108011a723c12a787e6d7\
    88719a10bdba5b2699c327186af4e23c1a946834b6150bda2583e9ca2ad44ce8dbbbc2db04de8ef92e8efc141fbecaa6\
    287c59474e6bc05d99b2964fa090c3a2233ba186515be7ed1f612970cee2d7afb81bdd762170481cd0069127d5b05aa9\
    93b4ea988d8fddc186ffb7dc90a6c08f4df435c934063199ffffffffffffffff";
