//! `Persist` for the types that need no macro.

use std::marker::PhantomData;

use zerocopy::byteorder;

use super::{Owned, Persist, Reach};

/// Implements it for types of which every bit pattern is a value, named `$name` in a schema.
macro_rules! any_bits {
    ($([$($generic:tt)*] $ty:ty => $name:expr;)*) => {$(
        // SAFETY: P1 to P3: an integer or float (or zerocopy's byte array of
        // one) has no padding, and each bit pattern is a value. P4: 1 to 16
        // bytes, alignment at most 16, `Copy`. P5: no interior mutability.
        unsafe impl<$($generic)*> Persist for $ty {
            const ANY_BITS: bool = true;
            const CHECK: () = ();

            #[inline]
            fn is_valid(_bytes: &[u8]) -> bool {
                true
            }

            fn type_name() -> String {
                $name.to_string()
            }

            fn reach(reach: &mut Reach) {
                reach.primitive::<Self>();
            }
        }
    )*};
}

/// The name of a byte order in a schema.
trait OrderName: byteorder::ByteOrder + Send + Sync + 'static {
    const SUFFIX: &'static str;
}

impl OrderName for byteorder::LittleEndian {
    const SUFFIX: &'static str = "le";
}

impl OrderName for byteorder::BigEndian {
    const SUFFIX: &'static str = "be";
}

any_bits! {
    [] u8 => "u8";
    [] u16 => "u16";
    [] u32 => "u32";
    [] u64 => "u64";
    [] u128 => "u128";
    [] i8 => "i8";
    [] i16 => "i16";
    [] i32 => "i32";
    [] i64 => "i64";
    [] i128 => "i128";
    [] f32 => "f32";
    [] f64 => "f64";
    [O: OrderName] byteorder::U16<O> => format!("u16{}", O::SUFFIX);
    [O: OrderName] byteorder::U32<O> => format!("u32{}", O::SUFFIX);
    [O: OrderName] byteorder::U64<O> => format!("u64{}", O::SUFFIX);
    [O: OrderName] byteorder::U128<O> => format!("u128{}", O::SUFFIX);
    [O: OrderName] byteorder::I16<O> => format!("i16{}", O::SUFFIX);
    [O: OrderName] byteorder::I32<O> => format!("i32{}", O::SUFFIX);
    [O: OrderName] byteorder::I64<O> => format!("i64{}", O::SUFFIX);
    [O: OrderName] byteorder::I128<O> => format!("i128{}", O::SUFFIX);
    [O: OrderName] byteorder::F32<O> => format!("f32{}", O::SUFFIX);
    [O: OrderName] byteorder::F64<O> => format!("f64{}", O::SUFFIX);
}

// SAFETY: P1: one byte. P2: exactly 0 and 1 are values of `bool`. P3 does not
// apply. P4: one byte, `Copy`. P5: no interior mutability.
unsafe impl Persist for bool {
    const ANY_BITS: bool = false;
    const CHECK: () = ();

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        matches!(bytes, [0 | 1])
    }

    fn type_name() -> String {
        "bool".to_string()
    }

    fn reach(reach: &mut Reach) {
        reach.primitive::<Self>();
    }
}

// SAFETY: P1: an array stores its elements without gaps, so it adds no padding.
// P2, P3: it is a value exactly if each element is. P4: `T` has no drop glue;
// the code that stores an object refuses size 0. P5: as for `T`.
unsafe impl<T: Persist, const N: usize> Persist for [T; N] {
    const ANY_BITS: bool = T::ANY_BITS;
    const CHECK: () = T::CHECK;

    #[inline]
    fn is_valid(bytes: &[u8]) -> bool {
        T::ANY_BITS || size_of::<T>() == 0 || bytes.chunks_exact(size_of::<T>()).all(T::is_valid)
    }

    fn type_name() -> String {
        format!("[{}; {N}]", T::type_name())
    }

    fn reach(reach: &mut Reach) {
        T::reach(reach);
        reach.primitive::<Self>();
    }

    const OWNS: bool = T::OWNS;

    fn owned(bytes: &[u8], owned: &mut Owned) {
        owned.each::<T>(bytes);
    }
}

// SAFETY: P1 to P3: it has no bytes. P4: no drop glue; the code that stores an object refuses
// size 0, so it can only be a field. P5: there are no bytes that could change.
unsafe impl<T: Persist> Persist for PhantomData<T> {
    const ANY_BITS: bool = true;
    const CHECK: () = ();

    #[inline]
    fn is_valid(_bytes: &[u8]) -> bool {
        true
    }

    fn type_name() -> String {
        format!("Phantom<{}>", T::type_name())
    }

    fn reach(reach: &mut Reach) {
        T::reach(reach);
    }
}
