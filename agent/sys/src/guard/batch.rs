//! A transaction of nftables: all of its messages take effect together, or none.

use std::io;
use std::os::fd::AsFd;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::attribute::{Attributes, Expressions, LIST_ELEM};
use crate::error::Error;
use crate::option::set_buffers;

/// The messages of one transaction on the table `inet espalier`.
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// What each message is about; its place is the message's sequence number.
    objects: Vec<String>,
    sets: u32,
}

/// Where a chain is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hook {
    Input = 1,
    Forward = 2,
    Postrouting = 4,
}

/// What a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

impl Batch {
    pub(super) fn new() -> Self {
        let mut batch = Self { bytes: Vec::new(), objects: Vec::new(), sets: 0 };
        batch.frame(libc::NFNL_MSG_BATCH_BEGIN);
        batch
    }

    /// Deletes the table with all in it; creating it first makes that work where there is none.
    pub(super) fn delete_table(&mut self) {
        self.table();
        self.message(libc::NFT_MSG_DELTABLE, 0, format!("table {TABLE}"), Attributes::default().put_text(1, TABLE));
    }

    pub(super) fn table(&mut self) {
        let mut attributes = Attributes::default();
        attributes.put_text(1, TABLE).put_u32(2, 0);
        self.message(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE, format!("table {TABLE}"), &attributes);
    }

    /// Creates a chain that lets pass what none of its rules drops, or empties the one there is.
    ///
    /// The chain itself is never replaced: for a packet on its way from a new chain, whose rules do not count yet, to the old
    /// one, whose rules no longer count, there would be neither. Within one chain the kernel switches all rules at once.
    pub(super) fn chain(&mut self, name: &str, hook: Hook, priority: i32) {
        let mut attributes = Attributes::default();
        attributes.put_text(1, TABLE).put_text(3, name);
        attributes.nest(4, |data| {
            data.put_u32(1, hook as u32).put(2, &priority.to_be_bytes());
        });
        attributes.put_u32(5, ACCEPT).put_text(7, "filter");
        self.message(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, format!("chain {name}"), &attributes);
        let mut attributes = Attributes::default();
        attributes.put_text(1, TABLE).put_text(2, name);
        self.message(libc::NFT_MSG_DELRULE, 0, format!("the rules of chain {name}"), &attributes);
    }

    pub(super) fn rule(&mut self, chain: &str, expressions: &Expressions) {
        let mut attributes = Attributes::default();
        attributes.put_text(1, TABLE).put_text(2, chain);
        attributes.put(4 | NESTED, expressions.attributes().as_bytes());
        let flags = libc::NLM_F_CREATE | libc::NLM_F_APPEND;
        self.message(libc::NFT_MSG_NEWRULE, flags, format!("a rule of chain {chain}"), &attributes);
    }

    /// Creates a set of address ranges; `ranges` are ordered and do not touch.
    pub(super) fn set(&mut self, name: &str, version: Version, ranges: &[(u128, u128)]) {
        self.sets += 1;
        let (kind, length) = match version {
            Version::V4 => (7, 4),
            Version::V6 => (8, 16),
        };
        let mut attributes = Attributes::default();
        attributes.put_text(1, TABLE).put_text(2, name).put_u32(3, INTERVAL);
        attributes.put_u32(4, kind).put_u32(5, length).put_u32(10, self.sets);
        self.message(libc::NFT_MSG_NEWSET, libc::NLM_F_CREATE, format!("set {name}"), &attributes);
        // An element of IPv6 takes 44 bytes at most with its end: a chunk stays far below an attribute's 64 KiB.
        for chunk in ranges.chunks(500) {
            let mut attributes = Attributes::default();
            attributes.put_text(1, TABLE).put_text(2, name).nest(3, |list| {
                chunk.iter().for_each(|(first, last)| put_range(list, version, *first, *last));
            });
            let object = format!("the elements of set {name}");
            self.message(libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE, object, &attributes);
        }
    }

    /// Deletes a set that no rule of the transaction's outcome uses.
    pub(super) fn delete_set(&mut self, name: &str) {
        let mut attributes = Attributes::default();
        attributes.put_text(1, TABLE).put_text(2, name);
        self.message(libc::NFT_MSG_DELSET, 0, format!("set {name}"), &attributes);
    }

    /// Hands the transaction to the kernel and waits for its verdict.
    pub(super) fn commit(mut self, action: &str) -> Result<(), Error> {
        let last = self.objects.len().saturating_sub(1);
        self.frame(libc::NFNL_MSG_BATCH_END);
        match self.transact(last) {
            Ok(None) => Ok(()),
            Ok(Some((object, source))) => Err(refused(format!("{action} ({object} of nftables)"), source)),
            Err(source) => Err(refused(action.to_owned(), source)),
        }
    }

    /// Returns what was refused, if anything.
    fn transact(&self, last: usize) -> io::Result<Option<(&str, io::Error)>> {
        let socket = connect()?;
        // The kernel takes a transaction as one datagram, and counts its own overhead against the buffer.
        let room = self.bytes.len().saturating_mul(2).max(1 << 20);
        set_buffers(socket.as_fd(), i32::try_from(room).map_err(io::Error::other)?)?;
        socket.send(&self.bytes, 0)?;
        loop {
            let (datagram, _) = socket.recv_from_full()?;
            for (sequence, code) in answers(&datagram) {
                if code != 0 {
                    let object = self.objects.get(sequence).map_or("the transaction", String::as_str);
                    return Ok(Some((object, io::Error::from_raw_os_error(code.saturating_neg()))));
                }
                if sequence == last {
                    return Ok(None);
                }
            }
        }
    }

    /// Adds one of the two messages that enclose a transaction.
    fn frame(&mut self, kind: i32) {
        let subsystem = u16::try_from(libc::NFNL_SUBSYS_NFTABLES).expect("a small number");
        self.write(kind, libc::NLM_F_REQUEST, libc::AF_UNSPEC, subsystem, "the transaction".to_owned(), &[]);
    }

    /// Adds a message. All are acknowledged: the answer to the last one tells that the transaction stands.
    fn message(&mut self, kind: i32, flags: i32, object: String, attributes: &Attributes) {
        let kind = (libc::NFNL_SUBSYS_NFTABLES << 8) | kind;
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags;
        self.write(kind, flags, libc::NFPROTO_INET, 0, object, attributes.as_bytes());
    }

    fn write(&mut self, kind: i32, flags: i32, family: i32, resource: u16, object: String, body: &[u8]) {
        let sequence = u32::try_from(self.objects.len()).expect("a transaction of some thousand messages");
        let length = u32::try_from(MESSAGE_HEADER_BYTES + body.len()).expect("a message below 128 KiB");
        self.objects.push(object);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&small(kind).to_ne_bytes());
        self.bytes.extend_from_slice(&small(flags).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0_u32.to_ne_bytes());
        self.bytes.push(u8::try_from(family).expect("families are small numbers"));
        self.bytes.push(0);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        self.bytes.extend_from_slice(body);
    }
}

/// Returns the names of the table's sets; none, where there is no table.
pub(super) fn set_names() -> Result<Vec<String>, Error> {
    let fail = |source| refused("list the sets of the leak guard".to_owned(), source);
    let mut request = Batch { bytes: Vec::new(), objects: Vec::new(), sets: 0 };
    let mut table = Attributes::default();
    table.put_text(1, TABLE);
    let kind = (libc::NFNL_SUBSYS_NFTABLES << 8) | libc::NFT_MSG_GETSET;
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
    request.write(kind, flags, libc::NFPROTO_INET, 0, String::new(), table.as_bytes());
    let socket = connect().map_err(fail)?;
    socket.send(&request.bytes, 0).map_err(fail)?;
    let mut names = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full().map_err(fail)?;
        for (kind, message) in messages(&datagram) {
            if kind == libc::NLMSG_DONE || kind == libc::NLMSG_ERROR {
                return match word(message, 16).map_or(0, |word| i32::from_ne_bytes(word.to_ne_bytes())) {
                    code if code < 0 && code != -libc::ENOENT => Err(fail(io::Error::from_raw_os_error(-code))),
                    _ => Ok(names),
                };
            }
            names.extend(set_name(message));
        }
    }
}

/// Returns the value of the attribute NFTA_SET_NAME, a text with a zero at its end.
fn set_name(message: &[u8]) -> Option<String> {
    let mut rest = message.get(MESSAGE_HEADER_BYTES..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        if kind == 2 {
            return String::from_utf8(rest.get(4..length.checked_sub(1)?)?.to_vec()).ok();
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Returns sequence number and error number of each answer in a datagram.
fn answers(datagram: &[u8]) -> Vec<(usize, i32)> {
    let errors = messages(datagram).into_iter().filter(|(kind, _)| *kind == libc::NLMSG_ERROR);
    let read = |(_, message): (i32, &[u8])| {
        let sequence = usize::try_from(word(message, 8)?).ok()?;
        Some((sequence, i32::from_ne_bytes(word(message, 16)?.to_ne_bytes())))
    };
    errors.filter_map(read).collect()
}

/// Returns the messages of a datagram, each with its kind and its header.
fn messages(mut datagram: &[u8]) -> Vec<(i32, &[u8])> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (word(datagram, 0), word(datagram, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX).max(16);
        let kind = i32::try_from(kind & 0xffff).expect("sixteen bits");
        found.push((kind, datagram.get(..length).unwrap_or(datagram)));
        datagram = length.checked_next_multiple_of(4).and_then(|next| datagram.get(next..)).unwrap_or_default();
    }
    found
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|chunk| u32::from_ne_bytes(*chunk))
}

/// Adds a range as the kernel has it: an element where it starts, and one that ends it behind its last address.
fn put_range(list: &mut Attributes, version: Version, first: u128, last: u128) {
    put_element(list, version, first, 0);
    let end = match version {
        Version::V4 if last == u128::from(u32::MAX) => None,
        Version::V4 | Version::V6 => last.checked_add(1),
    };
    if let Some(end) = end {
        put_element(list, version, end, INTERVAL_END);
    }
}

fn put_element(list: &mut Attributes, version: Version, address: u128, flags: u32) {
    list.nest(LIST_ELEM, |element| {
        element.nest(1, |key| {
            match version {
                Version::V4 => key.put_u32(1, u32::try_from(address).expect("the address is one of IPv4")),
                Version::V6 => key.put(1, &address.to_be_bytes()),
            };
        });
        if flags != 0 {
            element.put_u32(3, flags);
        }
    });
}

fn refused(action: String, source: io::Error) -> Error {
    let remedy = match source.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::ENOENT | libc::EAFNOSUPPORT) => {
            "this kernel lacks nftables or a part of it; load the modules nf_tables and nf_tables_inet"
        }
        _ => return Error::new(action, source),
    };
    Error::Remedy { action, remedy, source }
}

fn small(value: i32) -> u16 {
    u16::try_from(value).expect("kinds and flags have sixteen bits")
}

const TABLE: &str = "espalier";
const MESSAGE_HEADER_BYTES: usize = 20;
const NESTED: u16 = 1 << 15;
const ACCEPT: u32 = 1;
const INTERVAL: u32 = 4;
const INTERVAL_END: u32 = 1;
