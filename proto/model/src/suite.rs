//! Algorithms by the names that operators write and logs show.
//!
//! One value is one whole, usable combination: an AEAD algorithm cannot have an integrity algorithm besides, a cipher without
//! authentication cannot be without one, and nothing weaker than these has a name.

mod cipher;
mod method;

use serde::{Deserialize, Serialize};

pub use cipher::{AesKey, Cipher, Hmac};
pub use method::{Method, UnknownMethod};

/// Declares an enum whose values have one name each, in documents as in logs.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$attribute:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$attribute])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name that operators write.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use named;

named! {
    /// An ESP suite. Counter modes and CBC come with HMAC; `null` is authenticated, but not encrypted, and so is `gmac`.
    EspSuite {
        /// AES-GCM with a 256-bit key (RFC 4106).
        Aes256Gcm16 = "aes256gcm16",
        /// AES-GCM with a 128-bit key (RFC 4106).
        Aes128Gcm16 = "aes128gcm16",
        /// ChaCha20-Poly1305 (RFC 7634).
        ChaCha20Poly1305 = "chacha20poly1305",
        /// AES-CCM with a 256-bit key (RFC 4309).
        Aes256Ccm16 = "aes256ccm16",
        /// AES-CCM with a 128-bit key (RFC 4309).
        Aes128Ccm16 = "aes128ccm16",
        /// AES-CBC with a 256-bit key (RFC 3602) and HMAC-SHA2-512-256.
        Aes256CbcSha512 = "aes256cbc-sha512",
        /// AES-CBC with a 256-bit key (RFC 3602) and HMAC-SHA2-384-192.
        Aes256CbcSha384 = "aes256cbc-sha384",
        /// AES-CBC with a 256-bit key (RFC 3602) and HMAC-SHA2-256-128.
        Aes256CbcSha256 = "aes256cbc-sha256",
        /// AES-CBC with a 128-bit key (RFC 3602) and HMAC-SHA2-512-256.
        Aes128CbcSha512 = "aes128cbc-sha512",
        /// AES-CBC with a 128-bit key (RFC 3602) and HMAC-SHA2-384-192.
        Aes128CbcSha384 = "aes128cbc-sha384",
        /// AES-CBC with a 128-bit key (RFC 3602) and HMAC-SHA2-256-128.
        Aes128CbcSha256 = "aes128cbc-sha256",
        /// AES-CTR with a 256-bit key (RFC 3686) and HMAC-SHA2-512-256.
        Aes256CtrSha512 = "aes256ctr-sha512",
        /// AES-CTR with a 256-bit key (RFC 3686) and HMAC-SHA2-384-192.
        Aes256CtrSha384 = "aes256ctr-sha384",
        /// AES-CTR with a 256-bit key (RFC 3686) and HMAC-SHA2-256-128.
        Aes256CtrSha256 = "aes256ctr-sha256",
        /// AES-CTR with a 128-bit key (RFC 3686) and HMAC-SHA2-512-256.
        Aes128CtrSha512 = "aes128ctr-sha512",
        /// AES-CTR with a 128-bit key (RFC 3686) and HMAC-SHA2-384-192.
        Aes128CtrSha384 = "aes128ctr-sha384",
        /// AES-CTR with a 128-bit key (RFC 3686) and HMAC-SHA2-256-128.
        Aes128CtrSha256 = "aes128ctr-sha256",
        /// AES-GMAC with a 256-bit key: no confidentiality (RFC 4543).
        Aes256Gmac = "aes256gmac",
        /// AES-GMAC with a 128-bit key: no confidentiality (RFC 4543).
        Aes128Gmac = "aes128gmac",
        /// No encryption, HMAC-SHA2-512-256.
        NullSha512 = "null-sha512",
        /// No encryption, HMAC-SHA2-384-192.
        NullSha384 = "null-sha384",
        /// No encryption, HMAC-SHA2-256-128.
        NullSha256 = "null-sha256",
    }
}

named! {
    /// An AH suite: HMAC-SHA2, truncated to half its length (RFC 4868).
    AhSuite {
        /// HMAC-SHA2-512-256.
        Sha512 = "sha512",
        /// HMAC-SHA2-384-192.
        Sha384 = "sha384",
        /// HMAC-SHA2-256-128.
        Sha256 = "sha256",
    }
}

named! {
    /// Protection of IKE messages, always with confidentiality.
    IkeEncryption {
        /// AES-GCM with a 256-bit key (RFC 5282).
        Aes256Gcm16 = "aes256gcm16",
        /// AES-GCM with a 128-bit key (RFC 5282).
        Aes128Gcm16 = "aes128gcm16",
        /// ChaCha20-Poly1305 (RFC 7634).
        ChaCha20Poly1305 = "chacha20poly1305",
        /// AES-CBC with a 256-bit key and HMAC-SHA2-512-256.
        Aes256CbcSha512 = "aes256cbc-sha512",
        /// AES-CBC with a 256-bit key and HMAC-SHA2-384-192.
        Aes256CbcSha384 = "aes256cbc-sha384",
        /// AES-CBC with a 256-bit key and HMAC-SHA2-256-128.
        Aes256CbcSha256 = "aes256cbc-sha256",
        /// AES-CBC with a 128-bit key and HMAC-SHA2-512-256.
        Aes128CbcSha512 = "aes128cbc-sha512",
        /// AES-CBC with a 128-bit key and HMAC-SHA2-384-192.
        Aes128CbcSha384 = "aes128cbc-sha384",
        /// AES-CBC with a 128-bit key and HMAC-SHA2-256-128.
        Aes128CbcSha256 = "aes128cbc-sha256",
        /// AES-CTR with a 256-bit key (RFC 5930) and HMAC-SHA2-512-256.
        Aes256CtrSha512 = "aes256ctr-sha512",
        /// AES-CTR with a 256-bit key (RFC 5930) and HMAC-SHA2-384-192.
        Aes256CtrSha384 = "aes256ctr-sha384",
        /// AES-CTR with a 256-bit key (RFC 5930) and HMAC-SHA2-256-128.
        Aes256CtrSha256 = "aes256ctr-sha256",
        /// AES-CTR with a 128-bit key (RFC 5930) and HMAC-SHA2-512-256.
        Aes128CtrSha512 = "aes128ctr-sha512",
        /// AES-CTR with a 128-bit key (RFC 5930) and HMAC-SHA2-384-192.
        Aes128CtrSha384 = "aes128ctr-sha384",
        /// AES-CTR with a 128-bit key (RFC 5930) and HMAC-SHA2-256-128.
        Aes128CtrSha256 = "aes128ctr-sha256",
    }
}

named! {
    /// Pseudo-random function of IKE (RFC 4868).
    Prf {
        /// PRF-HMAC-SHA2-256.
        HmacSha256 = "hmacsha256",
        /// PRF-HMAC-SHA2-384.
        HmacSha384 = "hmacsha384",
        /// PRF-HMAC-SHA2-512.
        HmacSha512 = "hmacsha512",
    }
}

named! {
    /// Key exchange method that may stand alone.
    KeyExchange {
        /// Curve25519 (RFC 8031).
        X25519 = "x25519",
        /// NIST P-256 (RFC 5903).
        P256 = "p256",
        /// NIST P-384 (RFC 5903).
        P384 = "p384",
        /// NIST P-521 (RFC 5903).
        P521 = "p521",
        /// The 2,048-bit MODP group, number 14 (RFC 3526).
        Modp2048 = "modp2048",
        /// The 3,072-bit MODP group, number 15 (RFC 3526).
        Modp3072 = "modp3072",
        /// The 4,096-bit MODP group, number 16 (RFC 3526).
        Modp4096 = "modp4096",
    }
}

named! {
    /// Key encapsulation mechanism, only ever additional to a key exchange (RFC 9370).
    Kem {
        /// ML-KEM-768 (FIPS 203).
        MlKem768 = "mlkem768",
        /// ML-KEM-1024 (FIPS 203).
        MlKem1024 = "mlkem1024",
    }
}

impl EspSuite {
    /// Returns what it is made of.
    #[must_use]
    pub const fn cipher(self) -> Cipher {
        use AesKey::{Aes128, Aes256};
        use Hmac::{Sha256, Sha384, Sha512};
        match self {
            Self::Aes256Gcm16 => Cipher::Gcm(Aes256),
            Self::Aes128Gcm16 => Cipher::Gcm(Aes128),
            Self::ChaCha20Poly1305 => Cipher::ChaCha20Poly1305,
            Self::Aes256Ccm16 => Cipher::Ccm(Aes256),
            Self::Aes128Ccm16 => Cipher::Ccm(Aes128),
            Self::Aes256CbcSha512 => Cipher::Cbc(Aes256, Sha512),
            Self::Aes256CbcSha384 => Cipher::Cbc(Aes256, Sha384),
            Self::Aes256CbcSha256 => Cipher::Cbc(Aes256, Sha256),
            Self::Aes128CbcSha512 => Cipher::Cbc(Aes128, Sha512),
            Self::Aes128CbcSha384 => Cipher::Cbc(Aes128, Sha384),
            Self::Aes128CbcSha256 => Cipher::Cbc(Aes128, Sha256),
            Self::Aes256CtrSha512 => Cipher::Ctr(Aes256, Sha512),
            Self::Aes256CtrSha384 => Cipher::Ctr(Aes256, Sha384),
            Self::Aes256CtrSha256 => Cipher::Ctr(Aes256, Sha256),
            Self::Aes128CtrSha512 => Cipher::Ctr(Aes128, Sha512),
            Self::Aes128CtrSha384 => Cipher::Ctr(Aes128, Sha384),
            Self::Aes128CtrSha256 => Cipher::Ctr(Aes128, Sha256),
            Self::Aes256Gmac => Cipher::Gmac(Aes256),
            Self::Aes128Gmac => Cipher::Gmac(Aes128),
            Self::NullSha512 => Cipher::Null(Sha512),
            Self::NullSha384 => Cipher::Null(Sha384),
            Self::NullSha256 => Cipher::Null(Sha256),
        }
    }

    /// Tells whether it keeps packets secret: GMAC and `null` only keep them authentic.
    #[must_use]
    pub const fn encrypts(self) -> bool {
        !matches!(self.cipher(), Cipher::Gmac(_) | Cipher::Null(_))
    }

    /// Returns the length of the keying material in bytes: key, salt, then the key of HMAC (RFC 7296 §2.17).
    #[must_use]
    pub const fn keymat_len(self) -> usize {
        self.cipher().encryption_len() + self.cipher().integrity_len()
    }
}

impl AhSuite {
    /// Returns the code that it computes.
    #[must_use]
    pub const fn hmac(self) -> Hmac {
        match self {
            Self::Sha512 => Hmac::Sha512,
            Self::Sha384 => Hmac::Sha384,
            Self::Sha256 => Hmac::Sha256,
        }
    }

    /// Returns the length of the keying material in bytes.
    #[must_use]
    pub const fn keymat_len(self) -> usize {
        self.hmac().key_len()
    }
}

impl IkeEncryption {
    /// Returns what it is made of.
    #[must_use]
    pub const fn cipher(self) -> Cipher {
        use AesKey::{Aes128, Aes256};
        use Hmac::{Sha256, Sha384, Sha512};
        match self {
            Self::Aes256Gcm16 => Cipher::Gcm(Aes256),
            Self::Aes128Gcm16 => Cipher::Gcm(Aes128),
            Self::ChaCha20Poly1305 => Cipher::ChaCha20Poly1305,
            Self::Aes256CbcSha512 => Cipher::Cbc(Aes256, Sha512),
            Self::Aes256CbcSha384 => Cipher::Cbc(Aes256, Sha384),
            Self::Aes256CbcSha256 => Cipher::Cbc(Aes256, Sha256),
            Self::Aes128CbcSha512 => Cipher::Cbc(Aes128, Sha512),
            Self::Aes128CbcSha384 => Cipher::Cbc(Aes128, Sha384),
            Self::Aes128CbcSha256 => Cipher::Cbc(Aes128, Sha256),
            Self::Aes256CtrSha512 => Cipher::Ctr(Aes256, Sha512),
            Self::Aes256CtrSha384 => Cipher::Ctr(Aes256, Sha384),
            Self::Aes256CtrSha256 => Cipher::Ctr(Aes256, Sha256),
            Self::Aes128CtrSha512 => Cipher::Ctr(Aes128, Sha512),
            Self::Aes128CtrSha384 => Cipher::Ctr(Aes128, Sha384),
            Self::Aes128CtrSha256 => Cipher::Ctr(Aes128, Sha256),
        }
    }
}

impl Prf {
    /// Returns the length of its output and of its preferred key in bytes.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }
}

#[cfg(test)]
mod tests;
