//! Damaging a store's file, many thousand times, and judging what comes of each.

#![allow(dead_code, reason = "each test uses its own part")]

pub mod children;
pub mod ground;
pub mod judge;
pub mod regions;
pub mod table;
