//! Power cuts and failing disks: machines, writers, and the contents of their stores.

pub mod cached;
pub mod cut_run;
pub mod disk;
pub mod life;
pub mod power_fixture;
pub mod processes;
pub mod writer;
