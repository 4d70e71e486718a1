//! What suites are made of: how IKE messages and ESP packets are transformed, and the lengths that follow from it.

/// A transformation of messages or packets: encryption with authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cipher {
    /// AES-GCM with a tag of 16 bytes (RFC 4106, RFC 5282).
    Gcm(AesKey),
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// AES-CCM with a tag of 16 bytes (RFC 4309).
    Ccm(AesKey),
    /// AES-CBC (RFC 3602), then HMAC.
    Cbc(AesKey, Hmac),
    /// AES-CTR (RFC 3686), then HMAC.
    Ctr(AesKey, Hmac),
    /// AES-GMAC: authentication alone (RFC 4543).
    Gmac(AesKey),
    /// HMAC: authentication alone (RFC 2410).
    Null(Hmac),
}

/// Length of an AES key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AesKey {
    /// 128 bits.
    Aes128,
    /// 256 bits.
    Aes256,
}

/// HMAC-SHA2, truncated to half its length (RFC 4868).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hmac {
    /// HMAC-SHA2-256-128.
    Sha256,
    /// HMAC-SHA2-384-192.
    Sha384,
    /// HMAC-SHA2-512-256.
    Sha512,
}

impl Cipher {
    /// Returns the length of the encryption key in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Gcm(key) | Self::Ccm(key) | Self::Cbc(key, _) | Self::Ctr(key, _) | Self::Gmac(key) => key.len(),
            Self::ChaCha20Poly1305 => 32,
            Self::Null(_) => 0,
        }
    }

    /// Returns the length of the salt that follows the encryption key in bytes.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::Gcm(_) | Self::ChaCha20Poly1305 | Self::Ctr(..) | Self::Gmac(_) => 4,
            Self::Ccm(_) => 3,
            Self::Cbc(..) | Self::Null(_) => 0,
        }
    }

    /// Returns the length of encryption key and salt in bytes: that of `SK_e`.
    #[must_use]
    pub const fn encryption_len(self) -> usize {
        self.key_len() + self.salt_len()
    }

    /// Returns the length of the integrity key in bytes: that of `SK_a`, 0 with AEAD.
    #[must_use]
    pub const fn integrity_len(self) -> usize {
        match self.hmac() {
            Some(hmac) => hmac.key_len(),
            None => 0,
        }
    }

    /// Returns the length of the IV on the wire in bytes.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        match self {
            Self::Gcm(_) | Self::ChaCha20Poly1305 | Self::Ccm(_) | Self::Ctr(..) | Self::Gmac(_) => 8,
            Self::Cbc(..) => 16,
            Self::Null(_) => 0,
        }
    }

    /// Returns the length of the integrity check value in bytes.
    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self.hmac() {
            Some(hmac) => hmac.icv_len(),
            None => 16,
        }
    }

    /// Returns the number of bytes of which the encrypted text must be a multiple.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Self::Cbc(..) => 16,
            Self::Gcm(_) | Self::ChaCha20Poly1305 | Self::Ccm(_) | Self::Ctr(..) | Self::Gmac(_) | Self::Null(_) => 1,
        }
    }

    /// Returns the integrity algorithm, which AEAD has none of.
    #[must_use]
    pub const fn hmac(self) -> Option<Hmac> {
        match self {
            Self::Cbc(_, hmac) | Self::Ctr(_, hmac) | Self::Null(hmac) => Some(hmac),
            Self::Gcm(_) | Self::ChaCha20Poly1305 | Self::Ccm(_) | Self::Gmac(_) => None,
        }
    }
}

impl AesKey {
    /// Returns the length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no key is empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }

    /// Returns the length in bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        match self {
            Self::Aes128 => 128,
            Self::Aes256 => 256,
        }
    }
}

impl Hmac {
    /// Returns the length of its key in bytes, which is that of the whole code (RFC 4868 §2.1.1).
    #[must_use]
    pub const fn key_len(self) -> usize {
        2 * self.icv_len()
    }

    /// Returns the length of the truncated code in bytes.
    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self {
            Self::Sha256 => 16,
            Self::Sha384 => 24,
            Self::Sha512 => 32,
        }
    }
}
