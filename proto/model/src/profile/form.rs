//! In what form packets travel: mode, protocol, sequence numbers, encapsulation; and when there is an SA for them.

use serde::{Deserialize, Serialize};

use crate::suite::named;

named! {
    /// What of a packet an SA carries.
    #[derive(Default)]
    Mode {
        /// The whole packet, inside another one.
        #[default]
        Tunnel = "tunnel",
        /// What follows the IP header, between the two ends themselves.
        Transport = "transport",
    }
}

named! {
    /// Which protocol protects the packets of a rule.
    #[derive(Default)]
    Protection {
        /// ESP.
        #[default]
        Esp = "esp",
        /// AH: all of the packet is authentic and none of it secret.
        Ah = "ah",
        /// ESP inside AH, as two SAs that come and go as one. Only between agents of this project: RFC 4301 has no bundles.
        AhEsp = "ah+esp",
    }
}

named! {
    /// Whether packets must be secret.
    #[derive(Default)]
    Confidentiality {
        /// Every suite encrypts.
        #[default]
        Required = "required",
        /// No suite encrypts: packets are only authentic. IKE itself is always encrypted.
        None = "none",
    }
}

named! {
    /// Whether sequence numbers have 64 bits (RFC 4303 §2.2.1). Both ends see only the lower half of them on the wire.
    #[derive(Default)]
    Esn {
        /// Never.
        Off = "off",
        /// Where the peer takes them.
        #[default]
        Preferred = "preferred",
        /// A peer that does not take them gets no child SA.
        Required = "required",
    }
}

named! {
    /// Whether ESP travels inside UDP (RFC 3948).
    #[derive(Default)]
    Encap {
        /// Where a NAT is on the path; as IP protocol 50 otherwise.
        Auto = "auto",
        /// On every path: both ends are told of a NAT that need not be there.
        #[default]
        Always = "always",
        /// On none: a path with a NAT is refused.
        Never = "never",
    }
}

named! {
    /// When the child SA of a rule is made.
    #[derive(Default)]
    Activation {
        /// With the plan, whether or not packets are there for it.
        #[default]
        Eager = "eager",
        /// With the first packet, which waits for it.
        OnDemand = "on-demand",
    }
}

impl Activation {
    pub(super) const fn is_eager(&self) -> bool {
        matches!(self, Self::Eager)
    }
}
