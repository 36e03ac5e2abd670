//! Pools of tasks, in a program that is its own worker and keeper: hence its own `main` instead of the usual harness.
//!
//! Arguments that are no options choose the tests whose names contain one of them.

#![forbid(unsafe_code)]

mod builders;
mod callbacks;
mod calls;
mod failures;
mod fixture;
mod iterations;
mod large;
mod lives;
mod nested;
mod tasks;

use std::process::ExitCode;

use poolctl_testkit::{Test, run_tests, tests};

const TESTS: &[Test] = tests! {
    calls: a_call_gives_its_result, tuples_texts_and_nested_values_travel, results_come_in_the_order_of_items,
        a_map_may_be_taken_later, several_arguments_are_a_tuple, a_result_is_a_future, a_wait_may_be_limited,
        many_threads_share_a_pool;
    callbacks: a_callback_runs_once_and_before_the_result_is_given, an_error_goes_to_the_other_callback,
        a_map_calls_back_with_all_its_results, a_callback_that_panics_hurts_nothing, a_callback_may_use_the_pool;
    iterations: an_endless_input_is_taken_as_it_is_wanted, large_results_are_not_asked_for_far_ahead, outcomes_come_as_they_end,
        the_rest_of_a_dropped_iteration_is_cancelled, an_item_that_fails_keeps_its_place,
        an_input_that_panics_leaves_the_pool_in_order;
    large: vectors_travel_beside_their_item, many_large_values_wait_together,
        many_large_values_do_with_few_descriptors, large_values_travel_in_parcels, a_slice_is_mapped_into_another,
        a_slice_names_the_element_that_failed, a_slice_goes_on_without_memory_to_spare,
        an_array_is_shared_and_not_copied, bytes_are_shared_too, memory_over_the_limit_is_an_error_of_the_call;
    failures: an_error_of_the_task_is_told, a_panic_is_told_with_its_place, the_first_error_in_order_is_told_when_all_have_ended,
        a_killed_worker_takes_only_the_item_it_ran, an_item_over_its_time_is_stopped,
        a_cancelled_item_ends_whether_it_runs_or_waits, a_failed_item_is_tried_again,
        a_task_that_the_worker_does_not_know_is_told, a_worker_that_is_no_worker_is_told,
        a_pool_may_break_with_its_first_death;
    builders: every_worker_runs_the_initializer_first, an_initializer_is_given_large_arguments_and_handles, a_failed_initializer_is_told, exit_functions_give_results,
        a_worker_is_replaced_after_its_tasks, a_pool_grows_and_shrinks, a_variable_reaches_the_workers,
        insight_knows_the_workers_and_the_slowest_items, progress_is_told_up_to_the_end;
    nested: a_task_calls_its_own_pool_of_any_size, calls_inside_calls_are_run_only_so_deep,
        what_becomes_of_a_nested_call_is_told_to_its_caller, results_that_nobody_waits_for_do_no_harm,
        there_is_no_pool_outside_of_a_task;
    lives: a_dropped_pool_leaves_no_process, a_joined_pool_has_finished_everything, a_closed_pool_refuses_items,
        a_terminated_pool_cancels_what_is_left;
};

fn main() -> ExitCode {
    poolctl::init();
    run_tests(TESTS)
}
