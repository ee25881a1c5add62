//! Reports incidents to a program of the administrator: a critical disk, sweeps that do not come any more. `[notify]` names the
//! program; without one nothing is reported.
//!
//! Only `disk-guard notify` runs it: a unit that follows every sweep, and that a timer starts when no sweep has come for long. So it
//! delays no hook, fails no sweep, and reports a dead sweep. [`decision`] determines the incidents and which of them to report now,
//! [`memory`] records what was reported, [`messenger`] runs the program.

pub mod decision;
pub mod memory;
pub mod messenger;
