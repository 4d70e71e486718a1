//! What a packet shows first of what protects it: by that its SA is found.

use crate::counters::DropReason;
use crate::ip::{self, Fragment, protocol};

/// The first header of ESP or AH in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outermost {
    /// ESP (50) or AH (51).
    pub protocol: u8,
    /// Its SPI.
    pub spi: u32,
    /// Where it starts.
    pub at: usize,
}

/// Where AH has its SPI (RFC 4302 §2).
const SPI_OF_AH: usize = 4;

impl Outermost {
    /// Finds it in a whole IP packet.
    ///
    /// # Errors
    /// The reason to drop it.
    pub fn of(packet: &[u8]) -> Result<Self, DropReason> {
        let layout = ip::layout(packet)?;
        if layout.fragment != Fragment::Whole {
            return Err(DropReason::Fragment);
        }
        let header = packet.get(layout.upper.at..).unwrap_or_default();
        let found = Self::after_header(layout.upper.protocol, header)?;
        Ok(Self { at: layout.upper.at, ..found })
    }

    /// Reads it from what followed an IP header, or was in UDP: a header of this protocol.
    ///
    /// # Errors
    /// The reason to drop it.
    pub fn after_header(protocol: u8, bytes: &[u8]) -> Result<Self, DropReason> {
        let at = match protocol {
            protocol::ESP => 0,
            protocol::AH => SPI_OF_AH,
            _ => return Err(DropReason::WrongForm),
        };
        let spi = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(DropReason::Malformed)?;
        Ok(Self { protocol, spi: u32::from_be_bytes(*spi), at: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 32] =
        [0x45, 0, 0, 32, 0, 0, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0];

    #[test]
    fn the_spi_is_where_the_protocol_has_it() {
        assert_eq!(Outermost::of(&PACKET), Ok(Outermost { protocol: 50, spi: 0x0102_0304, at: 20 }));
        let mut ah = PACKET;
        ah[9] = 51;
        assert_eq!(Outermost::of(&ah), Ok(Outermost { protocol: 51, spi: 0x0506_0708, at: 20 }));
        assert_eq!(Outermost::after_header(50, &PACKET[20..]), Ok(Outermost { protocol: 50, spi: 0x0102_0304, at: 0 }));
    }

    #[test]
    fn what_has_none_is_named() {
        let mut packet = PACKET;
        packet[9] = 17;
        assert_eq!(Outermost::of(&packet), Err(DropReason::WrongForm));
        packet[6] = 0x20;
        assert_eq!(Outermost::of(&packet), Err(DropReason::Fragment));
        assert_eq!(Outermost::of(&PACKET[..30]), Err(DropReason::Malformed));
        assert_eq!(Outermost::after_header(51, &[0; 7]), Err(DropReason::Malformed));
    }
}
