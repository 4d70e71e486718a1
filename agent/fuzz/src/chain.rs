//! A chain of payloads as it travels, each behind its generic header, which a fuzzer takes apart and puts together anew.

use espalier_ike::wire::PayloadType;

use crate::input::Input;

/// One payload: its type, its flags and its body, whatever that is.
struct Link {
    kind: PayloadType,
    flags: u8,
    body: Vec<u8>,
}

/// The payloads in order, and what followed that is none.
pub(crate) struct Chain {
    links: Vec<Link>,
    rest: Vec<u8>,
}

/// The longest text that a message of one datagram holds.
const MOST: usize = 60_000;

impl Chain {
    /// Reads as many payloads as there are.
    pub(crate) fn read(first: PayloadType, text: &[u8]) -> Self {
        let (mut next, mut rest, mut links) = (first, text, Vec::new());
        while next != PayloadType::NONE {
            let Some((header, after)) = rest.split_first_chunk::<4>() else { break };
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let Some((body, after)) = length.checked_sub(4).and_then(|n| after.split_at_checked(n)) else { break };
            links.push(Link { kind: next, flags: header[1], body: body.to_vec() });
            (next, rest) = (PayloadType(header[0]), after);
        }
        Self { links, rest: rest.to_vec() }
    }

    /// Returns the payloads, each its type and its body.
    #[cfg(test)]
    pub(crate) fn payloads(&self) -> impl Iterator<Item = (PayloadType, &[u8])> {
        self.links.iter().map(|link| (link.kind, link.body.as_slice()))
    }

    /// Changes it as the fuzzer decides.
    pub(crate) fn mutate(&mut self, input: &mut Input<'_>) {
        for _ in 0..=input.below(8) {
            self.mutate_once(input);
        }
    }

    fn mutate_once(&mut self, input: &mut Input<'_>) {
        let (action, count) = (input.below(10), self.links.len());
        if action == 0 || count == 0 {
            let link =
                Link { kind: PayloadType(input.u8()), flags: input.pick(&[0, 0x80]), body: input.string().to_vec() };
            let at = input.below(count + 1);
            return self.links.insert(at, link);
        }
        let at = input.below(count);
        let link = &mut self.links[at];
        match action {
            1 => _ = self.links.remove(at),
            2 if count < 80 => {
                let copy = Link { kind: link.kind, flags: link.flags, body: link.body.clone() };
                self.links.push(copy);
            }
            3 => self.links.swap(at, input.below(count)),
            4 => {
                let position = usize::from(input.u16()).checked_rem(link.body.len()).unwrap_or_default();
                link.body.iter_mut().skip(position).take(1).for_each(|byte| *byte ^= input.u8());
            }
            5 => link.body.truncate(usize::from(input.u16())),
            6 => link.body.extend(input.string()),
            7 => link.kind = PayloadType(input.u8()),
            8 => link.flags ^= input.u8(),
            9 => {
                let position = usize::from(input.u16()).checked_rem(link.body.len()).unwrap_or_default();
                let written = link.body.iter_mut().skip(position);
                written.zip(input.string()).for_each(|(byte, new)| *byte = *new);
            }
            _ => {}
        }
    }

    /// Writes it: the type of the first payload, and all of them.
    pub(crate) fn write(&self) -> (PayloadType, Vec<u8>) {
        let first = self.links.first().map_or(PayloadType::NONE, |link| link.kind);
        let after = self.links.iter().skip(1).map(|link| link.kind).chain([PayloadType::NONE]);
        let mut text = Vec::new();
        for (link, next) in self.links.iter().zip(after) {
            let length = u16::try_from(link.body.len() + 4).unwrap_or(u16::MAX);
            text.extend([next.0, link.flags]);
            text.extend(length.to_be_bytes());
            text.extend(&link.body);
        }
        text.extend(&self.rest);
        text.truncate(MOST);
        (first, text)
    }
}
