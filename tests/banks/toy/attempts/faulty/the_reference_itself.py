# limit 0.3 s
# test_raises_itself: harness_fault
#   message: the check is broken: KeyError: 'wanted' (checks.py, line 21); please report it with the seed
# test_asks_too_much_of_the_reference: harness_fault
#   message: the check is broken: Raised: ValueError: too large for the reference (checks.py, line 27)
# test_waits_for_the_reference: harness_fault
#   message: the check is broken: TimedOut: no answer after 1.5 s
# test_passes_an_object: harness_fault
#   message: object cannot be an argument
# test_passes_a_class: harness_fault
#   message: type cannot be an argument
# test_passes_what_is_there_already: harness_fault
#   message: decode is over there already; a probe can pass it on
# test_skips_itself: harness_fault
#   message: not today
# test_cannot_measure: not_measurable
#   message: there is no such clock
