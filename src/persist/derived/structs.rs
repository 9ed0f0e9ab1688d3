//! `Persist` for structs.

/// Implements `Persist` for a struct.
///
/// `$get` is `(|__flagstone_value: &Self| &raw const __flagstone_value.field)` for each
/// field, and `__persist_field!` accepts nothing else. `$part` gives the properties of the
/// field's type. It may be any expression: each type has only one such value, and a type that is
/// not `Persist` has none. `$diagnosis` proves nothing: it serves to fail first, with messages at
/// the right places in the source.
#[doc(hidden)]
#[macro_export]
macro_rules! __persist_struct {
    (
        $name:ident
        [$(($(type $type:ident)? $(const $const:ident: $const_type:ty)?))*]
        where [$((<$($bound_lifetime:lifetime),*> $bounded:ty:
            $(lifetime $lifetime:lifetime)? $(path $bound:path)?))*]
        named $known:literal
        fields [$($get:tt is $part:expr;)*]
        diagnosis $diagnosis:block
        $(own $own:ident allow [$($($lint:ident)::+),*]
            $(owner $owner:path;)? $(shape $shape:expr;)?)?
    ) => {
        // SAFETY: `CHECK` proves P1 and P4, and any code that makes a value from bytes
        // evaluates it. P2 and P3: the whole is a value exactly if its fields are, and
        // `is_valid` and `ANY_BITS` ask each of them (D2, D3). P5: every field is `Persist`.
        #[automatically_derived]
        #[allow(deprecated, clippy::trait_duplication_in_bounds, clippy::use_self)]
        $(#[allow($($($lint)::+),*)])?
        unsafe impl<$($($type)? $(const $const: $const_type)?),*> $crate::Persist
            for $name<$($($type)? $($const)?),*>
        where
            $(for<$($bound_lifetime),*> $bounded: $($lifetime)? $($bound)?,)*
            $($($type: $crate::Persist,)?)*
        {
            const ANY_BITS: $crate::persist::derived::bool = true $(&&
                $crate::persist::derived::any_bits(&$crate::__persist_field!(part $get $part)))*;

            const CHECK: () = {
                $diagnosis
                $crate::__persist_field!(all $($get)*);
                let __flagstone_end = 0;
                $(let __flagstone_end = $crate::persist::derived::expect_adjacent(
                    &$crate::__persist_field!(part $get $part),
                    $crate::__persist_field!(offset $get),
                    __flagstone_end,
                    "there is padding before a field",
                );)*
                $crate::persist::derived::expect_end::<Self>(
                    __flagstone_end,
                    "there is padding after the last field",
                );
                $crate::__persist_common!(
                    check $known [$($($type)? $($const)?)*] $(own $own)?
                );
            };

            #[inline]
            fn is_valid(
                __flagstone_bytes: &[$crate::persist::derived::u8],
            ) -> $crate::persist::derived::bool {
                <Self as $crate::Persist>::ANY_BITS || (true $(&&
                    $crate::persist::derived::is_valid(
                        &$crate::__persist_field!(part $get $part),
                        $crate::__persist_field!(offset $get),
                        __flagstone_bytes,
                    ))*)
            }

            fn type_name() -> $crate::persist::derived::String {
                $crate::__persist_common!(name $known [$(($($type)?) ($($const)?))*])
            }

            fn reach(__flagstone_reach: &mut $crate::persist::Reach) {
                if $crate::persist::derived::enter::<Self>(__flagstone_reach) {
                    $crate::persist::derived::add::<Self>(
                        __flagstone_reach,
                        $crate::__persist_field!(shape [$($get is $part;)*] $($(= $shape)?)?),
                    );
                    $($crate::persist::derived::reach(
                        &$crate::__persist_field!(part $get $part),
                        __flagstone_reach,
                    );)*
                }
            }

            const OWNS: $crate::persist::derived::bool =
                $crate::__persist_common!(owns $($($owner)?)?) $(||
                $crate::persist::derived::owns(&$crate::__persist_field!(part $get $part)))*;

            fn owned(
                __flagstone_bytes: &[$crate::persist::derived::u8],
                __flagstone_owned: &mut $crate::persist::Owned,
            ) {
                $($crate::persist::derived::owned(
                    &$crate::__persist_field!(part $get $part),
                    $crate::__persist_field!(offset $get),
                    __flagstone_bytes,
                    __flagstone_owned,
                );)*
                $($($owner(__flagstone_bytes, __flagstone_owned);)?)?
            }
        }

        $crate::__persist_common!(eager $name [$($($type)? $($const)?)*]);
    };
}

/// Checks and describes a field by an access to it.
#[doc(hidden)]
#[macro_export]
macro_rules! __persist_field {
    (all $((|__flagstone_value: &Self| &raw const __flagstone_value.$field:tt))*) => {
        let _: fn(&Self) = |Self { $($field: _),* }| ();
        // This refuses the field of a union, or of a packed struct.
        let _: fn(&Self) = |__flagstone_value| {
            $(let _ = &__flagstone_value.$field;)*
        };
    };
    // In a separate constant, as `$part` may be a macro that expands to `return true`, which
    // could otherwise declare all bytes to be a value.
    (part $get:tt $part:expr) => {
        const { $crate::persist::derived::of_field($get, $part) }
    };
    (offset (|__flagstone_value: &Self| &raw const __flagstone_value.$field:tt)) => {
        $crate::persist::derived::offset_of!(Self, $field)
    };
    (name (|__flagstone_value: &Self| &raw const __flagstone_value.$field:tt)) => {
        $crate::persist::derived::stringify!($field)
    };
    (shape [$($get:tt is $part:expr;)*]) => {
        $crate::persist::derived::struct_of([$($crate::persist::derived::field(
            &$crate::__persist_field!(part $get $part),
            $crate::__persist_field!(name $get),
            $crate::__persist_field!(offset $get),
        )),*])
    };
    (shape [$($fields:tt)*] = $shape:expr) => {
        $shape
    };
}

/// Implements `Persist` for one of flagstone's own structs, with features that no other type may
/// have: a name that begins with `flagstone::`, an `owner` that tells what a value owns
/// besides what its fields own, a `shape` that replaces the list of fields.
macro_rules! persist_own {
    (
        $name:ident $(<$($type:ident),*>)? as $known:literal { $($field:ident),* }
        $(owner $owner:path)?
        $(, shape $shape:expr)?
    ) => {
        $crate::__persist_struct! {
            $name [$($((type $type))*)?] where []
            named $known
            fields [$((|__flagstone_value: &Self| &raw const __flagstone_value.$field)
                is $crate::persist::derived::part(
                    |__flagstone_value: &Self| &raw const __flagstone_value.$field,
                );
            )*]
            diagnosis {}
            own TYPE allow [unsafe_code, clippy::undocumented_unsafe_blocks]
                $(owner $owner;)? $(shape $shape;)?
        }
    };
}
pub(crate) use persist_own;
