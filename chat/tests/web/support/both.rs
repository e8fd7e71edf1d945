//! Each test of a list becomes two: one on either database.

macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $test() {
                $crate::support::on_sqlite(super::$test);
            })*
        }
        mod on_postgres {
            $(#[test]
            fn $test() {
                $crate::support::on_postgres(super::$test);
            })*
        }
    };
}
