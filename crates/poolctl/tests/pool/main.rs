//! Pools with real workers, in a program that is its own keeper: hence its own `main` instead of the usual harness.
//!
//! Arguments that are no options choose the tests whose names contain one of them.

#![forbid(unsafe_code)]

mod broken;
mod calls;
mod ends;
mod failures;
mod fixture;
mod futures;
mod lazily;
mod sharing;

use std::process::ExitCode;

use poolctl_testkit::{Test, run_tests, tests};

const TESTS: &[Test] = tests! {
    broken: a_panic_in_the_loop_ends_every_wait;
    calls: a_call_gives_its_result, results_come_in_the_order_of_items, a_command_gets_its_item_and_gives_its_output,
        a_worker_in_any_language_is_called, what_cannot_travel_is_refused_alone, a_wait_may_be_limited,
        an_output_too_large_for_memory_comes_back_whole, items_in_flight_are_bounded;
    lazily: an_endless_input_is_taken_as_it_is_wanted, the_rest_of_a_dropped_iteration_is_cancelled,
        an_item_that_cannot_travel_keeps_its_place;
    failures: an_error_crosses_with_type_message_and_trace, a_killed_worker_takes_only_the_item_it_ran,
        a_failed_item_is_tried_again, a_poisonous_item_is_quarantined, an_item_over_its_time_is_stopped,
        a_cancelled_item_ends_whether_it_runs_or_waits, a_pool_whose_workers_cannot_start_says_why,
        a_failed_command_shows_its_stderr, a_killed_keeper_is_replaced;
    futures: futures_are_woken_without_anybody_waiting, a_waker_that_panics_harms_nobody,
        a_waker_may_use_the_pool_itself, a_waker_may_drop_the_pool;
    sharing: many_threads_share_the_lead, one_that_leads_for_long_serves_the_others, callers_with_time_limits_come_and_go,
        a_caller_that_leaves_when_it_is_given_the_lead_hands_it_on, threads_and_futures_share_a_pool,
        a_thread_that_panics_while_it_maps_leaves_the_pool_in_order;
    ends: a_dropped_pool_leaves_no_process, a_joined_pool_has_finished_everything, a_closed_pool_refuses_items,
        a_terminated_pool_cancels_what_is_left, a_result_outlives_its_pool, waiting_threads_see_the_pool_go;
};

fn main() -> ExitCode {
    poolctl::init();
    run_tests(TESTS)
}
