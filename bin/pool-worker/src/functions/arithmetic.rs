//! Arithmetic of whole numbers. What does not fit is an error that says what was tried, never a wrong number.

use poolctl::task;

/// A result does not fit into 64 bits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Overflow {
    /// Of two numbers.
    #[error("{left} {operator} {right} does not fit into 64 bits")]
    Of {
        /// The number before the operator.
        left: i64,
        /// It.
        operator: char,
        /// The number behind it.
        right: i64,
    },
    /// Of a number's negative.
    #[error("−({number}) does not fit into 64 bits")]
    Negative {
        /// The number.
        number: i64,
    },
    /// Of many numbers.
    #[error("the sum of {count} numbers, {total}, does not fit into 64 bits")]
    Sum {
        /// How many there are.
        count: usize,
        /// What they make.
        total: i128,
    },
    /// Of a factorial.
    #[error("{number}! does not fit into 64 bits")]
    Factorial {
        /// The number.
        number: u64,
    },
}

/// The square of a whole number.
#[task]
fn square(number: i64) -> Result<i64, Overflow> {
    multiplied(number, number)
}

/// The sum of two whole numbers.
#[task]
fn add(left: i64, right: i64) -> Result<i64, Overflow> {
    left.checked_add(right).ok_or(Overflow::Of { left, operator: '+', right })
}

/// The product of two whole numbers.
#[task]
fn multiply(left: i64, right: i64) -> Result<i64, Overflow> {
    multiplied(left, right)
}

/// A whole number with the other sign.
#[task]
fn negate(number: i64) -> Result<i64, Overflow> {
    number.checked_neg().ok_or(Overflow::Negative { number })
}

/// The sum of a list of whole numbers.
#[task]
fn sum(numbers: &[i64]) -> Result<i64, Overflow> {
    let total = numbers.iter().copied().map(i128::from).sum();
    i64::try_from(total).map_err(|_| Overflow::Sum { count: numbers.len(), total })
}

/// The product of all whole numbers from 1 to this one, which is 20 at most.
#[task]
fn factorial(number: u64) -> Result<u64, Overflow> {
    (1..=number).try_fold(1_u64, u64::checked_mul).ok_or(Overflow::Factorial { number })
}

fn multiplied(left: i64, right: i64) -> Result<i64, Overflow> {
    left.checked_mul(right).ok_or(Overflow::Of { left, operator: '×', right })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_fit_are_reckoned() {
        assert_eq!(square(-12), Ok(144));
        assert_eq!(add(2, -3), Ok(-1));
        assert_eq!(multiply(6, 7), Ok(42));
        assert_eq!(negate(5), Ok(-5));
        assert_eq!(sum(&[1, 2, 3]), Ok(6));
        assert_eq!(sum(&[]), Ok(0));
        assert_eq!([0, 1, 5, 20].map(*factorial), [Ok(1), Ok(1), Ok(120), Ok(2_432_902_008_176_640_000)]);
    }

    #[test]
    fn numbers_that_do_not_fit_are_named() {
        let told = |done: Result<i64, Overflow>| done.unwrap_err().to_string();

        assert_eq!(told(square(1 << 40)), "1099511627776 × 1099511627776 does not fit into 64 bits");
        assert_eq!(told(add(i64::MAX, 1)), "9223372036854775807 + 1 does not fit into 64 bits");
        assert_eq!(told(multiply(i64::MIN, -1)), "-9223372036854775808 × -1 does not fit into 64 bits");
        assert_eq!(told(negate(i64::MIN)), "−(-9223372036854775808) does not fit into 64 bits");
        assert_eq!(
            told(sum(&[i64::MAX, i64::MAX])),
            "the sum of 2 numbers, 18446744073709551614, does not fit into 64 bits"
        );
        assert_eq!(factorial(21).unwrap_err().to_string(), "21! does not fit into 64 bits");
        assert_eq!(factorial(u64::MAX), Err(Overflow::Factorial { number: u64::MAX }));
    }

    #[test]
    fn a_sum_that_fits_may_pass_through_one_that_does_not() {
        assert_eq!(sum(&[i64::MAX, 1, -1]), Ok(i64::MAX));
    }
}
