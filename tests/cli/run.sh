#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: tests/cli/run.sh [PROGRAM]
# The program as its users meet it: each sub-command, each exit code, each bad input. PROGRAM stands in
# INKLING_PROGRAM when ctest runs this. What needs exact control over pipes, terminals and signals is in
# test_streams.c beside it.
# shellcheck disable=SC3044,SC1003 # `complete` is a word of ours; a backslash before a quote is meant
set -u

program=${1:-${INKLING_PROGRAM:-}}
source_dir=${INKLING_SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
if [ ! -x "$program" ]; then
    echo "left out: there is no program '$program'"
    exit 77
fi
model=${INKLING_STORY-$source_dir/models/story.gguf}
if [ ! -f "$model" ]; then
    echo 'left out: there is no built-in model'
    exit 77
fi
unset LC_ALL LANG
T=$(mktemp -d)
trap 'chmod -R u+w "$T"; rm -rf "$T"' EXIT
failed=0
number=0

report() { # report RESULT NAME [WHY]
    number=$((number + 1))
    if [ "$1" = 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2${3:+: $3}"
        failed=$((failed + 1))
    fi
}
left_out() { echo "left out: $1"; }

# run NAME CODE COMMAND...: output in $T/out and $T/err; the exit code must be CODE, and a failure must
# say exactly one line that begins with "inkling: ".
run() {
    name=$1
    want=$2
    shift 2
    "$@" >"$T/out" 2>"$T/err" </dev/null
    got=$?
    # On a slow machine these tell how far they are.
    sed -E '/^(converting|quantizing|scoring): [0-9]+%, /d' "$T/err" >"$T/told" && mv "$T/told" "$T/err"
    why=
    [ $got = "$want" ] || why="exit code $got instead of $want: $(head -c 300 "$T/err")"
    case $want in
    0 | 130) ;;
    *)
        [ "$(wc -l <"$T/err")" -eq 1 ] || why="$why; $(wc -l <"$T/err") lines on standard error"
        grep -q '^inkling: ' "$T/err" || why="$why; no \"inkling: \" in front"
        ;;
    esac
    if grep -qE 'Sanitizer|runtime error' "$T/err"; then why="$why; $(grep -m 1 -E 'Sanitizer|runtime error' "$T/err")"; fi
    report "$([ -z "$why" ] && echo 0 || echo 1)" "$name" "$why"
}
ink() { "$program" "$@"; }
# says NAME FILE REGEX: a line of FILE matches.
says() {
    if grep -qE -e "$3" "$2"; then report 0 "$1"; else report 1 "$1" "no \"$3\" in: $(head -c 300 "$2")"; fi
}
same() { # same NAME FILE FILE
    if cmp -s "$2" "$3"; then report 0 "$1"; else report 1 "$1" "$(cmp "$2" "$3" 2>&1 | head -n 1)"; fi
}
is() { # is NAME VALUE EXPECTED
    if [ "$2" = "$3" ]; then report 0 "$1"; else report 1 "$1" "\"$2\" instead of \"$3\""; fi
}
# usage NAME REGEX ARGUMENT...: exit code 2, the line names the option and the way to --help.
usage() {
    name=$1
    regex=$2
    shift 2
    run "$name" 2 ink "$@"
    says "$name, the line" "$T/err" "$regex.*--help\)"
    is "$name, nothing on standard output" "$(wc -c <"$T/out" | tr -d ' ')" 0
}

# --- help and options ----------------------------------------------------------------------
run '--version' 0 ink --version
says '--version, the number' "$T/out" '^inkling [0-9]+\.[0-9]+\.[0-9]+$'
run '--help' 0 ink --help
cp "$T/out" "$T/overview"
run 'help' 0 ink help
same 'help is --help' "$T/out" "$T/overview"
for command in complete tokenize inspect convert quantize merge score perplexity bench; do
    says "overview has $command" "$T/overview" "^  inkling $command "
    run "$command --help" 0 ink $command --help
    cp "$T/out" "$T/help_$command"
    run "help $command" 0 ink help $command
    same "help $command is $command --help" "$T/out" "$T/help_$command"
    says "$command --help has the exit codes" "$T/out" '^  130  interrupted'
    run "$command -h behind options" 0 ink $command -h
    same "$command -h" "$T/out" "$T/help_$command"
    is "$command --help fits 100 columns" "$(awk 'length > 100' "$T/out" | wc -l | tr -d ' ')" 0
    usage "$command: unknown option" "$command: unknown option --no-such" $command --no-such x
done
for option in -n -m --temperature --top-k --top-p --min-p --repeat-penalty --seed --greedy --stop --ignore-eos --filter --no-repeat-ngram --no-heal \
    --context --overflow --keep --kv-type --threads --special --stats --json --echo; do
    says "complete --help has $option" "$T/help_complete" "^ +(-., )?${option}[ ,]"
done
run 'defaults in the help do not come from options before it' 0 ink complete -n 7 --help
same 'the same help' "$T/out" "$T/help_complete"
usage 'no command' 'a command is missing'
usage 'unknown command' 'unknown command "frobnicate"' frobnicate
usage 'unknown option of the program' 'unknown option "--frob"' --frob
usage 'no prompt' 'complete: PROMPT is missing' complete
usage 'two prompts' 'one argument too many: "b"' complete a b
usage 'unknown short option' 'unknown option -z' complete -z x
usage 'negative number as prompt' 'unknown option -5' complete -5
usage 'missing value' '--top-k needs a value' complete x --top-k
usage 'missing value, short' '-n needs a value' complete x -n
usage 'not a number' '--top-k needs a whole number, not "x1"' complete --top-k x1 x
usage 'empty number' '--top-k needs a whole number, not ""' complete --top-k= x
usage 'number with a fraction' '-n needs a whole number' complete -n 1.5 x
usage 'negative' '-n -1 is out of range' complete -n -1 x
usage 'huge number' '--seed 99999999999999999999999 is out of range' complete --seed 99999999999999999999999 x
usage 'decimal comma' '--temperature needs a number, not "0,8"' complete --temperature 0,8 x
usage 'nan' '--temperature needs a number, not "nan"' complete --temperature nan x
usage 'hexadecimal' '--top-p needs a number' complete --top-p 0x1p-1 x
usage 'too large' '--top-p 1\.5 is out of range, 0 to 1' complete --top-p=1.5 x
usage 'over the double range' '--top-p 1e999 is out of range' complete --top-p=1e999 x
usage 'choice' '--kv-type "f64" is none of f16, f32, q8_0' complete --kv-type f64 x
usage 'overflow' '--overflow "wrap" is none of error, left, slide' complete --overflow=wrap x
usage 'value for a flag' '--greedy takes no value' complete --greedy=1 x
usage 'too many threads' '--threads 65 is out of range, 1 to 64' complete --threads 65 x
usage 'empty stop text' '--stop needs a text' complete --stop '' x
usage 'convert without -o' 'convert: -o OUT.gguf is missing' convert "$T"
usage 'convert: type' '--type "q9" is none of' convert --type q9 -o "$T/x.gguf" "$T"
usage 'decode: not an id' '"12x" is not a token id' tokenize --decode 12x
run 'decode: outside the vocabulary' 2 ink tokenize --decode 999999999
usage 'no file' 'perplexity: FILE is missing' perplexity

# --- complete ------------------------------------------------------------------------------
run 'complete' 0 ink complete -n 24 --seed 1 'Once upon a time'
cp "$T/out" "$T/text"
is 'complete, something came' "$([ -s "$T/text" ] && echo yes)" yes
is 'complete, nothing on standard error' "$(wc -c <"$T/err" | tr -d ' ')" 0
run 'same seed' 0 ink complete -n 24 --seed=1 'Once upon a time'
same 'same seed, same bytes' "$T/out" "$T/text"
run 'one thread' 0 ink complete 'Once upon a time' --threads 1 --seed 1 -n24
same 'options behind the prompt and other threads, same bytes' "$T/out" "$T/text"
run 'model file' 0 ink complete -m "$model" -n 24 --seed 1 -- 'Once upon a time'
same 'the file is the built-in model' "$T/out" "$T/text"
run 'builtin:story' 0 ink complete --model builtin:story -n 24 --seed 1 'Once upon a time'
same 'builtin:story, same bytes' "$T/out" "$T/text"
run 'another seed' 0 ink complete -n 24 --seed 2 --temperature 1.5 'Once upon a time'
is 'another seed, other bytes' "$(cmp -s "$T/out" "$T/text" || echo differs)" differs
printf 'Once upon a time' | ink complete -n 24 --seed 1 - >"$T/out"
same 'prompt from standard input' "$T/out" "$T/text"
run 'echo' 0 ink complete --echo -n 24 --seed 1 'Once upon a time'
{ printf 'Once upon a time' && cat "$T/text"; } >"$T/want"
same 'echo puts the prompt in front' "$T/out" "$T/want"
run 'greedy' 0 ink complete --greedy -n 40 'Once upon a time'
cp "$T/out" "$T/greedy"
run 'temperature 0' 0 ink complete --temperature 0 -n 40 --seed 5 'Once upon a time'
same 'greedy is temperature 0' "$T/out" "$T/greedy"
run 'top-k 1' 0 ink complete --top-k 1 -n 40 'Once upon a time'
same 'greedy is top-k 1' "$T/out" "$T/greedy"
for kv in f32 q8_0; do run "kv-type $kv" 0 ink complete --kv-type $kv --greedy -n 8 'Once upon a time'; done
run 'no tokens' 0 ink complete -n 0 'Once upon a time'
is 'no tokens, no text' "$(wc -c <"$T/out" | tr -d ' ')" 0
run 'empty prompt' 0 ink complete --seed 3 -n 16 ''
cp "$T/out" "$T/empty"
is 'empty prompt, something came' "$([ -s "$T/out" ] && echo yes)" yes
run 'empty prompt is the end token' 0 ink complete --seed 3 -n 16 --special '<|endoftext|>'
same 'empty prompt starts from <|endoftext|>' "$T/out" "$T/empty"
run 'end token as plain text' 0 ink complete --seed 3 -n 16 --json '<|endoftext|>'
is 'it is several tokens' "$(sed -n 's/.*"n_prompt":\([0-9]*\).*/\1/p' "$T/out" | awk '{ print ($1 > 1) }')" 1

# The greedy story ends by itself; told to go on it has the same beginning.
run 'story to its end' 0 ink complete --greedy -n 1000 --overflow slide 'Once upon a time'
cp "$T/out" "$T/ended"
run 'story to its end, the reason' 0 ink complete --greedy -n 1000 --overflow slide --json 'Once upon a time'
says 'it is the end token' "$T/out" '"summary":.*"stop":"end"'
run 'ignore-eos' 0 ink complete --greedy -n 1000 --overflow slide --ignore-eos 'Once upon a time'
is 'ignore-eos goes on' "$([ "$(wc -c <"$T/out")" -gt "$(wc -c <"$T/ended")" ] && echo yes)" yes
head -c "$(wc -c <"$T/ended" | tr -d ' ')" "$T/out" >"$T/part"
same 'ignore-eos, the same until then' "$T/part" "$T/ended"
run 'ignore-eos, the reason' 0 ink complete --greedy -n 1000 --overflow slide --ignore-eos --json 'Once upon a time'
says 'ignore-eos ends by its length' "$T/out" '"summary":.*"stop":"length",.*"n_generated":1000,'

# A prompt cut inside a word goes on as the whole one does, word and all.
run 'from inside a word' 0 ink complete --greedy -n 40 'Once upon a ti'
printf 'me' >"$T/want"
head -c 60 "$T/greedy" >>"$T/want"
head -c 62 "$T/out" >"$T/part"
same 'a prompt cut inside a word is healed' "$T/part" "$T/want"
run 'no-heal' 0 ink complete --greedy -n 40 --no-heal 'Once upon a ti'
is 'no-heal is another text' "$(cmp -s "$T/out" "$T/want" || echo yes)" yes

# A listed word that the story wants is neither written nor read.
printf '\r\nLITTLE girl\r\n\nlittle boy\n' >"$T/list"
says 'the story has a listed phrase' "$T/greedy" 'little girl'
run 'filter' 0 ink complete --greedy -n 40 --filter "$T/list" 'Once upon a time'
is 'filter, not written' "$(grep -ciE 'little (girl|boy)' "$T/out" || true)" 0
run 'filter, read' 1 ink complete --greedy --filter "$T/list" 'One little
boy'
says 'filter, the line' "$T/err" 'holds a listed phrase, 10 bytes at byte 4'
run 'filter, no file' 3 ink complete --filter "$T/never" x
: >"$T/empty_list"
run 'filter, empty' 3 ink complete --filter "$T/empty_list" x
says 'filter, empty, the line' "$T/err" 'has no phrases, one a line was expected'
run 'no-repeat-ngram' 0 ink complete --greedy -n 200 --ignore-eos --no-repeat-ngram 2 'Once upon a time'

# The stop text lies across two pieces: the last two characters of one and the first two of the next.
run 'pieces' 0 ink complete --greedy -n 40 --json 'Once upon a time'
awk -F'"text":"' 'NF > 1 { split($2, t, /","/); print t[1] }' "$T/out" | grep -v '\\' >"$T/pieces"
stop=$(awk 'length > 2 && length(last) > 2 && !done { printf "%s%s", substr(last, length(last) - 1), substr($0, 1, 2); done = 1 }
    { last = $0 }' "$T/pieces")
run 'stop text' 0 ink complete --greedy -n 40 --stop 'never there' --stop "$stop" 'Once upon a time'
awk -v stop="$stop" 'BEGIN { RS = "\001" } { at = index($0, stop); printf "%s", substr($0, 1, at - 1) }' "$T/greedy" >"$T/want"
same "stop text \"$stop\" across pieces" "$T/out" "$T/want"
run 'stop reason' 0 ink complete --json --greedy -n 40 --stop "$stop" 'Once upon a time'
says 'stop reason is the string' "$T/out" '"summary":.*"stop":"stop"'

run 'json' 0 ink complete --json --seed 1 -n 8 'Once upon a time'
says 'json, a piece' "$T/out" '^\{"text":".*","token":[0-9]+,"n":[0-9]+,"logprob":-?[0-9.e-]+\}$'
says 'json, the summary' "$T/out" '^\{"summary":\{"stop":"length","n_prompt":[0-9]+,.*"n_generated":8,.*"seed":1,'
is 'json, every line is an object' "$(grep -cv '^{.*}$' "$T/out")" 0
run 'stats' 0 ink complete --stats --seed 77 -n 8 'Once upon a time'
for word in load 'first token' prefill decode 'peak memory' 'seed +77$'; do
    says "stats has $word" "$T/err" "^$word"
done
run 'random seed is told' 0 ink complete --stats -n 12 --temperature 1.2 'Once upon a time'
cp "$T/out" "$T/random"
seed=$(sed -n 's/^seed *//p' "$T/err")
run 'random seed again' 0 ink complete --seed "$seed" -n 12 --temperature 1.2 'Once upon a time'
same 'the seed told gives the same bytes' "$T/out" "$T/random"

# --- levels and threads ----------------------------------------------------------------------
for command in complete tokenize perplexity inspect; do
    argument=x
    [ "$command" != inspect ] || argument=$model
    [ "$command" != perplexity ] || argument=$source_dir/README.md
    run "$command: no such level" 2 env INKLING_CPU=sse9 "$program" $command "$argument"
    says "$command: no such level, the levels are named" "$T/err" \
        '^inkling: INKLING_CPU: there is no level "sse9"; the levels are portable, avx2'
done
# One of these is of another architecture.
other=neon
[ "$(uname -m)" != aarch64 ] || other=avx2
run 'a level that this machine lacks' 2 env INKLING_CPU=$other "$program" complete x
says 'a level that this machine lacks, those it has' "$T/err" "^inkling: INKLING_CPU: this machine has no level $other; it has portable"
run 'the portable level' 0 env INKLING_CPU=portable "$program" complete -n 24 --seed 1 'Once upon a time'
is 'the portable level, something came' "$([ -s "$T/out" ] && echo yes)" yes
run 'an empty level is none' 0 env INKLING_CPU= "$program" complete -n 24 --seed 1 'Once upon a time'
same 'an empty level is none, same bytes' "$T/out" "$T/text"
if [ "$(nproc)" -lt 64 ]; then
    run 'more threads than processors' 0 ink complete --threads 64 -n 24 --seed 1 'Once upon a time'
    same 'more threads than processors, same bytes' "$T/out" "$T/text"
    says 'more threads than processors, that is told' "$T/err" "^inkling: 64 threads were asked for, $(nproc) are used"
else
    left_out 'more threads than processors: there are 64'
fi

# --- context -------------------------------------------------------------------------------
long=$(awk 'BEGIN { for (i = 0; i < 60; i++) printf "Once upon a time there was a cat. " }')
run 'prompt over the context' 6 ink complete --context 32 "$long"
says 'prompt over the context, what helps' "$T/err" 'tokens; the context holds 32 .--overflow left cuts'
run 'context over the model' 6 ink complete --context 1000000 x
says 'context over the model, named as it was typed' "$T/err" '^inkling: --context: '
# Whatever the limit of memory: the text, or one line that says what was lacking.
if [ -z "${INKLING_SANITIZE:-}" ]; then
    seen=
    # In small steps where the program itself just fits: what its libraries take differs.
    for kilobytes in $(seq 6000 400 40000) 60000 90000 140000 400000; do
        # shellcheck disable=SC3045 # dash and bash have it
        limited() { (ulimit -v "$kilobytes" && exec "$program" "$@"); }
        limited --version >/dev/null 2>&1 || continue # not even the C library has room
        limited complete --threads 2 -n 4 --seed 1 'Once upon a time' >"$T/out" 2>"$T/err"
        got=$?
        seen="$seen $got"
        case $got in
        0) ;;
        1 | 5) [ "$(grep -c '^inkling: ' "$T/err")" -ge 1 ] || report 1 "limit of $kilobytes kB" "$(head -c 300 "$T/err")" ;;
        *) report 1 "limit of $kilobytes kB" "exit code $got: $(head -c 300 "$T/err")" ;;
        esac
    done
    says 'some limits are too low, others not' /dev/stdin '(1|5).* 0$' <<END
$seen
END
else
    left_out 'limits of memory: a sanitizer needs address space of its own'
fi
run 'keep over the context' 2 ink complete --context 32 --overflow slide --keep 32 x
says 'keep over the context, named as it was typed' "$T/err" '^inkling: --keep: '
for overflow in left slide; do
    run "overflow $overflow" 0 ink complete --context 32 --overflow $overflow --keep 4 --json --greedy -n 64 "$long"
    says "overflow $overflow, dropped" "$T/out" '"n_dropped":[1-9]'
done
says 'slide goes on over the context' "$T/out" '"stop":"(length|end)"'
run 'context full' 0 ink complete --context 16 --json --greedy -n 64 'Once upon a time'
says 'context full, reason' "$T/out" '"stop":"context"'

# --- bad files -----------------------------------------------------------------------------
run 'missing model' 3 ink complete -m "$T/none.gguf" x
says 'missing model is named' "$T/err" 'none\.gguf'
run 'directory as model' 3 ink complete -m "$T" x
run 'empty model path' 3 ink complete -m '' x
says 'empty model path, the words' "$T/err" 'path of the model is empty'
run 'model without a name' 3 ink complete -m builtin: x
says 'model without a name, the words' "$T/err" '^inkling: builtin:: no built-in model.*"story".* was expected'
# A path as long as this still ends in the name of the file, and the words behind it are whole.
deep=$T/$(printf '%080d' 0)/$(printf '%080d' 1)
mkdir -p "$deep"
head -c 5000 "$model" >"$deep/cut.gguf"
run 'damaged model with a long path' 4 ink complete -m "$deep/cut.gguf" x
says 'damaged model with a long path, the words' "$T/err" '1/cut\.gguf: .* bytes are left'
for command in 'complete x' tokenize\ x inspect serve 'perplexity README.md' bench; do
    # shellcheck disable=SC2086 # words
    set -- $command
    sub=$1
    shift
    run "unknown built-in model, $sub" 3 ink "$sub" -m builtin:nothing "$@"
    says "unknown built-in model, $sub, the names that there are" "$T/err" \
        '^inkling: builtin:nothing: no built-in model has this name, "story".* was expected$'
done
if [ -f "$source_dir/models/poem-zh.gguf" ]; then
    run 'builtin:poem-zh' 0 ink tokenize -m builtin:poem-zh '春江'
    mv "$T/out" "$T/poem"
    run 'builtin:poem-zh is the file' 0 ink tokenize -m "$source_dir/models/poem-zh.gguf" '春江'
    same 'builtin:poem-zh, the same tokens' "$T/out" "$T/poem"
fi
: >"$T/empty.gguf"
run 'empty model' 3 ink complete -m "$T/empty.gguf" x
mv "$T/err" "$T/empty_err"
bytes=$(wc -c <"$model" | tr -d ' ')
for cut in 3 4 20 100 5000 $((bytes / 2)) $((bytes - 1)); do
    head -c "$cut" "$model" >"$T/cut.gguf"
    run "model cut at $cut" 4 ink complete -m "$T/cut.gguf" x
done
printf 'XXXX' | cat - "$model" >"$T/magic.gguf"
for command in complete tokenize perplexity; do
    run "$command: no model" 4 ink $command -m "$T/magic.gguf" "$source_dir/LICENSE"
    says "$command: no model is named" "$T/err" 'magic\.gguf.*GGUF'
done
run 'inspect: no model' 4 ink inspect "$T/magic.gguf"
run 'name with a line break and an escape' 3 ink complete -m "$(printf 'a\nb\033[31m')" x
is 'they do not reach the terminal' "$(LC_ALL=C tr -d '\12\40-\176\200-\377' <"$T/err" | wc -c | tr -d ' ')" 0
if [ "$(id -u)" != 0 ]; then
    cp "$model" "$T/secret.gguf"
    chmod 0 "$T/secret.gguf"
    run 'no permission' 3 ink complete -m "$T/secret.gguf" x
else
    left_out 'files without permission (root reads them)'
fi
if [ -w /dev/full ]; then
    full() { "$program" "$@" >/dev/full; }
    for command in '--help' 'complete -n 4 --seed 1 --ignore-eos x' 'tokenize x' 'inspect'; do
        # shellcheck disable=SC2086 # words
        run "full disk: $command" 3 full $command
        says "full disk: $command, the words" "$T/err" 'standard output.*[Nn]o space'
    done
fi
closed() { "$program" "$@" >&-; }
run 'standard output closed' 3 closed complete -n 4 --seed 1 --ignore-eos x
# Far more than a pipe holds.
{ ink complete --seed 1 --ignore-eos -n 1000000 --overflow slide --context 64 'Once upon a time' 2>"$T/err"
    echo $? >"$T/code"; } | head -c 1 >/dev/null
is 'closed pipe, exit code' "$(cat "$T/code")" 0
is 'closed pipe, silent' "$(wc -c <"$T/err" | tr -d ' ')" 0

# shellcheck source=/dev/null
. "$source_dir/tests/cli/run_complete.sh"
# shellcheck source=/dev/null
. "$source_dir/tests/cli/run_score.sh"

# --- tokenize ------------------------------------------------------------------------------
tab=$(printf '\t')
run 'tokenize' 0 ink tokenize 'Once upon a "time"'
says 'tokenize, a line' "$T/out" "^[0-9]+$tab\".*\"\$"
says 'tokenize, quotes are escaped' "$T/out" "$tab\".*\\\\\""
cut -f1 "$T/out" | ink tokenize --decode - >"$T/back"
printf 'Once upon a "time"' >"$T/want"
same 'tokenize and back' "$T/back" "$T/want"
# shellcheck disable=SC2046 # words
run 'ids as arguments' 0 ink tokenize --decode $(cut -f1 "$T/out" | head -n 2) "$(cut -f1 "$T/out" | tail -n +3 | tr '\n' ',')"
same 'ids as arguments, with commas' "$T/out" "$T/want"
LC_ALL=C awk 'BEGIN { for (i = 1; i < 256; i++) printf "\\%03o", i }' >"$T/octal"
# shellcheck disable=SC2059 # the format is the text
printf "$(cat "$T/octal")\\000\\000end" >"$T/bytes"
ink tokenize - <"$T/bytes" >"$T/out"
cut -f1 "$T/out" | ink tokenize --decode - >"$T/back"
same 'every byte and back' "$T/back" "$T/bytes"
is 'the pieces are UTF-8' "$(iconv -f UTF-8 -t UTF-8 <"$T/out" >/dev/null 2>&1 && echo yes)" yes
is 'no control characters' "$(LC_ALL=C tr -d '\11\12\40-\176\200-\377' <"$T/out" | wc -c | tr -d ' ')" 0
run 'special' 0 ink tokenize --special 'a<|endoftext|>b'
says 'special is one token' "$T/out" "$tab\"<\|endoftext\|>\"\$"
is 'special, three tokens' "$(wc -l <"$T/out" | tr -d ' ')" 3
end=$(grep endoftext "$T/out" | cut -f1)
run 'special off' 0 ink tokenize 'a<|endoftext|>b'
is 'special off, plain text' "$([ "$(wc -l <"$T/out")" -gt 3 ] && echo yes)" yes
run 'decode special' 0 ink tokenize --decode --special "$end"
is 'decode special writes it' "$(cat "$T/out")" '<|endoftext|>'
run 'decode special off' 0 ink tokenize --decode "$end"
is 'decode special off writes nothing' "$(cat "$T/out")" ''
run 'empty text' 0 ink tokenize ''
is 'empty text, no tokens' "$(wc -c <"$T/out" | tr -d ' ')" 0
usage 'two texts' 'one argument too many: "b"' tokenize a b

# --- inspect -------------------------------------------------------------------------------
run 'inspect' 0 ink inspect "$model"
for word in 'architecture +gpt2' 'licence' 'parameters +[0-9]' 'context +[0-9]+ positions' 'metadata, [0-9]+' \
    'tensors, [0-9]+' '  token_embd.weight' 'memory of a session'; do
    says "inspect has $word" "$T/out" "^$word"
done
size=$(sed -n 's/^size .*(\([0-9]*\) bytes).*/\1/p' "$T/out")
is 'inspect, size of the file' "$size" "$bytes"
cp "$T/out" "$T/inspect"
run 'inspect the built-in model' 0 ink inspect
for file in out inspect; do sed '/^file /d; /^memory/,$d' "$T/$file" >"$T/$file.part"; done
same 'the same but for its name' "$T/out.part" "$T/inspect.part"
keys() { sed -n 's/^ *of it keys and values *\([0-9]*\).*/\1/p' "$T/out"; }
run 'inspect --kv-type f32' 0 ink inspect --context 128 --kv-type f32 "$model"
f32=$(keys)
run 'inspect --kv-type f16' 0 ink inspect --context 128 --kv-type f16 "$model"
near() { [ "$1" -gt $((f32 * 49 / 100)) ] && [ "$1" -lt $((f32 * 51 / 100)) ] && echo yes; }
is 'halves take half' "$(near "$(keys)")" yes
run 'inspect --context 64' 0 ink inspect --context 64 --kv-type f32 "$model"
is 'half the context takes half' "$(near "$(keys)")" yes
run 'inspect: context over the model' 6 ink inspect --context 1000000 "$model"
run 'inspect --json' 0 ink inspect --json "$model"
says 'inspect --json is one object' "$T/out" '^\{"file":.*"tensors":\[\{.*"memory":\{.*\}$'
is 'inspect --json is one line' "$(wc -l <"$T/out" | tr -d ' ')" 1
# A tensor's name turned into escape sequences of the same length; and another architecture.
LC_ALL=C sed "s/token_embd\.weight/$(printf '\033')[31m_embd.weigh$(printf '\007')/g" "$model" >"$T/escape.gguf"
ink inspect "$T/escape.gguf" >"$T/out" 2>"$T/err"
is 'inspect shows escapes' "$(LC_ALL=C tr -d '\12\40-\176\200-\377' <"$T/out" | wc -c | tr -d ' ')" 0
is 'and the file has some' "$(grep -c 'x1b' "$T/out" | awk '{ print ($1 > 0) }')" 1
LC_ALL=C sed 's/\(general\.architecture.\{12\}\)gpt2/\1gptx/' "$model" >"$T/other.gguf"
if ink inspect --json "$T/other.gguf" 2>/dev/null | grep -q '"architecture":"gptx"'; then
    run 'inspect another architecture' 0 ink inspect "$T/other.gguf"
    says 'it cannot run' "$T/out" '^Inkling cannot run this model: .*gptx'
    run 'complete with another architecture' 4 ink complete -m "$T/other.gguf" x
else
    report 1 'inspect another architecture' 'the changed file cannot be made'
fi

# --- perplexity ----------------------------------------------------------------------------
printf 'Once upon a time there was a little cat. The cat was happy.' >"$T/story.txt"
run 'perplexity' 0 ink perplexity -m "$model" "$T/story.txt"
for word in 'bytes +59' 'tokens +[0-9]' 'NLL a token +[0-9.]+ nats' 'perplexity +[0-9.]+' 'bits a byte +[0-9.]+'; do
    says "perplexity has $word" "$T/out" "^$word"
done
ink perplexity - <"$T/story.txt" >"$T/stdin"
same 'from standard input' "$T/out" "$T/stdin"
tokens=$(ink tokenize "$(cat "$T/story.txt")" | wc -l | tr -d ' ')
for context in 8 7 1 2 64; do
    run "window of $context" 0 ink perplexity --context $context --json "$T/story.txt"
    says "window of $context, each token once" "$T/out" "\"tokens\":$tokens,"
done
: >"$T/nothing.txt"
run 'empty text' 3 ink perplexity "$T/nothing.txt"
says 'empty text, the reason' "$T/err" 'nothing\.txt.*empty'
run 'missing text' 3 ink perplexity "$T/none.txt"
run 'directory as text' 3 ink perplexity "$T"
printf 'caf\351 and \377\n' >"$T/latin.txt"
run 'not UTF-8' 0 ink perplexity "$T/latin.txt"
says 'not UTF-8 is counted' "$T/out" '^not UTF-8 +2 bytes'

# --- convert -------------------------------------------------------------------------------
run 'convert: no directory' 3 ink convert "$T/none" -o "$T/x.gguf"
mkdir "$T/hf"
run 'convert: empty directory' 3 ink convert "$T/hf" -o "$T/x.gguf"
echo '{"model_type": "bert"}' >"$T/hf/config.json"
run 'convert: not a GPT-2' 4 ink convert "$T/hf" -o "$T/x.gguf"
echo '{"model_type": ' >"$T/hf/config.json"
run 'convert: broken JSON' 4 ink convert "$T/hf" -o "$T/x.gguf"
is 'convert leaves nothing behind' "$(find "$T" -name '*x.gguf*' | wc -l | tr -d ' ')" 0
fixture=$source_dir/tests/fixtures/hf-plain
if [ -d "$fixture" ]; then
    for type in f32 f16 bf16 q8_0 q4_0; do
        run "convert --type $type" 0 ink convert "$fixture" -o "$T/$type.gguf" --type $type
        run "inspect $type" 0 ink inspect --json "$T/$type.gguf"
        says "inspect $type, it can run" "$T/out" '"cannot_run":null'
        run "complete with $type" 0 ink complete -m "$T/$type.gguf" --json --greedy -n 4 'a b'
        says "complete with $type, tokens" "$T/out" '"n_generated":'
    done
    run 'convert without --type' 0 ink convert -o "$T/plain.gguf" "$fixture"
    same 'it is q8_0' "$T/plain.gguf" "$T/q8_0.gguf"
    { ink convert -o /dev/stdout "$fixture" 2>"$T/err"; } | cat >"$T/piped.gguf"
    same 'convert through a pipe' "$T/piped.gguf" "$T/q8_0.gguf"
    is 'a pipe has no size, convert' "$(grep -c '^/dev/stdout: ' "$T/err")" 0
    run 'convert with a name and a licence' 0 ink convert --name 'My model' --license CC0-1.0 -o "$T/named.gguf" "$fixture"
    run 'inspect them' 0 ink inspect "$T/named.gguf"
    says 'the name' "$T/out" '^name +My model$'
    says 'the licence' "$T/out" '^licence +CC0-1\.0$'
    run 'convert into a folder that is not there' 3 ink convert "$fixture" -o "$T/none/x.gguf"
    echo old >"$T/x.gguf"
    # Blocks of 512 bytes: the disk is full after a few of them, as far as the program can tell.
    full_disk() { (ulimit -f 8 && exec "$program" "$@"); }
    run 'convert on a full disk' 3 full_disk convert "$fixture" -o "$T/x.gguf"
    is 'what was there stays' "$(cat "$T/x.gguf")" old
    is 'and nothing is left behind' "$(find "$T" -name '*x.gguf*' | wc -l | tr -d ' ')" 1
    cp -R "$fixture" "$T/cut"
    chmod -R u+w "$T/cut"
    head -c 2000 "$fixture/model.safetensors" >"$T/cut/model.safetensors"
    run 'convert a cut checkpoint' 4 ink convert "$T/cut" -o "$T/x.gguf"
    is 'what was there stays then too' "$(cat "$T/x.gguf")" old
    cp "$fixture/model.safetensors" "$T/cut"
    head -n 20 "$fixture/merges.txt" >"$T/cut/merges.txt"
    run 'convert cut merges' 4 ink convert "$T/cut" -o "$T/x.gguf"
    says 'convert cut merges, the words' "$T/err" 'merges\.txt: no merge makes token [0-9]+ ".*" of the vocabulary'
    run 'convert over a file' 0 ink convert "$fixture" -o "$T/x.gguf"
    same 'it is replaced' "$T/x.gguf" "$T/plain.gguf"
    run 'convert to a directory' 0 ink convert "$T/f32.gguf" -o "$T/dir" --to hf
    cp "$fixture/README.md" "$T/dir" # the licence
    run 'and back' 0 ink convert "$T/dir" -o "$T/back.gguf" --type f32 --name "$(basename "$fixture")"
    same 'which is the same file' "$T/back.gguf" "$T/f32.gguf"
    usage 'convert to a directory with a type' 'with --to hf the type is f32 and nothing is named' convert "$T/f32.gguf" -o "$T/dir" --to hf --type q8_0
    run 'convert to a directory in none' 3 ink convert "$T/f32.gguf" -o "$T/none/dir" --to hf
    run 'convert to a directory that is a file' 3 ink convert "$T/f32.gguf" -o "$T/x.gguf" --to hf
    run 'convert a directory to a directory' 3 ink convert "$fixture" -o "$T/dir2" --to hf
    run 'convert a damaged model to a directory' 4 ink convert "$deep/cut.gguf" -o "$T/dir2" --to hf
    is 'no directory of what is no model' "$(find "$T" -name dir2 | wc -l | tr -d ' ')" 0
    run 'convert to a directory on a full disk' 3 full_disk convert "$T/f32.gguf" -o "$T/dir3" --to hf
    is 'no config.json then' "$(find "$T" -path '*dir3/config.json' -o -path '*dir3/.inkling*' | wc -l | tr -d ' ')" 0
else
    left_out 'convert of a real directory (tests/fixtures/hf-plain is not there)'
fi

# --- quantize ------------------------------------------------------------------------------
usage 'quantize: nothing' 'quantize: IN.gguf, OUT.gguf or TYPE is missing' quantize
usage 'quantize: no type' 'quantize: IN.gguf, OUT.gguf or TYPE is missing' quantize "$model" "$T/q.gguf"
usage 'quantize: another type' 'type "q3_k" is none of q8_0, q4_0, q4_k, q6_k, mixed' quantize "$model" "$T/q.gguf" q3_k
usage 'quantize: one argument too many' 'one argument too many' quantize "$model" "$T/q.gguf" q8_0 x
run 'quantize: no file' 3 ink quantize "$T/none.gguf" "$T/q.gguf" q8_0
says 'quantize: no file, named as it was typed' "$T/err" "^inkling: $T/none\.gguf: cannot be opened"
run 'quantize: an empty file' 3 ink quantize "$T/empty.gguf" "$T/q.gguf" q8_0
same 'quantize: an empty file, the words of complete' "$T/err" "$T/empty_err"
run 'quantize: a cut file' 4 ink quantize "$T/cut.gguf" "$T/q.gguf" q8_0
says 'quantize: a cut file, named as it was typed' "$T/err" "^inkling: $T/cut\.gguf: "
run 'quantize: a cut file with a long path' 4 ink quantize "$deep/cut.gguf" "$T/q.gguf" q8_0
says 'quantize: a cut file with a long path, the words' "$T/err" '1/cut\.gguf: .* bytes are left'
run 'quantize: another architecture' 4 ink quantize "$T/other.gguf" "$T/q.gguf" q8_0
says 'quantize: another architecture, the file is named' "$T/err" "^inkling: $T/other\.gguf: general\.architecture: "
printf 'GGUF' >"$T/short.gguf"
run 'quantize: no model' 4 ink quantize "$T/short.gguf" "$T/q.gguf" q8_0
run 'quantize: a directory' 3 ink quantize "$T" "$T/q.gguf" q8_0
cp "$model" "$T/own.gguf"
run 'quantize onto itself' 2 ink quantize "$T/own.gguf" "$T/../$(basename "$T")/own.gguf" q4_0
same 'it stays' "$T/own.gguf" "$model"
is 'quantize leaves nothing behind' "$(find "$T" -name '*q.gguf*' -o -name '.inkling*' | wc -l | tr -d ' ')" 0
if [ -f "$T/f32.gguf" ]; then
    for type in q8_0 q4_0 q4_k q6_k mixed; do
        run "quantize to $type" 0 ink quantize "$T/f32.gguf" "$T/q_$type.gguf" $type
        says "$type: the table" "$T/out" '^ffn_down\.weight +F32 > [A-Z0-9_]+ .* [0-9.]+ %$'
        says "$type: what stays" "$T/out" '^others +as they are'
        says "$type: the sum" "$T/out" '^all +[0-9]+ '
        says "$type: the size" "$T/err" "q_$type\.gguf: [0-9.]+ kB, it was [0-9.]+ kB"
        run "$type runs" 0 ink complete -m "$T/q_$type.gguf" -n 4 --greedy Once
    done
    run 'quantize with one thread, letters in any case' 0 ink quantize --threads 1 "$T/f32.gguf" "$T/again.gguf" Q4_K
    same 'the same bytes' "$T/again.gguf" "$T/q_q4_k.gguf"
    says 'rows that do not fit are named' "$T/err" 'attn_qkv\.weight: rows of [0-9]+ do not fit Q5_K .*, written as Q5_1'
    run 'quantize what was quantised' 0 ink quantize "$T/q_q8_0.gguf" "$T/again.gguf" q4_0
    says 'it warns' "$T/err" '^warning: [0-9]+ tensors are quantised already \(Q8_0\)'
    "$program" quantize "$T/f32.gguf" /dev/stdout q4_k >"$T/piped.gguf" 2>/dev/null
    same 'through standard output, without the table' "$T/piped.gguf" "$T/q_q4_k.gguf"
    { ink quantize "$T/f32.gguf" /dev/stdout q8_0 2>"$T/err"; } | cat >"$T/piped.gguf"
    same 'quantize through a pipe' "$T/piped.gguf" "$T/q_q8_0.gguf"
    is 'a pipe has no size, quantize' "$(grep -c '^/dev/stdout: ' "$T/err")" 0
    echo old >"$T/again.gguf"
    run 'quantize on a full disk' 3 full_disk quantize "$T/f32.gguf" "$T/again.gguf" q8_0
    is 'what was there stays, quantize' "$(cat "$T/again.gguf")" old
else
    left_out 'quantize of a real model (tests/fixtures/hf-plain is not there)'
fi

# --- the locale does not matter ----------------------------------------------------------------
for locale in de_DE.UTF-8 de_DE.utf8 tr_TR.UTF-8; do
    # ctest makes one and names its folder in LOCPATH, which `locale -a` does not look at.
    if [ "$(LC_ALL=$locale locale decimal_point 2>/dev/null)" = , ]; then
        LC_ALL=$locale ink complete --temperature 0.8 -n 24 --seed 1 'Once upon a time' >"$T/out"
        same "locale $locale, same bytes" "$T/out" "$T/text"
        break
    fi
    locale=
done
[ -n "$locale" ] || left_out 'another locale (none is installed)'

echo "1..$number"
echo "$failed of $number failed"
[ "$failed" = 0 ]
