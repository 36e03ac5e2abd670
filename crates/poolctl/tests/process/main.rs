//! Processes, pipes and threads, in a program that is its own process and keeper: hence its own `main` instead of the
//! usual harness.
//!
//! Arguments that are no options choose the tests whose names contain one of them. With `--as-host DIRECTORY` it is the
//! host of a few processes until it is killed.

#![forbid(unsafe_code)]

mod contacts;
mod ends;
mod lifecycle;
mod lives;
mod pipes;
mod pipes_between;
mod tasks;
mod threads;
mod threads_many;

use std::process::ExitCode;

use poolctl_testkit::{Test, run_tests, tests};

const TESTS: &[Test] = tests! {
    threads: a_closure_gives_its_result, a_task_gives_its_result, a_panic_is_an_error_and_the_thread_goes_on,
        a_callback_runs_before_the_result_is_given, a_wait_may_be_limited, a_waiting_task_is_cancelled_and_a_running_one_is_not,
        a_task_may_wait_for_tasks_of_its_own_pool, a_result_is_a_future, every_thread_runs_the_initializer,
        a_failed_initializer_is_told, a_thread_has_its_state_and_ends_with_a_result, a_state_is_dropped_in_good_order, a_task_knows_where_it_runs, a_pool_grows_and_shrinks, a_closed_pool_ends_what_it_has,
        a_terminated_pool_cancels_what_waits, a_dropped_pool_has_no_thread_left, a_full_window_blocks;
    threads_many: results_come_in_the_order_of_items, a_map_runs_everything_and_tells_the_first_error,
        a_map_may_be_awaited_and_called_back, no_items_give_no_results, a_slice_is_mapped, an_endless_input_is_taken_as_it_is_wanted,
        outcomes_come_as_they_end, a_failed_item_keeps_its_place, the_rest_of_a_dropped_iteration_is_not_run,
        a_closed_pool_takes_no_further_item, a_task_may_iterate_over_its_own_pool;
    lifecycle: a_task_runs_in_a_process_of_its_own, a_process_has_a_name_and_tells_it, a_variable_reaches_it,
        big_arguments_arrive, what_it_prints_is_its_caller_s, a_returned_error_is_code_one_and_told,
        a_panic_is_code_one_and_told, a_status_of_its_own_is_kept, a_process_starts_once, a_process_that_cannot_start_says_why, a_join_may_be_limited,
        its_end_can_be_polled, a_process_may_start_processes, a_variable_of_ours_is_not_inherited, a_worker_may_start_processes, a_variable_alone_makes_no_process, hundreds_of_handles_arrive, printing_host;
    ends: a_terminated_process_ends_by_the_signal, a_killed_process_takes_its_group_along,
        a_dropped_daemon_is_killed, a_dropped_process_is_waited_for, a_process_that_was_not_started_is_nothing,
        a_killed_host_leaves_nothing, a_killed_keeper_is_replaced, thousands_of_processes_leave_nothing;
    pipes: values_go_both_ways, values_go_one_way_and_end, a_receive_may_be_limited, a_full_pipe_gives_back_and_blocks,
        few_large_messages_are_on_their_way, what_was_sent_before_the_end_arrives, the_end_is_not_told_before_what_was_sent, a_wrong_type_spoils_one_message,
        an_end_travels_in_a_message, ends_travel_in_a_large_message, too_many_handles_are_refused, an_end_is_not_written_elsewhere,
        pipes_leave_no_descriptors;
    pipes_between: two_processes_talk, large_messages_cross, a_pipe_ends_with_the_process,
        a_sender_killed_in_the_middle_leaves_whole_messages, one_of_several_senders_may_be_killed,
        an_end_is_handed_on, a_task_of_a_pool_has_a_pipe;
    contacts: a_process_connects_and_talks, a_process_that_ends_first_is_told, a_process_that_says_nothing_is_told,
        a_contact_may_be_limited, words_of_another_type_are_told;
};

fn main() -> ExitCode {
    poolctl::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [option, directory] = arguments.as_slice()
        && option == lives::AS_HOST
    {
        lives::be_host(directory);
    }
    run_tests(TESTS)
}
