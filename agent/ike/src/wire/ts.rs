//! Traffic selector payloads (RFC 7296 §3.13).

use std::net::IpAddr;

use espalier_model::selector::{PortRange, Protocol, TrafficSelector};

use super::buffer::{Reader, Writer};
use super::{Malformed, Oversized};

/// Reads the body of a TSi or TSr payload.
pub(super) fn read(r: &mut Reader<'_>) -> Result<Vec<TrafficSelector>, Malformed> {
    let count = r.u8("TS")?;
    //= RFC 7296 §2.5: reserved fields are skipped
    r.take(3, "TS")?;
    if count == 0 {
        return Err(Malformed::Value("TS count"));
    }
    let selectors = (0..count).map(|_| read_one(r)).collect::<Result<Vec<_>, _>>()?;
    Ok(selectors.into_iter().flatten().collect())
}

/// Reads a selector, or nothing for one of a kind that is not known here.
fn read_one(r: &mut Reader<'_>) -> Result<Option<TrafficSelector>, Malformed> {
    let kind = r.u8("TS")?;
    let protocol = Protocol::from_wire(r.u8("TS")?);
    let length = r.u16("TS")?;
    let mut body = r.sub(length, 4, "TS")?;
    let address = match kind {
        IPV4_RANGE => |r: &mut Reader<'_>| r.array::<4>("TS").map(IpAddr::from),
        IPV6_RANGE => |r: &mut Reader<'_>| r.array::<16>("TS").map(IpAddr::from),
        //= RFC 7296 §2.9: a selector of an unknown type is left out, so that it is neither accepted nor returned
        _ => return Ok(None),
    };
    let (start, end) = (body.u16("TS ports")?, body.u16("TS ports")?);
    // Only packets whose ports cannot be seen, for which there are no rules here.
    if (start, end) == OPAQUE {
        return Ok(None);
    }
    let ports = PortRange::new(start, end).map_err(|_| Malformed::Value("TS ports"))?;
    let (first, last) = (address(&mut body)?, address(&mut body)?);
    body.finish("TS")?;
    TrafficSelector::new(protocol, ports, first, last).map(Some).map_err(|_| Malformed::Value("TS addresses"))
}

/// Writes the body of a TSi or TSr payload.
pub(super) fn emit(selectors: &[TrafficSelector], w: &mut Writer) -> Result<(), Oversized> {
    w.u8(u8::try_from(selectors.len()).map_err(|_| Oversized("TS"))?);
    w.bytes(&[0; 3]);
    for ts in selectors {
        let start = w.len();
        w.u8(if ts.first().is_ipv4() { IPV4_RANGE } else { IPV6_RANGE });
        w.u8(ts.protocol().to_wire());
        let gap = w.gap_u16(start);
        //= RFC 7296 §3.13.1: where all ports are meant the first port is 0
        w.u16(ts.ports().start());
        w.u16(ts.ports().end());
        for address in [ts.first(), ts.last()] {
            match address {
                IpAddr::V4(a) => w.bytes(&a.octets()),
                IpAddr::V6(a) => w.bytes(&a.octets()),
            }
        }
        w.close_u16(gap, "TS")?;
    }
    Ok(())
}

const IPV4_RANGE: u8 = 7;
const IPV6_RANGE: u8 = 8;
const OPAQUE: (u16, u16) = (u16::MAX, 0);
