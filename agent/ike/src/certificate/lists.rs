//! Revocation lists (RFC 5280 §5). They come from the configuration alone: one that a peer sends is left aside, since it is the
//! party to be judged that would choose between an old list and a new one.

use std::sync::Arc;

use espalier_model::revocation::{Expired, Missing};
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::CertificateError;

/// Lists in DER, and what holds where they say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationLists {
    /// The lists.
    pub ders: Vec<Vec<u8>>,
    /// What holds when a list is out of date.
    pub expired: Expired,
    /// What holds when there is no list of an authority.
    pub missing: Missing,
}

/// A certificate as a list names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The name of the authority, the content of its DER.
    pub(super) issuer: Vec<u8>,
    /// The serial number, the content of its DER.
    pub(super) serial: Vec<u8>,
}

/// The lists that are in force: for each authority the one that it issued last.
#[derive(Clone, Default)]
pub(super) struct Lists {
    all: Arc<[CertRevocationList<'static>]>,
    expired: Expired,
    missing: Missing,
}

impl Lists {
    /// Reads lists.
    pub(super) fn new(lists: &RevocationLists) -> Result<Self, CertificateError> {
        let mut read = lists.ders.iter().map(|der| read(der)).collect::<Result<Vec<_>, _>>()?;
        // Path validation asks the first list of an authority.
        read.sort_by_key(|(issued, _)| std::cmp::Reverse(*issued));
        let all = read.into_iter().map(|(_, list)| list).collect();
        Ok(Self { all, expired: lists.expired, missing: lists.missing })
    }

    /// Lends the lists to path validation.
    pub(super) fn borrowed(&self) -> Vec<&CertRevocationList<'static>> {
        self.all.iter().collect()
    }

    /// Says how path validation uses them; `None` where there are none.
    pub(super) fn options<'l>(&self, lists: &'l [&'l CertRevocationList<'l>]) -> Option<RevocationOptions<'l>> {
        let builder = RevocationOptionsBuilder::new(lists).ok()?;
        let expired = match self.expired {
            Expired::Refuse => ExpirationPolicy::Enforce,
            Expired::Accept => ExpirationPolicy::Ignore,
        };
        let missing = match self.missing {
            Missing::Refuse => UnknownStatusPolicy::Deny,
            Missing::Accept => UnknownStatusPolicy::Allow,
        };
        let builder = builder.with_depth(RevocationCheckDepth::Chain);
        Some(builder.with_expiration_policy(expired).with_status_policy(missing).build())
    }

    /// Tells whether the list of its authority names a certificate.
    pub(super) fn name(&self, certificate: &Issued) -> bool {
        let list = self.all.iter().find(|list| list.issuer() == certificate.issuer);
        // A list that cannot be searched is taken to name everybody.
        list.is_some_and(|list| list.find_serial(&certificate.serial).map_or(true, |found| found.is_some()))
    }
}

/// Reads a list and the Unix second at which it was issued.
fn read(der: &[u8]) -> Result<(i64, CertRevocationList<'static>), CertificateError> {
    let list = OwnedCertRevocationList::from_der(der).map_err(CertificateError::List)?;
    let (_, facts) = CertificateRevocationList::from_der(der).map_err(|_| CertificateError::Malformed)?;
    Ok((facts.last_update().timestamp(), list.into()))
}
