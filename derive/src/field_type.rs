//! Refuses field types by their spelling, each with its remedy.
//!
//! The bound `Persist` would refuse all of these too, and also refuses such a type behind an
//! alias. But only here can the message refer to the type as it was written.

use syn::{Error, GenericArgument, PathArguments, PathSegment, Type, TypePath};

/// Returns an error if the spelling of `ty`, the type of the field called `name`, shows that it
/// cannot be stored.
pub(crate) fn refusal(name: &str, ty: &Type) -> Option<Error> {
    match ty {
        Type::Array(array) => refusal(name, &array.elem),
        Type::Group(group) => refusal(name, &group.elem),
        Type::Paren(paren) => refusal(name, &paren.elem),
        _ => reason(ty).map(|reason| Error::new_spanned(ty, format!("field `{name}`: {reason}"))),
    }
}

/// Returns the reason why `ty` cannot be stored, and what to use instead.
fn reason(ty: &Type) -> Option<String> {
    let reason = match ty {
        Type::Path(path) => return std_segment(path).and_then(path_reason),
        Type::Reference(_) => "a reference is void in the next run; use `Link<T>`",
        Type::Ptr(_) => "a pointer is void in the next run; use `Link<T>`",
        Type::BareFn(_) => {
            "a function's address is void in the next run; use a C-like enum that says which \
             function is meant"
        }
        Type::TraitObject(_) => {
            "a trait object is not the same in the next run; use a C-like enum that says which \
             type is meant, beside a `Link`"
        }
        Type::Tuple(tuple) if tuple.elems.is_empty() => "`()` has no bytes; leave the field out",
        Type::Tuple(_) => {
            "the layout of a tuple is the compiler's choice; use a struct with `#[persist]`"
        }
        Type::Slice(_) => "a slice has no size of its own; use `Link<[T]>`, or an array `[T; N]`",
        _ => return None,
    };
    Some(reason.to_string())
}

/// Returns the last segment of a path that probably names a type of the standard library:
/// `Vec<T>` and `std::vec::Vec<T>`, not `my::Vec<T>`.
fn std_segment(path: &TypePath) -> Option<&PathSegment> {
    let segments = &path.path.segments;
    let root = &segments.first()?.ident;
    let std = root == "std" || root == "core" || root == "alloc";
    // `Vec` may be flagstone's own; the bound tells the two apart.
    let by_itself = segments.len() == 1 && root != "Vec";
    let written_so = path.qself.is_none() && (std || by_itself);
    written_so.then(|| segments.last()).flatten()
}

fn path_reason(segment: &PathSegment) -> Option<String> {
    let name = segment.ident.to_string();
    let reason = match name.as_str() {
        "usize" => "the width of `usize` depends on the machine; use `u64`".to_string(),
        "isize" => "the width of `isize` depends on the machine; use `i64`".to_string(),
        "char" => {
            "not every 32 bits are a `char`; use `u32`, and `char::from_u32` to read it".to_string()
        }
        "Box" | "Rc" | "Arc" => in_memory(&name, "Link<T>"),
        "String" => in_memory(&name, "flagstone::Text"),
        "Vec" => in_memory(&name, "flagstone::collections::Vec<T>"),
        "Option" if holds_pointer(segment) => {
            "a link may be none by itself; use `Link<T>`, where null is none".to_string()
        }
        "Option" => "the layout of `Option` is the compiler's choice; use a `bool` beside the \
                     value, or a value that means none"
            .to_string(),
        _ if changes_when_shared(&name) => format!(
            "`{name}` changes behind a shared reference, and bytes of a store change through a \
             transaction alone; use the plain type"
        ),
        _ => return None,
    };
    Some(reason)
}

fn in_memory(name: &str, remedy: &str) -> String {
    format!("`{name}` points into the memory of this run; use `{remedy}`")
}

fn changes_when_shared(name: &str) -> bool {
    name.starts_with("Atomic")
        || matches!(
            name,
            "Cell" | "RefCell" | "UnsafeCell" | "OnceCell" | "OnceLock" | "Mutex" | "RwLock"
        )
}

/// Returns whether the segment is `Option` of something that a link can replace.
fn holds_pointer(option: &PathSegment) -> bool {
    let PathArguments::AngleBracketed(arguments) = &option.arguments else {
        return false;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(Type::Path(path))) => {
            let pointers = ["Link", "Box", "Rc", "Arc"];
            let last = path.path.segments.last();
            last.is_some_and(|last| pointers.iter().any(|pointer| last.ident == pointer))
        }
        Some(GenericArgument::Type(ty)) => matches!(ty, Type::Reference(_) | Type::Ptr(_)),
        _ => false,
    }
}
