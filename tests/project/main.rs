//! Promises about the project itself: its code and its examples.

mod the_code_keeps_its_own_rules;
mod the_examples_do_what_they_say;
mod the_phonebook_keeps_its_people;
