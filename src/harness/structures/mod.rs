//! Structures to run: a linked list, the collections, and combinations of them.
//!
//! **Owns** a [`Subject`] for each; `flagstone torture` runs them, and they show how to write
//! subjects. **Must not know** how a subject is run.
//!
//! ```
//! use flagstone::harness::{Harness, structures};
//!
//! let harness = Harness::new().runs(2);
//! for structure in structures::ALL {
//!     println!("{}: {}", structure.name, structure.run(&harness)?);
//! }
//! # Ok::<(), flagstone::harness::Failure>(())
//! ```

mod arrays;
mod list;
mod maps;
mod nested;
mod sequences;
mod sets;
mod shared;
mod strings;

use super::failure::{Failure, Summary};
use super::run::Harness;
use super::subject::Subject;

// The steps have names here, since subjects of users may wrap these and hand their steps on.
pub use arrays::{Arrays, Step as ArrayStep};
pub use list::{List, Step as ListStep};
pub use maps::{HashMaps, HashStep, OrderedMaps, OrderedStep};
pub use nested::{BookModel, Nested, Step as NestedStep};
pub use sequences::{DequeStep, Deques, VecStep, Vectors};
pub use sets::{Sets, Step as SetStep};
pub use strings::{Step as StringStep, Strings};

/// A structure with its name.
#[derive(Clone, Copy, Debug)]
pub struct Structure {
    /// Its name.
    pub name: &'static str,
    run: fn(&Harness) -> Result<Summary, Failure>,
}

/// All structures.
pub const ALL: [Structure; 9] = [
    Structure::of::<List>("list"),
    Structure::of::<Arrays>("arrays"),
    Structure::of::<Vectors>("vec"),
    Structure::of::<Deques>("deque"),
    Structure::of::<Strings>("strings"),
    Structure::of::<HashMaps>("hash-map"),
    Structure::of::<OrderedMaps>("btree-map"),
    Structure::of::<Sets>("sets"),
    Structure::of::<Nested>("nested"),
];

impl Structure {
    const fn of<S: Subject + Default>(name: &'static str) -> Self {
        Self { name, run: |harness| harness.run(S::default) }
    }

    /// Runs the structure.
    ///
    /// ```
    /// # use flagstone::harness::{Harness, structures};
    /// let trees = structures::ALL.iter().find(|structure| structure.name == "btree-map");
    /// let summary = trees.expect("its name").run(&Harness::new().runs(1))?;
    /// assert_eq!(summary.runs, 1);
    /// # Ok::<(), flagstone::harness::Failure>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Harness::run`].
    pub fn run(&self, harness: &Harness) -> Result<Summary, Failure> {
        (self.run)(harness)
    }
}
