//! Plain counters, read by the shell.

/// What happened to datagrams that arrived. Each is counted in exactly one field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Taken by a state and acted upon.
    pub accepted: u64,
    /// Not an IKE message.
    pub malformed: u64,
    /// For an SA that is not there.
    pub unknown_spi: u64,
    /// With a wrong tag.
    pub unauthentic: u64,
    /// Fragments of a message that is not whole yet, kept or not needed.
    pub fragments: u64,
    /// Requests seen before, answered with the stored response.
    pub retransmitted: u64,
    /// With a message ID outside the window, or not of the expected exchange.
    pub unexpected: u64,
    /// Refused for a reason of policy: proposal, cookie, half-open limit, authentication.
    pub refused: u64,
}
