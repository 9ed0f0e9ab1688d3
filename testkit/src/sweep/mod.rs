//! Damages a store's file many thousand times, and judges the effect of each.

#![allow(dead_code, reason = "each test uses its own part")]

pub mod children;
pub mod ground;
pub mod judge;
pub mod regions;
pub mod table;
