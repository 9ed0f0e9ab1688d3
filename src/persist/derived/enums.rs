//! `Persist` for C-like enums, and the parts that enums and structs share.

use std::mem::{Discriminant, ManuallyDrop};
use std::ptr;

use crate::persist::Shape;

/// Implements `Persist` for a C-like enum.
#[doc(hidden)]
#[macro_export]
macro_rules! __persist_enum {
    (
        $name:ident
        [$(($(type $type:ident)? $(const $const:ident: $const_type:ty)?))*]
        where [$((<$($bound_lifetime:lifetime),*> $bounded:ty:
            $(lifetime $lifetime:lifetime)? $(path $bound:path)?))*]
        named $known:literal
        variants [$($variant:ident)*]
        diagnosis $diagnosis:block
    ) => {
        // SAFETY: P1 and P2: `CHECK` reads all bytes of each variant at compile time, where
        // reading uninitialised bytes is an error, and `is_valid` accepts only the bytes that
        // were read. The listed variants are all variants of the enum (D3). P3 does not apply.
        // `CHECK` proves P4. P5: no variant has a field.
        #[automatically_derived]
        #[allow(deprecated, clippy::trait_duplication_in_bounds, clippy::use_self)]
        unsafe impl<$($($type)? $(const $const: $const_type)?),*> $crate::Persist
            for $name<$($($type)? $($const)?),*>
        where
            $(for<$($bound_lifetime),*> $bounded: $($lifetime)? $($bound)?,)*
            $($($type: $crate::Persist,)?)*
        {
            const ANY_BITS: $crate::persist::derived::bool = false;

            const CHECK: () = {
                $diagnosis
                let _: fn(&Self) = |($(Self::$variant)|*)| ();
                $($crate::persist::derived::expect_equal::<Self>(
                    $crate::__persist_common!(bits $variant),
                    Self::$variant as $crate::persist::derived::i128,
                );)*
                $crate::__persist_common!(check $known [$($($type)? $($const)?)*]);
            };

            #[inline]
            fn is_valid(
                __flagstone_bytes: &[$crate::persist::derived::u8],
            ) -> $crate::persist::derived::bool {
                false $(|| $crate::persist::derived::is_bits::<Self>(
                    __flagstone_bytes,
                    $crate::__persist_common!(bits $variant),
                ))*
            }

            fn type_name() -> $crate::persist::derived::String {
                $crate::__persist_common!(name $known [$(($($type)?) ($($const)?))*])
            }

            fn reach(__flagstone_reach: &mut $crate::persist::Reach) {
                if $crate::persist::derived::enter::<Self>(__flagstone_reach) {
                    $crate::persist::derived::add::<Self>(
                        __flagstone_reach,
                        $crate::persist::derived::enum_of([$((
                            $crate::persist::derived::stringify!($variant),
                            Self::$variant as $crate::persist::derived::i128,
                        )),*]),
                    );
                }
            }
        }

        $crate::__persist_common!(eager $name [$($($type)? $($const)?)*]);
    };
}

/// The parts that the implementations for structs and for enums share.
#[doc(hidden)]
#[macro_export]
macro_rules! __persist_common {
    (check $known:literal [$($parameter:ident)*] $(own $own:ident)?) => {
        $crate::persist::derived::expect_storable::<Self>(
            "a type has no bytes, so there is nothing to store",
            "a type asks for more than 4096 bytes of alignment, which is a page's",
            "a type implements `Drop`, and a value in a store is never dropped",
        );
        $crate::persist::derived::expect_own_name(
            $known,
            $crate::persist::derived::stringify!($($parameter)*),
            false $(|| $crate::persist::derived::own::$own)?,
        );
    };
    (name $known:literal [$(($($type:ident)?) ($($const:ident)?))*]) => {
        $crate::persist::derived::full_name($known, &[$(
            $(<$type as $crate::Persist>::type_name())?
            $($crate::persist::derived::constant($const))?
        ),*])
    };
    // SAFETY: a `const` block is evaluated at compile time.
    (bits $variant:ident) => {
        const { unsafe { $crate::persist::derived::bits_of::<Self>(Self::$variant) } }
    };
    (owns) => {
        false
    };
    (owns $owner:path) => {
        true
    };
    // A type without parameters is checked where it is defined, any other type where it is
    // used.
    (eager $name:ident []) => {
        #[allow(deprecated)]
        const _: () = <$name as $crate::Persist>::CHECK;
    };
    (eager $name:ident [$($parameter:ident)+]) => {};
}

/// Makes the description of an enum.
#[must_use]
pub fn enum_of<const N: usize>(variants: [(&str, i128); N]) -> Shape {
    let plain = variants.map(|(name, value)| (super::names::plain_name(name).to_string(), value));
    Shape::Enum(Vec::from(plain))
}

/// Proves that the bits of a variant are those of its discriminant.
pub const fn expect_equal<E>(bits: u64, discriminant: i128) {
    let unused = u64::BITS - 8 * size_of::<E>() as u32;
    let is_same = (discriminant as u64) << unused == bits << unused;
    assert!(is_same, "a variant is not stored as its discriminant");
}

/// Returns the bits of a variant, as an unsigned integer.
///
/// An enum may be as large as its `repr` says and still have padding. This one has 7 bytes of it:
///
/// ```compile_fail,E0080
/// #[repr(align(8))]
/// enum Kind { A, B }
///
/// flagstone::__persist_enum! {
///     Kind [] where [] named "Kind" variants [A B] diagnosis {}
/// }
/// ```
///
/// And this one has none:
///
/// ```
/// #[repr(u64)]
/// enum Kind { A, B }
///
/// flagstone::__persist_enum! {
///     Kind [] where [] named "Kind" variants [A B] diagnosis {}
/// }
/// ```
///
/// # Safety
///
/// The call must be evaluated at compile time: if `E` has padding, the use of uninitialised bytes
/// then fails the build.
#[must_use]
pub const unsafe fn bits_of<E>(variant: E) -> u64 {
    assert!(
        size_of::<E>() == size_of::<Discriminant<E>>() && size_of::<E>() <= size_of::<u64>(),
        "an enum in a store is an integer of 8 to 64 bits: an attribute below `#[persist]` has \
         changed its `repr`; put it above"
    );
    let variant = ManuallyDrop::new(variant);
    let mut bits = 0_u64;
    // SAFETY: `bits` has space for all bytes of `variant`. If they are not initialised, the
    // compiler detects it when it uses them.
    unsafe {
        ptr::copy_nonoverlapping(
            (&raw const variant).cast::<u8>(),
            (&raw mut bits).cast::<u8>(),
            size_of::<E>(),
        );
    }
    integer(bits.to_ne_bytes(), size_of::<E>())
}

/// Returns whether the bytes of a value, which must be as many as `E` has, are these bits.
#[must_use]
#[inline]
pub fn is_bits<E>(bytes: &[u8], bits: u64) -> bool {
    let mut padded = [0; size_of::<u64>()];
    let Some(part) = padded.get_mut(..size_of::<E>()) else { return false };
    if bytes.len() != part.len() {
        return false;
    }
    part.copy_from_slice(bytes);
    integer(padded, size_of::<E>()) == bits
}

/// Returns the integer in the first bytes of `padded`, whose other bytes are zero.
#[inline]
const fn integer(padded: [u8; 8], size_bytes: usize) -> u64 {
    let bits = u64::from_ne_bytes(padded);
    if cfg!(target_endian = "big") { bits >> (64 - 8 * size_bytes) } else { bits }
}
