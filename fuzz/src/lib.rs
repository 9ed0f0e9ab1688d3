//! Code that the fuzz targets share. The models of collections and the forging of files are in the
//! testkit.

pub mod byte_runs;
pub mod collections_fixture;
pub mod damage;
pub mod forged_log;
pub mod power;
pub mod program;
pub mod repair;
pub mod samples;
pub mod sampling;
pub mod sharing;
pub mod sparse_file;

// cargo-fuzz sets `fuzzing`; the generator of seeds runs without a sanitizer.
#[cfg(fuzzing)]
mod buffer_allocator;

#[cfg(fuzzing)]
#[global_allocator]
static MEMORY: buffer_allocator::Reuse = buffer_allocator::Reuse::new();
