//! Macros that do things which flagstone's proofs must not assume away.

use std::collections::HashMap;
use std::sync::Mutex;

use proc_macro::{TokenStream, TokenTree};

/// Replaces the item with its argument.
#[proc_macro_attribute]
pub fn replace(argument: TokenStream, _item: TokenStream) -> TokenStream {
    argument
}

/// Expands to its first argument on the first expansion, then to the second, and so on; finally
/// always to the last.
#[proc_macro]
pub fn expand_in_turn(arguments: TokenStream) -> TokenStream {
    static EXPANSIONS: Mutex<Option<HashMap<String, usize>>> = Mutex::new(None);
    let key = arguments.to_string();
    let mut choices = vec![TokenStream::new()];
    for token in arguments {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => choices.push(TokenStream::new()),
            _ => choices.last_mut().expect("there is one").extend([token]),
        }
    }
    let mut expansions = EXPANSIONS.lock().expect("no expansion panics");
    let count = expansions.get_or_insert_default().entry(key).or_default();
    let choice = choices.swap_remove((*count).min(choices.len() - 1));
    *count += 1;
    choice
}
