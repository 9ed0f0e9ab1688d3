//! Parameters: types with and without the bound, constants, defaults and `where`
//! clauses.

#![deny(warnings)]

use std::marker::PhantomData;

use flagstone::{Link, Persist, persist};

#[persist]
struct Pair<A, B = A> {
    first: A,
    second: B,
}

#[persist]
struct Block<T: Persist + Copy, const N: usize>
where
    T: Default,
{
    items: [T; N],
    next: Link<Block<T, N>>,
}

#[persist]
struct Matrix<const ROWS: usize, const COLUMNS: usize, const SIGNED: bool> {
    cells: [[i32; COLUMNS]; ROWS],
}

#[persist]
struct Id<T: Persist> {
    number: u64,
    of: PhantomData<T>,
}

#[persist]
#[repr(transparent)]
struct Marked<T: Persist>(PhantomData<T>, u32);

fn main() {
    let pair = Pair { first: 1_u32, second: 2_i32 };
    assert!(pair.first == 1 && pair.second == 2);
    let block = Block { items: [1_u32; 4], next: Link::null() };
    assert!(block.items == [1; 4] && block.next.is_null());
    assert_eq!(Matrix::<1, 1, false> { cells: [[1]] }.cells, [[1]]);
    assert_eq!(Id::<bool> { number: 3, of: PhantomData }.number, 3);
    assert_eq!(Marked::<bool>(PhantomData, 3).1, 3);

    assert_eq!(<Pair<u8>>::type_name(), "Pair<u8, u8>");
    assert_eq!(Block::<u32, 4>::type_name(), "Block<u32, 4>");
    assert_eq!(Matrix::<2, 3, true>::type_name(), "Matrix<2, 3, true>");

    let () = <Pair<u64, Pair<u32>> as Persist>::CHECK;
    let () = <Block<u32, 4> as Persist>::CHECK;
    let () = <Matrix<2, 3, true> as Persist>::CHECK;
    let () = <Id<bool> as Persist>::CHECK;
    let () = <Marked<u64> as Persist>::CHECK;
}
