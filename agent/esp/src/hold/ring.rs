//! Frames one after the other in one buffer. What goes out of turn leaves a gap until all before it has gone.

use std::collections::VecDeque;
use std::time::Instant;

/// The buffer, made with the first frame.
#[derive(Debug, Default)]
pub(super) struct Ring {
    bytes: Vec<u8>,
    frames: VecDeque<Frame>,
}

#[derive(Debug)]
struct Frame {
    rule: u64,
    since: Instant,
    packets: usize,
    start: usize,
    length: usize,
    gone: bool,
}

/// All frames together.
const BYTES: usize = 1 << 20;
const FRAMES: usize = 8_192;

impl Ring {
    /// Puts a frame behind the others, and tells whether there was room.
    pub(super) fn push(&mut self, rule: u64, since: Instant, frame: &[u8], packets: usize) -> bool {
        if self.bytes.is_empty() {
            self.bytes = vec![0; BYTES];
            self.frames.reserve_exact(FRAMES);
        }
        let length = frame.len();
        let Some(start) = self.room(length).filter(|_| self.frames.len() < FRAMES) else { return false };
        let Some(place) = self.bytes.get_mut(start..start + length) else { return false };
        place.copy_from_slice(frame);
        self.frames.push_back(Frame { rule, since, packets, start, length, gone: false });
        true
    }

    /// Gives out the frames of a rule, with the number of their packets.
    pub(super) fn take(&mut self, rule: u64, mut give: impl FnMut(&[u8], usize)) {
        for frame in self.frames.iter_mut().filter(|frame| frame.rule == rule && !frame.gone) {
            frame.gone = true;
            give(self.bytes.get(frame.start..frame.start + frame.length).unwrap_or_default(), frame.packets);
        }
        while self.frames.front().is_some_and(|frame| frame.gone) {
            self.frames.pop_front();
        }
    }

    /// Drops the frames that have been there since a moment, or longer: tells the rule, the bytes and the packets of each.
    pub(super) fn drop_before(&mut self, moment: Option<Instant>, mut tell: impl FnMut(u64, usize, usize)) {
        let old = |frame: &Frame| moment.is_some_and(|moment| frame.since <= moment);
        while let Some(frame) = self.frames.pop_front_if(|frame| frame.gone || old(frame)) {
            if !frame.gone {
                tell(frame.rule, frame.length, frame.packets);
            }
        }
    }

    /// Returns where a frame of this length fits in whole.
    fn room(&self, length: usize) -> Option<usize> {
        let (Some(first), Some(last)) = (self.frames.front(), self.frames.back()) else {
            return (length <= BYTES).then_some(0);
        };
        let end = last.start + last.length;
        if last.start < first.start {
            return (length <= first.start - end).then_some(end);
        }
        if length <= BYTES - end {
            return Some(end);
        }
        // The end of the buffer stays empty.
        (length <= first.start).then_some(0)
    }
}
