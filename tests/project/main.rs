//! Promises about the project itself: its code and its examples.

mod every_public_method_has_an_example;
mod imports_run_in_one_direction;
mod sources;
mod the_code_keeps_its_own_rules;
mod the_examples_do_what_they_say;
mod the_phonebook_keeps_its_people;
