//! Maps type names to the Rust types that claim them in this program.
//!
//! A file knows types by name, but a program may have two types of the same name, in two modules.
//! The first one used claims the name for as long as the store is open, even if its transaction is
//! rolled back: a program's behaviour must depend on its types, not on which of its transactions
//! were rolled back.

use std::any::TypeId;
use std::collections::HashMap;

use crate::error::{Error, ErrorKind, Result};
use crate::persist::Reached;

/// The claimed names.
#[derive(Default)]
pub(super) struct Claims(HashMap<String, Claim>);

struct Claim {
    id: TypeId,
    path: &'static str,
    /// Quoted in the error for a second claimant.
    layout: String,
}

impl Claim {
    fn of(reached: &Reached) -> Self {
        let Reached { id, path, schema } = reached;
        Self { id: *id, path, layout: schema.to_string() }
    }
}

impl Claims {
    /// Claims the names of all these types, or none if another type holds one of them.
    pub(super) fn take(&mut self, all: &[Reached]) -> Result<()> {
        let mut new: HashMap<&str, &Reached> = HashMap::new();
        let mut clash: Option<&Reached> = None;
        for reached in all {
            let name = &*reached.schema.name;
            let holder = match self.0.get(name) {
                Some(claim) => claim.id,
                None => new.entry(name).or_insert(reached).id,
            };
            // Report the innermost type, which is the one to rename: the name of a generic type
            // includes the names of its parameters.
            let is_inner = |clash: &Reached| name.len() < clash.schema.name.len();
            if holder != reached.id && clash.is_none_or(is_inner) {
                clash = Some(reached);
            }
        }
        if let Some(second) = clash {
            let name = &*second.schema.name;
            let first = new.get(name).map(|first| Claim::of(first));
            return Err(taken(first.as_ref().or_else(|| self.0.get(name)), second));
        }
        self.0.extend(new.into_iter().map(|(name, new)| (name.to_string(), Claim::of(new))));
        Ok(())
    }
}

#[cold]
fn taken(first: Option<&Claim>, second: &Reached) -> Error {
    let (first_path, first_layout) = first.map_or(("", ""), |first| (first.path, &*first.layout));
    ErrorKind::TypeNameTaken {
        type_name: second.schema.name.clone(),
        first_path,
        first_layout: first_layout.to_string(),
        second_path: second.path,
        second_layout: second.schema.to_string(),
    }
    .into()
}
