//! Traffic selector payloads (RFC 7296 §3.13).

use std::net::IpAddr;

use espalier_model::selector::{PortRange, Protocol, TrafficSelector};

use super::buffer::{Reader, Writer};
use super::{Malformed, Oversized};

/// Reads the body of a TSi or TSr payload. A selector of an unknown type refuses the whole list, which is never shortened.
pub(super) fn read(r: &mut Reader<'_>) -> Result<Vec<TrafficSelector>, Malformed> {
    let count = r.u8("TS")?;
    r.take(3, "TS")?;
    if count == 0 {
        return Err(Malformed::Value("TS count"));
    }
    (0..count).map(|_| read_one(r)).collect()
}

fn read_one(r: &mut Reader<'_>) -> Result<TrafficSelector, Malformed> {
    let kind = r.u8("TS")?;
    let protocol = Protocol::from_wire(r.u8("TS")?);
    let length = r.u16("TS")?;
    let mut body = r.sub(length, 4, "TS")?;
    let (start, end) = (body.u16("TS ports")?, body.u16("TS ports")?);
    let ports = PortRange::new(start, end).map_err(|_| Malformed::Value("TS ports"))?;
    let (first, last) = match kind {
        IPV4_RANGE => (IpAddr::from(body.array::<4>("TS")?), IpAddr::from(body.array::<4>("TS")?)),
        IPV6_RANGE => (IpAddr::from(body.array::<16>("TS")?), IpAddr::from(body.array::<16>("TS")?)),
        _ => return Err(Malformed::Value("TS type")),
    };
    body.finish("TS")?;
    TrafficSelector::new(protocol, ports, first, last).map_err(|_| Malformed::Value("TS addresses"))
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
