//! A program of the administrator's is told of incidents: that a disk is critical, that no sweep comes any more. `[notify]` names
//! it; without one nothing is reported.
//!
//! It is run by `disk-guard notify` alone, which follows every sweep as a unit of its own, and comes by itself where no sweep
//! has come for long. So it delays no hook, fails no sweep, and tells of a sweep that is dead. [`decision`] says which incidents
//! there are and which are told now, [`memory`] keeps what was told, [`messenger`] runs the program.

pub mod decision;
pub mod memory;
pub mod messenger;
