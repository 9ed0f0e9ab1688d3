# Recipes for people who work on flagstone. `just --list` shows them.

# Format, lints and documentation, as .ci/run asks for them.
check:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --quiet

# All tests; as root they also cut the power of real file systems.
test:
    cargo test --workspace --all-features

# The campaigns of the tests in their long mode: hours.
test-long:
    FLAGSTONE_LONG=1 cargo test --workspace --all-features

# The tests on machines with memory pages of 16 and 64 KiB, which are emulated.
machine-pages:
    .ci/machine-pages all

# Tests whose names contain WORD, of the program NAME: `just only store root`.
only NAME WORD="":
    cargo test --all-features --test {{NAME}} {{WORD}}

# Every schedule of the protocol's locks that the checker tries.
schedules:
    .ci/schedules

# Everything but the file mapping under Miri, both aliasing models.
miri:
    .ci/miri

# Each fuzz target for SECONDS.
fuzz SECONDS="30":
    FLAGSTONE_FUZZ_SECONDS={{SECONDS}} .ci/fuzz

# Address and thread sanitizer: an hour.
sanitize:
    .ci/sanitize

# All benchmarks; each prints ratios.
bench:
    cargo bench

# Licences, advisories and duplicate dependencies (needs cargo-deny).
deny:
    cargo deny check

# Everything that must hold before a change lands.
ci:
    .ci/run
