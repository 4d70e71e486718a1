//! The search for the largest rate at which nothing worth a word is lost.

use anyhow::Result;

/// What a step at some rate came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Packets a second that were really sent.
    pub(crate) sent: f64,
    /// Packets a second that arrived.
    pub(crate) arrived: f64,
    /// The part that was lost, 0 to 1.
    pub(crate) lost: f64,
}

/// A step that loses more has failed.
const TOLERATED: f64 = 0.001;
/// Each halves what is left: 1.6 % of the flood's own rate at the end.
const STEPS: u32 = 7;

/// A rate has failed when every one of so many steps has: a moment without the processor loses packets at any rate.
const TRIES: u32 = 3;

/// Finds the rate, in packets a second, starting from a flood: as fast as the sender can (no rate).
pub(crate) fn largest(mut attempt: impl FnMut(Option<f64>) -> Result<Step>) -> Result<f64> {
    let flood = attempt(None)?;
    if flood.lost < TOLERATED {
        return Ok(flood.sent);
    }
    // What a tunnel delivers of a flood may be less than what it carries in peace.
    let (mut low, mut high) = (0.0, flood.sent.min(2.0 * flood.arrived));
    if high <= 0.0 {
        return Ok(0.0);
    }
    for _ in 0..STEPS {
        let middle = (low + high) / 2.0;
        let mut step = attempt(Some(middle))?;
        for _ in 1..TRIES {
            if step.lost >= TOLERATED {
                step = attempt(Some(middle))?;
            }
        }
        if step.lost < TOLERATED {
            low = step.sent.max(low)
        } else {
            high = middle
        }
        if high <= low {
            break;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tunnel that carries so much, and loses what is beyond; the sender reaches `most`.
    fn tunnel(carries: f64, most: f64) -> impl FnMut(Option<f64>) -> Result<Step> {
        move |rate| {
            let sent = rate.unwrap_or(f64::MAX).min(most);
            let arrived = sent.min(carries);
            Ok(Step { sent, arrived, lost: 1.0 - arrived / sent })
        }
    }

    #[test]
    fn the_rate_is_found_within_two_parts_of_a_hundred() {
        for carries in [1e3, 15e3, 50e3, 181e3, 399e3] {
            let found = largest(tunnel(carries, 400e3)).unwrap();
            assert!(found <= carries && found > carries * 0.98, "{found} of {carries}");
        }
    }

    #[test]
    fn a_sender_that_is_too_slow_bounds_the_rate() {
        assert_eq!(largest(tunnel(500e3, 400e3)).unwrap(), 400e3);
    }

    #[test]
    fn one_unlucky_step_at_a_rate_does_not_count() {
        let (mut real, mut tries) = (tunnel(100e3, 400e3), 0);
        let found = largest(|rate| {
            tries += 1;
            let step = real(rate)?;
            Ok(if tries % 2 == 0 { Step { lost: 0.5, ..step } } else { step })
        });
        assert!(found.unwrap() > 98e3);
    }

    #[test]
    fn a_tunnel_that_loses_at_every_rate_carries_nothing() {
        let found = largest(|rate| Ok(Step { sent: rate.unwrap_or(1e5), arrived: 0.0, lost: 1.0 }));
        assert_eq!(found.unwrap(), 0.0);
    }
}
