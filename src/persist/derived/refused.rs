//! The placeholder implementation for a refused type.

/// Implements `Persist` for a type that `#[persist]` has refused, so that its uses cause no errors
/// besides the one that matters.
///
/// One macro expands to both the error and the implementation, so nobody can get the second alone.
#[doc(hidden)]
#[macro_export]
macro_rules! __persist_refused {
    ($message:literal) => {
        $crate::persist::derived::compile_error! { $message }
    };
    (
        $message:literal
        $name:ident
        [$(($(type $type:ident)? $(const $const:ident: $const_type:ty)?))*]
        where [$((<$($bound_lifetime:lifetime),*> $bounded:ty:
            $(lifetime $lifetime:lifetime)? $(path $bound:path)?))*]
    ) => {
        $crate::persist::derived::compile_error! { $message }

        // SAFETY: because of the error above, no program has this implementation.
        #[automatically_derived]
        #[allow(deprecated, clippy::trait_duplication_in_bounds)]
        unsafe impl<$($($type)? $(const $const: $const_type)?),*> $crate::Persist
            for $name<$($($type)? $($const)?),*>
        where
            $(for<$($bound_lifetime),*> $bounded: $($lifetime)? $($bound)?,)*
            $($($type: $crate::Persist,)?)*
        {
            const ANY_BITS: $crate::persist::derived::bool = false;
            const CHECK: () = ();

            fn is_valid(_: &[$crate::persist::derived::u8]) -> $crate::persist::derived::bool {
                false
            }

            fn type_name() -> $crate::persist::derived::String {
                $crate::persist::derived::String::new()
            }

            fn reach(_: &mut $crate::persist::Reach) {}
        }
        // SAFETY: as above.
        unsafe impl<$($($type)? $(const $const: $const_type)?),*> $crate::persist::derived::Send
            for $name<$($($type)? $($const)?),*>
        where
            $(for<$($bound_lifetime),*> $bounded: $($lifetime)? $($bound)?,)*
        {
        }
        // SAFETY: as above.
        unsafe impl<$($($type)? $(const $const: $const_type)?),*> $crate::persist::derived::Sync
            for $name<$($($type)? $($const)?),*>
        where
            $(for<$($bound_lifetime),*> $bounded: $($lifetime)? $($bound)?,)*
        {
        }
    };
}
