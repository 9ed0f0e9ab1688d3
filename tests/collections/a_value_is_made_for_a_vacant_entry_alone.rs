//! Promise: `or_try_insert_with` makes a value only if the entry is vacant, whatever the closure does
//! with the transaction meanwhile, and inserts nothing if it fails or panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flagstone::collections::{BTreeMap, HashMap};
use flagstone::{ErrorKind, Result, Store, Text, WriteTx};
use testkit::{TestResult, assert_refused};

const LONG: &str = "longer than a text has room for in itself, so that it owns memory";

macro_rules! promises {
    ($name:ident, $map:ident) => {
        #[test]
        fn $name() -> TestResult {
            let store = Store::in_memory()?;
            let mut tx = store.write()?;
            let map = tx.root_or_insert_with("map", $map::<Text, Text>::new)?;
            let long = |tx: &mut WriteTx<'_>| Text::new(tx, LONG);

            let failed = |tx: &mut WriteTx<'_>| -> Result<Text> {
                let made = long(tx)?;
                tx.release(made)?;
                Err(ErrorKind::SavepointGone.into())
            };
            let refused = map.entry(&mut tx, "Ada")?.or_try_insert_with(failed);
            assert_refused!(refused, SavepointGone);
            let panicking = AssertUnwindSafe(|| {
                let entry = map.entry(&mut tx, "Ada")?;
                entry.or_try_insert_with(|_| panic!("on purpose")).map(drop)
            });
            assert!(catch_unwind(panicking).is_err());
            assert!(tx.at(map)?.is_empty());

            map.entry(&mut tx, "Ada")?.or_try_insert_with(long)?;
            map.entry(&mut tx, "Ada")?.or_try_insert_with(|_| panic!("it is there"))?;
            assert_eq!(tx.at(map)?.get(&tx, "Ada")?.ok_or("Ada")?.as_str(&tx)?, LONG);

            // The closure changes the map below the entry that waits, up to a split of nodes or
            // shards, and then inserts the key itself.
            map.entry(&mut tx, "Bo")?.or_try_insert_with(|tx| {
                for number in 0..500u32 {
                    let value = long(tx)?;
                    map.insert(tx, &format!("{number}"), value)?;
                }
                let own = Text::new(tx, "own")?;
                map.insert(tx, "Bo", own)?;
                long(tx)
            })?;
            assert_eq!(tx.at(map)?.get(&tx, "Bo")?.ok_or("Bo")?.as_str(&tx)?, "own");
            assert_eq!(tx.at(map)?.len(), 502);

            // What a savepoint takes back was never there.
            map.entry(&mut tx, "Cy")?.or_try_insert_with(|tx| {
                let savepoint = tx.savepoint()?;
                map.clear(tx)?;
                let value = long(tx)?;
                map.insert(tx, "Cy", value)?;
                tx.rollback_to(savepoint)?;
                Text::new(tx, "after")
            })?;
            assert_eq!(tx.at(map)?.get(&tx, "Cy")?.ok_or("Cy")?.as_str(&tx)?, "after");
            assert_eq!(tx.at(map)?.len(), 503);

            // A value of what was rolled back is refused.
            let refused = map.entry(&mut tx, "Di")?.or_try_insert_with(|tx| {
                let savepoint = tx.savepoint()?;
                let value = long(tx)?;
                tx.rollback_to(savepoint)?;
                Ok(value)
            });
            assert_refused!(refused, OwnedNotLive { .. });
            assert!(!tx.at(map)?.contains_key(&tx, "Di")?);

            tx.commit()?;
            let report = store.check()?;
            assert!(report.is_clean() && report.unreachable.allocations == 0, "{report:?}");
            Ok(())
        }
    };
}

promises!(of_a_tree, BTreeMap);
promises!(of_a_hash_map, HashMap);
