//! What a worker keeps from task to task: one value of each type, set by its initializer.

use std::any::{Any, TypeId, type_name};
use std::cell::RefCell;
use std::collections::HashMap;

/// Why there is no state to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Nobody has set it.
    #[error("this worker has no state of type {type_name}; set it in the pool's initializer")]
    NotSet {
        /// The Rust type.
        type_name: &'static str,
    },
    /// It is in use already, further out in this thread.
    #[error("the state of type {type_name} is in use already")]
    InUse {
        /// The Rust type.
        type_name: &'static str,
    },
}

/// A value; none while it is in use.
type Place = Option<Box<dyn Any>>;

thread_local! {
    static STATES: RefCell<HashMap<TypeId, Place>> = RefCell::new(HashMap::new());
}

/// Keeps `state` for the tasks of this worker, in place of what it had of this type.
///
/// Called by the pool's initializer as a rule. Each worker has its own; in a pool of threads, each thread. When the pool
/// ends in good order, it is dropped; a worker that is killed drops nothing.
pub fn set_state<S: 'static>(state: S) {
    let before = STATES
        .with_borrow_mut(|states| states.insert(TypeId::of::<S>(), Some(Box::new(state) as Box<dyn Any>)));
    // Its own code may use states.
    drop(before);
}

/// Runs `work` with the state of type `S` of this worker.
///
/// # Errors
/// There is none, or this is called by `work` itself.
pub fn with_state<S: 'static, R>(work: impl FnOnce(&mut S) -> R) -> Result<R, StateError> {
    // Puts it back, also when `work` panics; unless `work` has set another one.
    struct Back(Option<Box<dyn Any>>, TypeId);
    impl Drop for Back {
        fn drop(&mut self) {
            let state = self.0.take();
            STATES.with_borrow_mut(|states| {
                if let Some(place @ None) = states.get_mut(&self.1) {
                    *place = state;
                }
            });
        }
    }

    let (key, type_name) = (TypeId::of::<S>(), type_name::<S>());
    let taken = STATES.with_borrow_mut(|states| match states.get_mut(&key) {
        None => Err(StateError::NotSet { type_name }),
        Some(place) => place.take().ok_or(StateError::InUse { type_name }),
    })?;
    let mut back = Back(Some(taken), key);
    let state = back.0.as_mut().and_then(|state| state.downcast_mut::<S>());
    let state = state.ok_or(StateError::NotSet { type_name })?;
    Ok(work(state))
}

/// Drops every state of this thread: the end of a worker in good order.
pub fn drop_states() {
    let states = STATES.with_borrow_mut(std::mem::take);
    drop(states);
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_state_stays_from_call_to_call_and_types_do_not_meet() {
        set_state(1_u32);
        set_state("text".to_owned());

        let raised = with_state(|number: &mut u32| {
            *number += 1;
            with_state(|text: &mut String| text.push('!')).unwrap();
            *number
        });

        assert_eq!(raised, Ok(2));
        assert_eq!(with_state(|number: &mut u32| *number), Ok(2));
        assert_eq!(with_state(|text: &mut String| text.clone()), Ok("text!".to_owned()));
    }

    #[test]
    fn a_state_that_is_not_there_or_in_use_is_told_by_its_type() {
        set_state(1_u8);

        let missing = with_state(|_: &mut i128| ()).unwrap_err();
        let twice = with_state(|_: &mut u8| with_state(|_: &mut u8| ())).unwrap().unwrap_err();

        assert_eq!(
            missing.to_string(),
            "this worker has no state of type i128; set it in the pool's initializer"
        );
        assert_eq!(twice, StateError::InUse { type_name: "u8" });
    }

    #[test]
    fn a_state_survives_a_panic_and_can_be_replaced_in_use() {
        set_state(vec![1]);

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            with_state(|list: &mut Vec<i32>| {
                list.push(2);
                panic!("in the middle");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(with_state(|list: &mut Vec<i32>| list.clone()), Ok(vec![1, 2]));

        with_state(|_: &mut Vec<i32>| set_state(vec![9])).unwrap();
        assert_eq!(with_state(|list: &mut Vec<i32>| list.clone()), Ok(vec![9]));
    }

    #[test]
    fn states_are_dropped_at_the_end() {
        let counted = Rc::new(());
        set_state(Rc::clone(&counted));

        drop_states();

        assert_eq!(Rc::strong_count(&counted), 1);
    }
}
