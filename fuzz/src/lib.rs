//! What the fuzz targets share. The models of collections and the forging of files
//! are the tests' own.

#[path = "../../tests/common/mod.rs"]
#[allow(clippy::should_implement_trait, reason = "in the tests it is no public method")]
pub mod common;
#[path = "../../tests/common/model/mod.rs"]
pub mod model;

pub mod blobs;
pub mod chance;
pub mod damage;
pub mod forged_log;
pub mod history;
pub mod plain;
pub mod power;
pub mod program;
pub mod repair;
pub mod samples;
pub mod sharing;
pub mod shelf;
pub mod sparse;

// cargo-fuzz sets this; the generator of seeds runs without a sanitizer.
#[cfg(fuzzing)]
mod reuse;

#[cfg(fuzzing)]
#[global_allocator]
static MEMORY: reuse::Reuse = reuse::Reuse::new();
