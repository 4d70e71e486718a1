//! One request, its answers, in turn.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::Error;

/// A connection to the kernel's tables of one network namespace: that of the thread which opened it, for good.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Connects to the tables of the calling thread's namespace.
    ///
    /// # Errors
    /// What socket(2) says.
    pub fn open() -> Result<Self, Error> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| Error::new("open a netlink socket", source))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks for a change, and waits until it is made.
    pub(super) fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.exchange(message, flags | NLM_F_ACK).map(|_| ())
    }

    /// Asks for one object.
    pub(super) fn fetch(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.exchange(message, NLM_F_ACK)
    }

    /// Asks for all objects of a kind.
    pub(super) fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.exchange(message, NLM_F_DUMP)
    }

    fn exchange(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if self.read_answers(&datagram, &mut answers)? {
                return Ok(answers);
            }
        }
    }

    /// Takes the answers out of one datagram, and tells whether it holds the last.
    fn read_answers(&self, datagram: &[u8], answers: &mut Vec<RouteNetlinkMessage>) -> io::Result<bool> {
        let mut rest = datagram;
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = usize::try_from(message.header.length).map_err(io::Error::other)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            if message.header.sequence_number != self.sequence {
                continue;
            }
            match message.payload {
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                NetlinkPayload::Error(error) => {
                    return match error.code {
                        Some(code) => Err(io::Error::from_raw_os_error(code.get().saturating_neg())),
                        None => Ok(true),
                    };
                }
                NetlinkPayload::Done(done) => {
                    return match done.code {
                        0.. => Ok(true),
                        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                    };
                }
                NetlinkPayload::Overrun(_) => return Err(io::Error::other("the kernel's answer overran the buffer")),
                _ => {}
            }
        }
        Ok(false)
    }
}

/// Makes an error of a refused request, with the remedy that its number suggests.
pub(super) fn refused(action: String, source: io::Error) -> Error {
    let remedy = match source.raw_os_error() {
        Some(libc::ENODEV) => "there is no such interface in this network namespace",
        Some(libc::EEXIST) => "it exists already; remove it first",
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => {
            "the gateway is not on a connected network; add its address or route first"
        }
        Some(libc::ENETDOWN) => "the interface is down; set it up first",
        Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => "this kernel lacks that feature, or IPv6 is switched off",
        _ => return Error::new(action, source),
    };
    Error::Remedy { action, remedy, source }
}
