# What .ci/run and .ci/long have in common; they source it. Nothing reads standard input.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

# Background jobs, ended by their ids with whatever they started, however the script ends.
started=()
scratch=$(mktemp -d)
end_started() {
    for job in "${started[@]}"; do kill -- "-$job" 2>/dev/null || true; done
    started=()
}
clean_up() {
    end_started
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# background COMMAND...: starts it in a process group of its own; its id is in $job.
background() {
    set -m
    "$@" &
    job=$!
    set +m
    started+=("$job")
}

# Says what begins, and how many seconds have passed.
step() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

fail() {
    echo "$*" >&2
    exit 1
}

# Installs the programs that the tests use, and a Python environment with nodes of the version whose protocol is
# spoken. From then on a skipped test is a failed one.
install_needs() {
    local pair missing=() venv=target/python
    for pair in valgrind:valgrind ip:iproute2 unshare:util-linux nm:binutils c++:g++ clang-format:clang-format \
        python3:python3 stress-ng:stress-ng; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    if ((${#missing[@]})); then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
    fi
    if ! "$venv/bin/python" -c 'import peerbase, fastapi, uvicorn, noise' 2>/dev/null; then
        python3 -m venv "$venv" 2>/dev/null || {
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
            python3 -m venv "$venv"
        }
        "$venv/bin/python" -m pip install -q peerbase==0.7.1 cryptography noiseprotocol requests fastapi uvicorn
    fi
    PEERBASE_PYTHON=$(realpath -s "$venv/bin/python")
    export PEERBASE_PYTHON PEERBASE_REQUIRE=all
}

# Keeps so many processes busy until end_load.
begin_load() {
    background stress-ng --cpu "$1" --quiet
}

end_load() {
    end_started
    wait
}

# Builds the tests, and lists them: a name and a program a line.
test_programs() {
    cargo test --no-run 2>"$scratch/build" || { cat "$scratch/build" >&2; return 1; }
    sed -n -e 's|^ *Executable unittests src/lib.rs (\(.*\))|lib \1|p' \
        -e 's|^ *Executable unittests src/bin/\([a-z_]*\)/main.rs (\(.*\))|\1 \2|p' \
        -e 's|^ *Executable tests/\([a-z_]*\)\(/main\)*.rs (\(.*\))|\1 \3|p' "$scratch/build"
}

# run_test NAME SECONDS PROGRAM [ARGUMENT]...: silent, unless it fails or takes longer than that.
run_test() {
    local name=$1 limit=$2 code=0
    timeout --kill-after 10 "$limit" "${@:3}" >"$scratch/test" 2>&1 || code=$?
    if ((code)); then
        cat "$scratch/test"
        fail "$name failed with status $code (124: after $limit s)"
    fi
}

fuzz_one() {
    local target=$1 seconds=$2 log=$scratch/fuzz-$1.log corpus=fuzz/corpus/$1
    mkdir -p "$scratch/$target" "$corpus"
    # What it finds goes to the first, a scratch corpus.
    cargo +nightly fuzz run "$target" "$scratch/$target" "$corpus" -- "-max_total_time=$seconds" >"$log" 2>&1 || {
        tail -60 "$log"
        echo "fuzz target $target failed"
        return 1
    }
    echo "$target: $(tail -1 "$log")"
}

fuzz_each() {
    for target in "${@:2}"; do fuzz_one "$target" "$1" || return 1; done
}

# fuzz_all SECONDS: every target of fuzz/Cargo.toml for so long, two at a time.
fuzz_all() {
    local targets lanes=() lane
    command -v cargo-fuzz >/dev/null || cargo install -q --locked cargo-fuzz
    targets=$(cargo +nightly fuzz list)
    cargo +nightly fuzz build >"$scratch/build" 2>&1 || { cat "$scratch/build"; return 1; }
    for lane in 'p;n' 'n;p'; do
        # Every second one.
        background fuzz_each "$1" $(sed -n "$lane" <<<"$targets")
        lanes+=("$job")
    done
    # The first failure ends it all.
    wait -n "${lanes[@]}"
    for lane in "${lanes[@]}"; do wait "$lane"; done
}
