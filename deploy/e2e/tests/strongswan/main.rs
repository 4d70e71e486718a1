//! strongSwan as the judge: tunnels between Debian's charon and `espalier-agent run --plan`, from the files of the how-to.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails, in its helpers too")]

mod addresses;
mod algorithms;
mod authentication;
mod childless;
mod failures;
mod forms;
mod fragments;
mod hybrid;
mod mobike;
mod nat;
mod negotiation;
mod offloads;
mod on_demand;
mod ppk;
mod reauth;
mod rekey;
mod revocation;
mod scene;
