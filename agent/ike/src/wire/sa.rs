//! The security association payload: proposals of transforms (RFC 7296 §3.3).

use espalier_model::sa::Spi;

use super::buffer::{Reader, Writer};
use super::header::IkeSpi;
use super::registry::{ProtocolId, TransformType};
use super::{Malformed, Oversized};

/// An SPI field of variable length: empty, four bytes for a child SA or eight for an IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpiField {
    /// Empty.
    None,
    /// SPI of an ESP or AH SA.
    Child(Spi),
    /// SPI of an IKE SA.
    Ike(IkeSpi),
}

/// One proposal: for each transform type, one of the given transforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Number in the offer, repeated in the answer.
    pub number: u8,
    /// Protocol of the SA.
    pub protocol: ProtocolId,
    /// The sender's SPI for the new SA; none in the first exchange.
    pub spi: SpiField,
    /// The transforms, most wanted first within a type.
    pub transforms: Vec<Transform>,
}

/// One transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transform {
    /// What it chooses.
    pub kind: TransformType,
    /// Which algorithm.
    pub id: u16,
    /// Key length in bits, where the algorithm has several.
    pub key_length: Option<u16>,
    /// It carries an attribute that is unknown here, so it must not be chosen (RFC 7296 §3.3.6). Never sent.
    pub foreign: bool,
}

impl SpiField {
    /// Returns the SPI of a child SA.
    #[must_use]
    pub const fn child(self) -> Option<Spi> {
        match self {
            Self::Child(spi) => Some(spi),
            Self::None | Self::Ike(_) => None,
        }
    }

    /// Returns the SPI of an IKE SA.
    #[must_use]
    pub const fn ike(self) -> Option<IkeSpi> {
        match self {
            Self::Ike(spi) => Some(spi),
            Self::None | Self::Child(_) => None,
        }
    }

    pub(super) fn read(r: &mut Reader<'_>, length: u8, what: &'static str) -> Result<Self, Malformed> {
        match length {
            0 => Ok(Self::None),
            4 => Spi::try_from(r.u32(what)?).map(Self::Child).map_err(|_| Malformed::Value(what)),
            8 => match r.u64(what)? {
                0 => Err(Malformed::Value(what)),
                spi => Ok(Self::Ike(IkeSpi(spi))),
            },
            _ => Err(Malformed::Length(what)),
        }
    }

    pub(super) const fn wire_len(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Child(_) => 4,
            Self::Ike(_) => 8,
        }
    }

    pub(super) fn emit(self, w: &mut Writer) {
        match self {
            Self::None => {}
            Self::Child(spi) => w.u32(spi.get()),
            Self::Ike(spi) => w.u64(spi.0),
        }
    }
}

impl Transform {
    /// Builds a transform of an algorithm whose key length is fixed.
    #[must_use]
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self { kind, id, key_length: None, foreign: false }
    }

    /// Builds a transform with the length of the key in bits.
    #[must_use]
    pub const fn with_key_length(kind: TransformType, id: u16, bits: u16) -> Self {
        Self { kind, id, key_length: Some(bits), foreign: false }
    }

    fn read(r: &mut Reader<'_>) -> Result<(Self, bool), Malformed> {
        let more = more(r.u8("transform")?, MORE_TRANSFORMS, "transform")?;
        r.u8("transform")?;
        let length = r.u16("transform")?;
        let mut body = r.sub(length, 4, "transform")?;
        let kind = TransformType(body.u8("transform")?);
        body.u8("transform")?;
        let mut transform = Self::new(kind, body.u16("transform")?);
        while !body.is_empty() {
            transform.read_attribute(&mut body)?;
        }
        Ok((transform, more))
    }

    fn read_attribute(&mut self, r: &mut Reader<'_>) -> Result<(), Malformed> {
        let format = r.u16("attribute")?;
        let value = r.u16("attribute")?;
        if format == KEY_LENGTH {
            //= RFC 7296 §3.3: a transform does not have an attribute twice
            if self.key_length.replace(value).is_some() {
                return Err(Malformed::Value("key length"));
            }
            return Ok(());
        }
        //= RFC 7296 §3.3.6: a transform with an unknown attribute is not accepted
        self.foreign = true;
        if format & SHORT_FORM == 0 {
            r.take(usize::from(value), "attribute")?;
        }
        Ok(())
    }

    fn emit(&self, last: bool, w: &mut Writer) -> Result<(), Oversized> {
        let start = w.len();
        w.u8(if last { 0 } else { MORE_TRANSFORMS });
        w.u8(0);
        let gap = w.gap_u16(start);
        w.u8(self.kind.0);
        w.u8(0);
        w.u16(self.id);
        if let Some(bits) = self.key_length {
            w.u16(KEY_LENGTH);
            w.u16(bits);
        }
        w.close_u16(gap, "transform")
    }
}

impl Proposal {
    fn read(r: &mut Reader<'_>) -> Result<(Self, bool), Malformed> {
        let more_proposals = more(r.u8("proposal")?, MORE_PROPOSALS, "proposal")?;
        //= RFC 7296 §2.5: reserved fields are skipped
        r.u8("proposal")?;
        let length = r.u16("proposal")?;
        let mut body = r.sub(length, 4, "proposal")?;
        let number = body.u8("proposal")?;
        let protocol = ProtocolId(body.u8("proposal")?);
        let spi_len = body.u8("proposal")?;
        let count = usize::from(body.u8("proposal")?);
        let spi = SpiField::read(&mut body, spi_len, "proposal SPI")?;
        if count > MAX_TRANSFORMS {
            return Err(Malformed::TooMany("transforms"));
        }
        let mut transforms = Vec::new();
        for n in 1..=count {
            let (transform, more) = Transform::read(&mut body)?;
            if more != (n < count) {
                return Err(Malformed::Value("transform count"));
            }
            transforms.push(transform);
        }
        //= RFC 7296 §3.3: lengths and counts within the payload fit each other
        body.finish("proposal")?;
        Ok((Self { number, protocol, spi, transforms }, more_proposals))
    }

    fn emit(&self, last: bool, w: &mut Writer) -> Result<(), Oversized> {
        let start = w.len();
        w.u8(if last { 0 } else { MORE_PROPOSALS });
        w.u8(0);
        let gap = w.gap_u16(start);
        w.u8(self.number);
        w.u8(self.protocol.0);
        w.u8(self.spi.wire_len());
        w.u8(u8::try_from(self.transforms.len()).map_err(|_| Oversized("proposal"))?);
        self.spi.emit(w);
        for (n, transform) in self.transforms.iter().enumerate() {
            transform.emit(n + 1 == self.transforms.len(), w)?;
        }
        w.close_u16(gap, "proposal")
    }
}

/// Reads the body of an SA payload.
pub(super) fn read(r: &mut Reader<'_>) -> Result<Vec<Proposal>, Malformed> {
    let mut proposals = Vec::new();
    loop {
        let (proposal, more) = Proposal::read(r)?;
        proposals.push(proposal);
        if !more {
            return Ok(proposals);
        }
        if proposals.len() == MAX_PROPOSALS {
            return Err(Malformed::TooMany("proposals"));
        }
    }
}

/// Writes the body of an SA payload.
pub(super) fn emit(proposals: &[Proposal], w: &mut Writer) -> Result<(), Oversized> {
    if proposals.len() > MAX_PROPOSALS {
        return Err(Oversized("SA"));
    }
    for (n, proposal) in proposals.iter().enumerate() {
        proposal.emit(n + 1 == proposals.len(), w)?;
    }
    Ok(())
}

fn more(byte: u8, marker: u8, what: &'static str) -> Result<bool, Malformed> {
    match byte {
        0 => Ok(false),
        b if b == marker => Ok(true),
        _ => Err(Malformed::Value(what)),
    }
}

const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;
const SHORT_FORM: u16 = 0x8000;
/// The attribute `Key Length` (14) in its short form, the only one that exists.
//= RFC 7296 §3.3.5: a key length has the short form
const KEY_LENGTH: u16 = SHORT_FORM | 14;
/// Peers that list every algorithm they know stay well below both limits.
const MAX_PROPOSALS: usize = 64;
const MAX_TRANSFORMS: usize = 128;
