//! The controller: who is in the mesh, who they are to each other, and what each of them has to do.

pub mod keyring;
pub mod pki;
pub mod planner;
pub mod store;
