//! The agent's download against everything that a network, a server and a disk do to it.

mod breaks;
mod disk;
mod rig;
mod servers;
mod versions;
