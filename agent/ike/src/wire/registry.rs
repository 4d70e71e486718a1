//! IANA numbers of IKEv2. Unknown values survive a round trip.

macro_rules! registry {
    ($(#[$meta:meta])* $name:ident($int:ty) { $($(#[doc = $doc:expr])* $variant:ident = $value:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl $name {
            $($(#[doc = $doc])* pub const $variant: Self = Self($value);)*
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match *self {
                    $(Self::$variant => f.write_str(stringify!($variant)),)*
                    Self(number) => write!(f, "{} {number}", stringify!($name)),
                }
            }
        }
    };
}

registry! {
    /// What a payload holds (RFC 7296 §3.2).
    PayloadType(u8) {
        /// No payload follows.
        NONE = 0,
        /// Security association.
        SA = 33,
        /// Key exchange.
        KE = 34,
        /// Identification of the initiator.
        IDI = 35,
        /// Identification of the responder.
        IDR = 36,
        /// Certificate.
        CERT = 37,
        /// Certificate request.
        CERTREQ = 38,
        /// Authentication.
        AUTH = 39,
        /// Nonce.
        NONCE = 40,
        /// Notify.
        NOTIFY = 41,
        /// Delete.
        DELETE = 42,
        /// Vendor ID.
        VENDOR_ID = 43,
        /// Traffic selectors of the initiator.
        TSI = 44,
        /// Traffic selectors of the responder.
        TSR = 45,
        /// Encrypted and authenticated.
        SK = 46,
        /// Configuration.
        CP = 47,
        /// One fragment of what is encrypted and authenticated (RFC 7383).
        SKF = 53,
    }
}

registry! {
    /// What an exchange is for (RFC 7296 §3.1).
    ExchangeType(u8) {
        /// `IKE_SA_INIT`.
        IKE_SA_INIT = 34,
        /// `IKE_AUTH`.
        IKE_AUTH = 35,
        /// `CREATE_CHILD_SA`.
        CREATE_CHILD_SA = 36,
        /// INFORMATIONAL.
        INFORMATIONAL = 37,
        /// `IKE_INTERMEDIATE` (RFC 9242).
        IKE_INTERMEDIATE = 43,
        /// `IKE_FOLLOWUP_KE` (RFC 9370).
        IKE_FOLLOWUP_KE = 44,
    }
}

registry! {
    /// Whose SPI it is (RFC 7296 §3.3.1).
    ProtocolId(u8) {
        /// No protocol, in a notify about no SA.
        NONE = 0,
        /// IKE.
        IKE = 1,
        /// AH.
        AH = 2,
        /// ESP.
        ESP = 3,
    }
}

registry! {
    /// What a transform chooses (RFC 7296 §3.3.2).
    TransformType(u8) {
        /// Encryption.
        ENCR = 1,
        /// Pseudo-random function.
        PRF = 2,
        /// Integrity.
        INTEG = 3,
        /// Key exchange method.
        KE = 4,
        /// Extended sequence numbers.
        ESN = 5,
        /// First additional key exchange (RFC 9370).
        ADDKE1 = 6,
        /// Second additional key exchange.
        ADDKE2 = 7,
        /// Third additional key exchange.
        ADDKE3 = 8,
        /// Fourth additional key exchange.
        ADDKE4 = 9,
        /// Fifth additional key exchange.
        ADDKE5 = 10,
        /// Sixth additional key exchange.
        ADDKE6 = 11,
        /// Seventh additional key exchange.
        ADDKE7 = 12,
    }
}

registry! {
    /// What an identification holds (RFC 7296 §3.5).
    IdType(u8) {
        /// An IPv4 address.
        IPV4_ADDR = 1,
        /// A domain name.
        FQDN = 2,
        /// An e-mail address.
        RFC822_ADDR = 3,
        /// An IPv6 address.
        IPV6_ADDR = 5,
        /// A distinguished name in DER.
        DER_ASN1_DN = 9,
        /// Opaque bytes.
        KEY_ID = 11,
    }
}

registry! {
    /// What the identity of a postquantum preshared key holds (RFC 8784 §5.1).
    PpkIdType(u8) {
        /// Bytes that both ends know how to read.
        OPAQUE = 1,
        /// The name of a key that does not change.
        FIXED = 2,
    }
}

registry! {
    /// What a configuration payload is for (RFC 7296 §3.15).
    ConfigurationType(u8) {
        /// `CFG_REQUEST`.
        REQUEST = 1,
        /// `CFG_REPLY`.
        REPLY = 2,
        /// `CFG_SET`.
        SET = 3,
        /// `CFG_ACK`.
        ACK = 4,
    }
}

registry! {
    /// What an attribute of a configuration payload holds (RFC 7296 §3.15.1).
    AttributeType(u16) {
        /// An IPv4 address.
        INTERNAL_IP4_ADDRESS = 1,
        /// Its netmask.
        INTERNAL_IP4_NETMASK = 2,
        /// A name server.
        INTERNAL_IP4_DNS = 3,
        /// A NetBIOS name server.
        INTERNAL_IP4_NBNS = 4,
        /// A DHCP server.
        INTERNAL_IP4_DHCP = 6,
        /// The version of a program.
        APPLICATION_VERSION = 7,
        /// An IPv6 address with its prefix.
        INTERNAL_IP6_ADDRESS = 8,
        /// A name server.
        INTERNAL_IP6_DNS = 10,
        /// A DHCP server.
        INTERNAL_IP6_DHCP = 12,
        /// A network behind the sender.
        INTERNAL_IP4_SUBNET = 13,
        /// The attribute types that the sender knows.
        SUPPORTED_ATTRIBUTES = 14,
        /// A network behind the sender.
        INTERNAL_IP6_SUBNET = 15,
    }
}

registry! {
    /// How an AUTH payload was made (RFC 7296 §3.8).
    AuthMethod(u8) {
        /// RSA PKCS#1 v1.5; not used here.
        RSA = 1,
        /// Shared key message integrity code.
        SHARED_KEY = 2,
        /// ECDSA with SHA-256 on P-256, raw (RFC 4754).
        ECDSA_P256_SHA256 = 9,
        /// ECDSA with SHA-384 on P-384, raw (RFC 4754).
        ECDSA_P384_SHA384 = 10,
        /// Digital signature (RFC 7427).
        DIGITAL_SIGNATURE = 14,
    }
}

registry! {
    /// How a certificate is encoded (RFC 7296 §3.6).
    CertificateEncoding(u8) {
        /// X.509 certificate for signatures, DER.
        X509_SIGNATURE = 4,
        /// SHA-1 and URL of a certificate; not used here.
        HASH_AND_URL = 12,
    }
}

registry! {
    /// What a notify tells; below 16384 it is an error (RFC 7296 §3.10.1).
    NotifyType(u16) {
        /// A critical payload is unknown; the data is its type.
        UNSUPPORTED_CRITICAL_PAYLOAD = 1,
        /// The IKE SPI is unknown.
        INVALID_IKE_SPI = 4,
        /// The major version is not supported.
        INVALID_MAJOR_VERSION = 5,
        /// The message is malformed, or a value is out of range.
        INVALID_SYNTAX = 7,
        /// The message ID is outside the window.
        INVALID_MESSAGE_ID = 9,
        /// An ESP SPI is unknown.
        INVALID_SPI = 11,
        /// No proposal is acceptable.
        NO_PROPOSAL_CHOSEN = 14,
        /// The KE payload is of another method; the data is the wanted one.
        INVALID_KE_PAYLOAD = 17,
        /// Authentication failed.
        AUTHENTICATION_FAILED = 24,
        /// Only one traffic selector pair is acceptable.
        SINGLE_PAIR_REQUIRED = 34,
        /// No more child SAs on this IKE SA.
        NO_ADDITIONAL_SAS = 35,
        /// The responder has no address to give.
        INTERNAL_ADDRESS_FAILURE = 36,
        /// A configuration payload is required.
        FAILED_CP_REQUIRED = 37,
        /// No traffic selector is acceptable.
        TS_UNACCEPTABLE = 38,
        /// A selector of a packet is not acceptable.
        INVALID_SELECTORS = 39,
        /// The addresses of a message are not acceptable (RFC 4555).
        UNACCEPTABLE_ADDRESSES = 40,
        /// A NAT is on the path, where the sender allows none (RFC 4555).
        UNEXPECTED_NAT_DETECTED = 41,
        /// The peer cannot do this now (RFC 7296 §2.25).
        TEMPORARY_FAILURE = 43,
        /// The child SA to rekey does not exist (RFC 7296 §2.25).
        CHILD_SA_NOT_FOUND = 44,
        /// Nothing is known of the series of key exchanges that is to go on (RFC 9370).
        STATE_NOT_FOUND = 47,
        /// The only IKE SA between the two identities.
        INITIAL_CONTACT = 16384,
        /// How many messages the sender keeps.
        SET_WINDOW_SIZE = 16385,
        /// Selectors could have been wider.
        ADDITIONAL_TS_POSSIBLE = 16386,
        /// IP compression is offered.
        IPCOMP_SUPPORTED = 16387,
        /// Hash of the sender's address and port.
        NAT_DETECTION_SOURCE_IP = 16388,
        /// Hash of the receiver's address and port.
        NAT_DETECTION_DESTINATION_IP = 16389,
        /// A cookie to return.
        COOKIE = 16390,
        /// Transport mode is asked for.
        USE_TRANSPORT_MODE = 16391,
        /// Certificates may be sent as hash and URL.
        HTTP_CERT_LOOKUP_SUPPORTED = 16392,
        /// Names the SA that is rekeyed.
        REKEY_SA = 16393,
        /// Padding for traffic flow confidentiality is not understood.
        ESP_TFC_PADDING_NOT_SUPPORTED = 16394,
        /// Non-first fragments travel too.
        NON_FIRST_FRAGMENTS_ALSO = 16395,
        /// MOBIKE is supported (RFC 4555).
        MOBIKE_SUPPORTED = 16396,
        /// Another IPv4 address of the sender (RFC 4555).
        ADDITIONAL_IP4_ADDRESS = 16397,
        /// Another IPv6 address of the sender (RFC 4555).
        ADDITIONAL_IP6_ADDRESS = 16398,
        /// The sender has no other address (RFC 4555).
        NO_ADDITIONAL_ADDRESSES = 16399,
        /// From now on the SAs use the addresses of this message (RFC 4555).
        UPDATE_SA_ADDRESSES = 16400,
        /// To be returned, which shows that the address receives (RFC 4555).
        COOKIE2 = 16401,
        /// The addresses and ports that the message has where no NAT is on the path (RFC 4555).
        NO_NATS_ALLOWED = 16402,
        /// Seconds until the initiator has to prove itself anew (RFC 4478).
        AUTH_LIFETIME = 16403,
        /// Authentication is followed by another (RFC 4739).
        MULTIPLE_AUTH_SUPPORTED = 16404,
        /// An IKE SA may be set up without a child SA (RFC 6023).
        CHILDLESS_IKEV2_SUPPORTED = 16418,
        /// Fragmentation is supported (RFC 7383).
        IKEV2_FRAGMENTATION_SUPPORTED = 16430,
        /// Hash functions for signatures (RFC 7427 §4).
        SIGNATURE_HASH_ALGORITHMS = 16431,
        /// A postquantum preshared key is wanted (RFC 8784).
        USE_PPK = 16435,
        /// Which postquantum preshared key is meant; without data, that it is used (RFC 8784).
        PPK_IDENTITY = 16436,
        /// What AUTH would be without a postquantum preshared key (RFC 8784).
        NO_PPK_AUTH = 16437,
        /// `IKE_INTERMEDIATE` is supported (RFC 9242).
        INTERMEDIATE_EXCHANGE_SUPPORTED = 16438,
        /// Links a series of key exchanges; meaningful to the responder alone (RFC 9370).
        ADDITIONAL_KEY_EXCHANGE = 16441,
        /// Private use: the rotation of keys under which the sender sets an SA up, eight bytes. Others ignore it.
        KEY_EPOCH = 58_801,
        /// A random number of 8 bytes for the life of the sender: with another one it has started anew.
        LIFE = 58_802,
        /// Private use: the child SA is one of two, ESP inside AH. Without an SPI the inner one; with one, AH around that ESP SA.
        AH_PAIR = 58_810,
        /// Private use: hash of the sender's address and port, where `NAT_DETECTION_SOURCE_IP` is made up to have ESP in UDP.
        TRUE_SOURCE = 58_811,
    }
}

impl NotifyType {
    /// Tells whether it reports an error.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 < 16384
    }
}

/// Transform identifiers, by transform type.
pub mod transform_id {
    /// No encryption.
    pub const ENCR_NULL: u16 = 11;
    /// AES-CBC.
    pub const ENCR_AES_CBC: u16 = 12;
    /// AES-CTR.
    pub const ENCR_AES_CTR: u16 = 13;
    /// AES-CCM with a tag of 16 bytes.
    pub const ENCR_AES_CCM_16: u16 = 16;
    /// AES-GCM with a tag of 16 bytes.
    pub const ENCR_AES_GCM_16: u16 = 20;
    /// AES-GMAC: authentication alone.
    pub const ENCR_NULL_AUTH_AES_GMAC: u16 = 21;
    /// ChaCha20-Poly1305.
    pub const ENCR_CHACHA20_POLY1305: u16 = 28;
    /// PRF-HMAC-SHA2-256.
    pub const PRF_HMAC_SHA2_256: u16 = 5;
    /// PRF-HMAC-SHA2-384.
    pub const PRF_HMAC_SHA2_384: u16 = 6;
    /// PRF-HMAC-SHA2-512.
    pub const PRF_HMAC_SHA2_512: u16 = 7;
    /// No integrity transform.
    pub const INTEG_NONE: u16 = 0;
    /// HMAC-SHA2-256-128.
    pub const INTEG_HMAC_SHA2_256_128: u16 = 12;
    /// HMAC-SHA2-384-192.
    pub const INTEG_HMAC_SHA2_384_192: u16 = 13;
    /// HMAC-SHA2-512-256.
    pub const INTEG_HMAC_SHA2_512_256: u16 = 14;
    /// No key exchange.
    pub const KE_NONE: u16 = 0;
    /// The 2,048-bit MODP group.
    pub const KE_MODP_2048: u16 = 14;
    /// The 3,072-bit MODP group.
    pub const KE_MODP_3072: u16 = 15;
    /// The 4,096-bit MODP group.
    pub const KE_MODP_4096: u16 = 16;
    /// P-256.
    pub const KE_P256: u16 = 19;
    /// P-384.
    pub const KE_P384: u16 = 20;
    /// P-521.
    pub const KE_P521: u16 = 21;
    /// Curve25519.
    pub const KE_X25519: u16 = 31;
    /// ML-KEM-768, only in an additional key exchange.
    pub const KE_ML_KEM_768: u16 = 36;
    /// ML-KEM-1024, only in an additional key exchange.
    pub const KE_ML_KEM_1024: u16 = 37;
    /// Sequence numbers of 32 bits.
    pub const ESN_NONE: u16 = 0;
    /// Sequence numbers of 64 bits.
    pub const ESN_EXTENDED: u16 = 1;
}

/// Hash functions of RFC 7427 §4 and RFC 8420, as `SIGNATURE_HASH_ALGORITHMS` lists them.
pub mod hash_id {
    /// SHA-256.
    pub const SHA2_256: u16 = 2;
    /// SHA-384.
    pub const SHA2_384: u16 = 3;
    /// SHA-512.
    pub const SHA2_512: u16 = 4;
    /// The signature hashes by itself, as Ed25519 does.
    pub const IDENTITY: u16 = 5;
}
