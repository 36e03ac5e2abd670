//! Objects that processes share, in a program that is its own worker, process and keeper: hence its own `main` instead of
//! the usual harness.
//!
//! Arguments that are no options choose the tests whose names contain one of them.

#![forbid(unsafe_code)]

mod fixture;
mod locks;
mod meetings;
mod names;
mod queues;
mod soak;
mod travels;

use std::process::ExitCode;

use poolctl_testkit::{Test, run_tests, tests};

const TESTS: &[Test] = tests! {
    locks: a_counter_under_a_lock_is_exact, a_counter_without_the_lock_is_exact_too,
        the_next_owner_is_told_of_a_worker_killed_inside, the_next_owner_is_told_of_a_process_killed_inside,
        a_long_value_is_there_whole, an_array_under_a_lock_is_seen_whole, a_lock_knows_its_owner_and_its_waiters, a_recursive_lock_is_taken_again_by_any_handle,
        a_recursive_lock_is_held_whatever_handles_come_and_go,
        a_deadlock_of_two_processes_is_found_and_names_both, a_lock_may_be_given_back_from_elsewhere,
        permits_bound_how_many_are_inside, a_dead_holder_s_permit_comes_back;
    meetings: an_event_wakes_all, a_condition_hands_over, a_barrier_lets_all_go_on_together,
        a_condition_waits_with_a_locked_value,
        a_condition_gives_a_recursive_lock_back_however_often_it_was_taken, a_dead_party_breaks_the_barrier, a_dead_waiter_blocks_no_notification;
    names: a_name_leads_another_program_to_the_same_objects, what_a_stranger_held_when_it_died_comes_back,
        a_name_is_gone_with_its_last_user, a_publisher_that_dies_leaves_no_name, what_cannot_be_attached_is_told,
        connections_that_say_nothing_are_in_nobody_s_way, strangers_come_and_go,
        threads_attach_at_the_same_time, what_came_back_can_be_published;
    queues: what_producers_put_consumers_get_once, a_queue_gives_back_what_does_not_fit, a_joined_queue_is_done, what_is_put_while_others_are_done_is_counted,
        who_finds_nothing_has_found_an_empty_queue,
        a_killed_producer_tears_nothing, who_joins_is_told_what_was_in_the_hands_of_the_dead,
        what_one_process_got_another_may_do, handles_do_not_travel_through_a_queue;
    soak: counters_stay_exact_under_a_killer, queues_lose_nothing_and_give_nothing_twice_under_a_killer,
        joined_queues_account_for_all_under_a_killer, lists_have_whole_items_under_a_killer;
    travels: objects_come_before_and_behind_the_pool, an_initializer_has_objects, an_object_of_a_child_is_foreign_here,
        an_object_is_written_nowhere_else, a_list_is_the_same_for_all, any_number_of_handles_travels_with_an_item, places_of_what_others_had_are_used_again,
        the_place_of_what_a_worker_has_is_not_used_again, what_is_on_its_way_keeps_its_place,
        memory_over_the_limit_is_an_error_where_it_is_made, places_are_used_again;
};

fn main() -> ExitCode {
    poolctl::init();
    if names::is_stranger() {
        return names::stranger();
    }
    run_tests(TESTS)
}
