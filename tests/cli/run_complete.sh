# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC3044 # run.sh reads this and has what is not set here
# `inkling complete`: samplers, grammars, search, drafts, probabilities, saved sessions.

for option in --json-schema --grammar --grammar-file --require --ban --logprobs --logit-bias --presence-penalty --frequency-penalty \
    --repeat-last-n --dry-multiplier --dry-base --dry-allowed-length --dry-penalty-last-n --dry-sequence-breaker --top-n-sigma --typical \
    --xtc-probability --xtc-threshold --dynatemp-range --dynatemp-exp --mirostat --mirostat-tau --mirostat-eta --samplers --beams \
    --length-penalty --penalty-alpha --save-session --load-session --draft --draft-max; do
    says "complete --help has $option" "$T/help_complete" "^ +(-., )?${option}[ ,]?"
done
is 'what matters comes first' "$(sed -n '/^Options:/,/^$/p' "$T/help_complete" | grep -cE '^  (-.,|   ) --')" 11
says 'the others have headings' "$T/help_complete" '^Samplers, in the order'

# --- samplers ------------------------------------------------------------------------------
once='Once upon a time'
run 'the default chain, told' 0 ink complete -n 24 --seed 1 --stats "$once"
same 'stats change nothing' "$T/out" "$T/text"
chain=$(sed -n 's/^samplers *//p' "$T/err")
says 'it begins with the biases' /dev/stdin '^logit_bias=none;.*;top_k=40;.*;temp=0\.8' <<END
$chain
END
run 'the chain as it was told' 0 ink complete -n 24 --seed 1 --samplers "$chain" "$once"
same 'the same bytes' "$T/out" "$T/text"
run 'the chain as JSON' 0 ink complete -n 24 --seed 1 --json \
    --samplers '["top_k", "top_p", {"min_p": 0.05}, {"temp": [0.8]}]' "$once"
says 'the summary has it as text' "$T/out" '"samplers":"top_k=40;top_p=0.95;min_p=0.05;temp=0.8'
# Each option reaches its number.
while read -r option value printed; do
    run "--$option" 0 ink complete -n 1 --stats "--$option" "$value" "$once"
    says "--$option $value is in the chain" "$T/err" "^samplers .*$printed"
done <<'END'
temperature 0.25 temp=0\.25,0,1
dynatemp-range 0.5 temp=0\.8,0\.5,1
dynatemp-exp 2 temp=0\.8,0,2
top-k 7 top_k=7;
top-p 0.5 top_p=0\.5;
min-p 0.25 min_p=0\.25;
typical 0.5 typical=0\.5;
top-n-sigma 2 top_n_sigma=2;
repeat-penalty 1.5 penalties=1\.5,64,0,0;
repeat-last-n 5 penalties=1,5,0,0;
repeat-last-n -1 penalties=1,4294967295,0,0;
presence-penalty 0.5 penalties=1,64,0\.5,0;
frequency-penalty -0.5 penalties=1,64,0,-0\.5;
xtc-probability 0.5 xtc=0\.5,0\.1;
xtc-threshold 0.25 xtc=0,0\.25;
dry-multiplier 0.5 dry=0\.5,1\.75,2,4294967295
dry-base 2 dry=0,2,2,4294967295
dry-allowed-length 3 dry=0,1\.75,3,4294967295
dry-penalty-last-n 9 dry=0,1\.75,2,9
logit-bias 11:-2.5 logit_bias=11:-2\.5;
logit-bias 11+2.5 logit_bias=11:2\.5;
logit-bias 11-inf logit_bias=11:-inf;
mirostat 2 penalties=1,64,0,0;dry=.*;temp=0\.8,0,1;mirostat=5,0\.1$
END
run '--mirostat-tau and --mirostat-eta' 0 ink complete -n 1 --stats --mirostat 2 --mirostat-tau 3 --mirostat-eta 0.5 "$once"
says 'they are in the chain' "$T/err" 'mirostat=3,0\.5$'
run '--dry-sequence-breaker' 0 ink complete -n 8 --dry-multiplier 1 --dry-sequence-breaker a --dry-sequence-breaker , "$once"
run '--dry-sequence-breaker none' 0 ink complete -n 8 --dry-multiplier 1 --dry-sequence-breaker none "$once"
for wrong in '' "$(printf '%070d' 1)"; do
    run 'a breaker that is none' 2 ink complete --dry-sequence-breaker "$wrong" x
    says 'a breaker that is none, named as it was typed' "$T/err" '^inkling: --dry-sequence-breaker: '
done
run 'a banned token' 0 ink complete --greedy -n 40 --logit-bias "$(ink tokenize , | cut -f1):-inf" "$once"
is 'it is not written' "$(grep -c , "$T/out")" 0
run 'logit-bias of no token' 2 ink complete --logit-bias 999999:1 x
says 'logit-bias, named as it was typed' "$T/err" '^inkling: --logit-bias: '
run 'two biases of a token' 2 ink complete --logit-bias 9:1 --logit-bias 9:2 x
for wrong in 9 9: :1 9:x 9:inf 9:nan 9:0x1 x:1 99999999999:1 '9 :1'; do
    usage "logit-bias $wrong" '--logit-bias needs ID:BIAS' complete --logit-bias "$wrong" x
done
run 'unknown sampler' 2 ink complete --samplers 'top_k=40;blah' x
says 'unknown sampler, the column' "$T/err" '^inkling: --samplers: column 10: unknown name "blah"'
run 'sampler twice' 2 ink complete --samplers 'top_k=40;top_k' x
run 'samplers, broken JSON' 2 ink complete --samplers '{"top_k": 40' x
says 'samplers, broken JSON, the column' "$T/err" '^inkling: --samplers: .*column 13'
usage 'samplers, empty' '--samplers needs a text' complete --samplers '' x
usage 'mirostat 1' '--mirostat "1" is none of 0, 2' complete --mirostat 1 x
usage 'an option whose step is not there' '--dry-multiplier does nothing: the chain has no step dry' \
    complete --samplers 'top_k;temp' --dry-multiplier 1 x
usage 'mirostat takes the place of top-p' '--top-p does nothing' complete --mirostat 2 --top-p 0.5 x
usage 'mirostat-tau without mirostat' '--mirostat-tau does nothing' complete --mirostat-tau 3 x
usage 'a large penalty' '--presence-penalty 101 is out of range, -100 to 100' complete --presence-penalty 101 x
usage 'minus two is no count' '--repeat-last-n -2 is out of range' complete --repeat-last-n -2 x
usage 'minus one is not always all' '--top-k -1 is out of range' complete --top-k -1 x

# --- what does not go together ----------------------------------------------------------------
printf 'x' >"$T/word"
value_of() { # a value that is right by itself
    case $1 in
    temperature | top-p | min-p | typical | xtc-* | dynatemp-* | penalty-alpha | mirostat-eta) echo 0.5 ;;
    greedy | no-heal | echo | json) ;;
    samplers) echo temp ;;
    mirostat | top-k | beams) echo 2 ;;
    draft) echo ngram ;;
    overflow) echo left ;;
    kv-type) echo f32 ;;
    logit-bias) echo 1:1 ;;
    dry-sequence-breaker | json-schema | grammar | require | ban) echo '{}a' ;;
    grammar-file | filter | load-session | save-session) echo "$T/word" ;;
    *) echo 1 ;;
    esac
}
excludes() { # excludes OPTION OTHERS
    first=$1
    shift
    for other in "$@"; do
        # shellcheck disable=SC2046 # words
        usage "--$first and --$other" "--$other does not go with --$first" complete "--$first" $(value_of "$first") \
            "--$other" $(value_of "$other") x
    done
}
chance='temperature greedy seed top-p min-p typical top-n-sigma repeat-penalty presence-penalty frequency-penalty repeat-last-n
    dynatemp-range dynatemp-exp xtc-probability xtc-threshold dry-multiplier dry-base dry-allowed-length dry-penalty-last-n
    dry-sequence-breaker logit-bias mirostat mirostat-tau mirostat-eta samplers'
rules='json-schema grammar grammar-file require ban filter no-repeat-ngram no-heal logprobs save-session load-session overflow keep draft'
# shellcheck disable=SC2046,SC2086 # words
{
    excludes beams penalty-alpha top-k $chance $rules
    excludes penalty-alpha $chance $rules
    excludes echo json
    excludes json-schema grammar grammar-file
    excludes require json-schema grammar grammar-file
    excludes grammar grammar-file
    excludes samplers greedy mirostat
    excludes mirostat greedy
}
usage 'a grammar and a context that slides' '--json-schema does not go with --overflow slide' complete --json-schema '{}' --overflow slide x
usage 'length-penalty alone' '--length-penalty needs --beams' complete --length-penalty 1 x
usage 'draft-max alone' '--draft-max needs --draft' complete --draft-max 4 x
usage 'penalty-alpha with top-k 1' '--top-k must be 2 to 64, not 1' complete --penalty-alpha 0.5 --top-k 1 x
usage 'too many beams' '--beams 65 is out of range, 1 to 64' complete --beams 65 x

# --- search --------------------------------------------------------------------------------
run 'one beam' 0 ink complete --beams 1 -n 24 "$once"
cp "$T/out" "$T/beam"
run 'greedy, not healed' 0 ink complete --greedy --no-heal -n 24 "$once"
same 'one beam is greedy' "$T/out" "$T/beam"
run 'four beams' 0 ink complete --beams 4 -n 16 --stats "$once"
cp "$T/out" "$T/beam"
is 'four beams, stats has them all' "$(grep -cE '^ *-[0-9.]+ +-[0-9.]+ +[0-9]+  "' "$T/err")" 4
says 'four beams, the best is the text' "$T/err" "\"$(cat "$T/beam")\"\$"
is 'four beams, no seed' "$(grep -c '^seed' "$T/err")" 0
run 'four beams, json' 0 ink complete --beams 4 -n 16 --json "$once"
is 'four beams, json has them all' "$(grep -c '^{"found":{"index":[0-3],"text":"' "$T/out")" 4
is 'four beams, json, the scores fall' "$(sed -n 's/.*"score":\(-[0-9.]*\).*/\1/p' "$T/out" | sort -g -r -c && echo yes)" yes
is 'four beams, json, no seed' "$(grep -c '"seed"' "$T/out")" 0
run 'contrastive' 0 ink complete --penalty-alpha 0.6 --top-k 4 -n 16 "$once"
cp "$T/out" "$T/contrastive"
run 'contrastive, four by default' 0 ink complete --penalty-alpha 0.6 -n 16 "$once"
same 'contrastive, the same' "$T/out" "$T/contrastive"
run 'search, stop' 0 ink complete --beams 3 --stop ' was' -n 16 --json "$once"
says 'search, the reason' "$T/out" '"summary":\{"stop":"stop"'
run 'search over the context' 6 ink complete --context 32 --beams 2 "$long"

# --- words ---------------------------------------------------------------------------------
run 'require' 0 ink complete -n 40 --seed 3 --require dragon --require 'purple house' "$once"
says 'require, one word' "$T/out" 'dragon'
says 'require, two words' "$T/out" 'purple house'
usage 'require, empty' '--require needs a text' complete --require '' x
usage 'require, not UTF-8' '--require: ".*" is not UTF-8 at byte 1' complete --require "$(printf 'a\351')" x
usage 'require without a letter' 'complete: --require: "\.\.\." has no letter or digit' complete --require ok --require '...' x
run 'require, more than there is room for' 2 ink complete -n 2 --require 'a purple house' x
says 'require, more than there is room for, the words' "$T/err" '^inkling: --require: take more tokens .[0-9]+. than .* have .2.$'
usage 'require, long' '--require: .* is longer than 256 bytes' complete --require "$(printf '%0300d' 1)" x
run 'ban' 0 ink complete --greedy -n 40 --ban 'LITTLE girl' --ban 'little boy' "$once"
cp "$T/out" "$T/banned"
run 'ban, as a list' 0 ink complete --greedy -n 40 --filter "$T/list" "$once"
same 'ban is the filter' "$T/out" "$T/banned"
run 'ban and list' 0 ink complete --greedy -n 40 --filter "$T/list" --ban was "$once"
is 'ban and list, both' "$(grep -cE 'little (girl|boy)|was' "$T/out")" 0
run 'ban, read' 1 ink complete --ban once "$once"
usage 'ban, empty' '--ban needs a text' complete --ban '' x
usage 'ban without a letter' '^inkling: complete: --ban: "\.\.\." has no letter or digit' complete --ban ok --ban '...' x

# --- probabilities -------------------------------------------------------------------------
run 'logprobs' 0 ink complete -n 6 --seed 1 --logprobs 2 "$once"
cp "$T/err" "$T/lines"
run 'no logprobs' 0 ink complete -n 6 --seed 1 "$once"
mv "$T/out" "$T/want"
run 'logprobs 0' 0 ink complete -n 6 --seed 1 --logprobs 0 "$once"
same 'logprobs change nothing' "$T/out" "$T/want"
is 'logprobs, a line a token' "$(grep -cE '^ +[0-9]+ +-[0-9.]+ +[0-9.]+ % +[0-9>]+  ".*"  +".*" [0-9.]+ %, ".*" [0-9.]+ %$' "$T/lines")" 6
is 'logprobs 0, a line a token' "$(grep -cE '^ +[0-9]+ +-[0-9.]+ +[0-9.]+ %  ".*"$' "$T/err")" 6
run 'logprobs, json' 0 ink complete -n 6 --seed 1 --logprobs 2 --json "$once"
is 'logprobs, json' "$(grep -cE '"choices":\[\{"token":[0-9]+,"text":".*","logprob":-[0-9.e-]+,"top":\[\{"token":[0-9]+,"text":".*","logprob":-[0-9.e-]+\},\{' "$T/out")" 6
run 'logprobs 0, json' 0 ink complete -n 2 --seed 1 --logprobs 0 --json "$once"
says 'logprobs 0, json, an empty list' "$T/out" '"top":\[\]'
usage 'logprobs 65' '--logprobs 65 is out of range, 0 to 64' complete --logprobs 65 x

# --- drafts --------------------------------------------------------------------------------
table='a: 1. b: 2. c: 3. a: 1. b: 2. c: 3. a: 1. b: 2. c:'
for draft in ngram builtin:story; do
    for how in '--greedy' '--seed 4' '--seed 5 --temperature 1.5'; do
        # shellcheck disable=SC2086 # words
        run "no draft, $how" 0 ink complete $how -n 40 "$table"
        cp "$T/out" "$T/want"
        # shellcheck disable=SC2086 # words
        run "draft $draft, $how" 0 ink complete $how -n 40 --draft $draft --stats "$table"
        same "draft $draft, $how, same bytes" "$T/out" "$T/want"
        says "draft $draft, $how, told" "$T/err" '^drafted +[0-9]+ tokens, [0-9]+ accepted \('
    done
done
run 'draft, json' 0 ink complete --draft ngram --draft-max 4 -n 8 --json "$table"
says 'draft, json, told' "$T/out" '"n_drafted":[0-9]+,"n_accepted":[0-9]+'
run 'draft, no file' 3 ink complete --draft "$T/none.gguf" x
run 'draft, a word that is none' 3 ink complete --draft ngrams x
says 'draft, a word that is none, what is expected' "$T/err" '^inkling: ngrams: .*a model, or the word ngram'
for n in 1 2 8 16; do
    run "draft, a context of $n" 0 ink complete --draft ngram --context $n -n 20 ''
done
run 'draft-max over the context' 6 ink complete --draft ngram --draft-max 8 --context 8 x
if [ -f "$source_dir/models/poem-zh.gguf" ]; then
    run 'draft of another vocabulary' 2 ink complete --draft builtin:poem-zh x
    says 'draft of another vocabulary, the words' "$T/err" '^inkling: --draft: '
fi

# --- grammars ------------------------------------------------------------------------------
run 'grammar' 0 ink complete --seed 2 -n 40 --grammar 'root ::= " " ("cat" | "dog") " " [0-9]{3} "."' "$once"
says 'grammar, the text' "$T/out" '^ (cat|dog) [0-9]{3}\.$'
cp "$T/out" "$T/want"
printf '# a comment\nroot ::= " " ("cat" | "dog") " " [0-9]{3} "."\n' >"$T/rules.gbnf"
run 'grammar-file' 0 ink complete --seed 2 -n 40 --grammar-file "$T/rules.gbnf" "$once"
same 'grammar-file, the same' "$T/out" "$T/want"
schema='{"type": "object", "properties": {"name": {"enum": ["Tim", "Lily"]}, "age": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["name", "age"], "additionalProperties": false}'
run 'json-schema' 0 ink complete --seed 2 -n 80 --json-schema "$schema" 'As JSON: '
says 'json-schema, the text' "$T/out" '^\{ ?"name": ?"(Tim|Lily)", ?"age": ?[1-9] ?\}$'
cp "$T/out" "$T/want"
printf '\n%s' "$schema" >"$T/schema.json"
run 'json-schema, a file' 0 ink complete --seed 2 -n 80 --json-schema "$T/schema.json" 'As JSON: '
same 'json-schema, a file, the same' "$T/out" "$T/want"
run 'grammar, the reason' 0 ink complete --seed 2 -n 80 --json --json-schema "$schema" 'As JSON: '
says 'grammar, it ends' "$T/out" '"summary":\{"stop":"end"'
head -c 20000000 /dev/zero | tr '\0' a >"$T/long"
printf '{"const": "caf\351"}' >"$T/latin"
run 'grammar, wrong' 2 ink complete --grammar 'root ::= "a' x
says 'grammar, wrong, the place' "$T/err" '^inkling: --grammar: .*line 1, column [0-9]+'
run 'grammar-file, wrong' 3 ink complete --grammar-file "$T/word" x
says 'grammar-file, wrong, the file' "$T/err" "^inkling: $T/word: .*line 1, column"
run 'grammar, left-recursive' 2 ink complete --grammar 'root ::= root "a" | "a"' x
run 'json-schema, a keyword' 2 ink complete --json-schema '{"unevaluatedItems": false}' x
says 'json-schema, a keyword, named' "$T/err" 'unevaluatedItems'
run 'json-schema, no JSON' 2 ink complete --json-schema '{"type": ' x
run 'json-schema, no file' 3 ink complete --json-schema "$T/none.json" x
says 'json-schema, no file, what is expected' "$T/err" "^inkling: $T/none.json: .*a file, or a schema, which begins with \{"
run 'json-schema, no file and no schema' 3 ink complete --json-schema '["a"]' x
says 'json-schema, no schema, what is expected' "$T/err" 'a schema, which begins with \{'
printf '%s' "$schema" | ink complete --seed 2 -n 80 --json-schema - 'As JSON: ' >"$T/out"
same 'json-schema, standard input, the same' "$T/out" "$T/want"
run 'grammar-file, a file again' 0 ink complete --seed 2 -n 40 --grammar-file "$T/rules.gbnf" "$once"
cp "$T/out" "$T/part"
ink complete --seed 2 -n 40 --grammar-file - "$once" <"$T/rules.gbnf" >"$T/out"
same 'grammar-file, standard input, the same' "$T/out" "$T/part"
for option in --json-schema --grammar-file; do
    run "$option, nothing" 3 ink complete $option - x
    says "$option, nothing, whose" "$T/err" '^inkling: standard input: line 1, column 1: '
    run "$option, a folder" 3 ink complete $option "$T" x
    says "$option, a folder, the words" "$T/err" "^inkling: $T: cannot read: "
    run "$option, long" 3 ink complete $option "$T/long" x
    says "$option, long, the words" "$T/err" "^inkling: $T/long: the (schema|grammar) is longer than 1048576 bytes\$"
    run "$option, not UTF-8" 3 ink complete $option "$T/latin" x
    says "$option, not UTF-8, the place" "$T/err" "^inkling: $T/latin: line 1, column [0-9]+: .*not UTF-8"
    usage "$option and PROMPT, standard input" "only one of PROMPT and $option can be standard input" complete $option - -
    usage "$option and --filter, standard input" "only one of $option and --filter can be standard input" complete $option - --filter - x
done
for option in --save-session --load-session --draft --model; do
    usage "$option -" "$option needs the name of a file, not -" complete $option - x
done
printf 'a novel' >"$T/novel"
run 'a file of another kind' 3 ink complete -n 2 --save-session "$T/novel" x
says 'a file of another kind, the words' "$T/err" "^inkling: $T/novel: is there and no saved session, it is not written over\$"
is 'a file of another kind, is there still' "$(cat "$T/novel")" 'a novel'
: >"$T/novel"
run 'an empty file' 0 ink complete -n 2 --save-session "$T/novel" x
run 'an older session' 0 ink complete -n 2 --save-session "$T/novel" x
ln -s "$T/novel" "$T/link"
run 'a link to an older session' 0 ink complete -n 2 --save-session "$T/link" x
is 'a link, still' "$(test -L "$T/link" && echo yes)" yes
mkfifo "$T/pipe"
run 'a pipe that nobody reads' 3 timeout -s KILL 600 "$program" complete -n 2 --save-session "$T/pipe" x
says 'a pipe, the words' "$T/err" "^inkling: $T/pipe: is a pipe, a file to save to was expected\$"
run 'a device' 0 ink complete -n 2 --save-session /dev/null x
is 'a device, still' "$(test -c /dev/null && echo yes)" yes
run 'a grammar for a saved text' 0 ink complete -n 2 --seed 1 --save-session "$T/s.ink" "$once"
run 'a grammar for a saved text, another' 2 ink complete -n 2 --load-session "$T/s.ink" --grammar-file "$T/rules.gbnf"
says 'a grammar for a saved text, what to do' "$T/err" "^inkling: $T/s.ink: the saved text is not .* this grammar; a PROMPT begins a new one"
run 'a grammar for a saved text, with more text' 0 ink complete -n 40 --load-session "$T/s.ink" --grammar-file "$T/rules.gbnf" ' It is a'
says 'a grammar for a saved text, with more text, the text' "$T/out" '^ (cat|dog) [0-9]{3}\.$'
usage 'json-schema, empty' '--json-schema needs a text' complete --json-schema '' x

# --- saved sessions --------------------------------------------------------------------------
# goes_on NAME BEFORE AFTER ARGUMENT...: 40 tokens are BEFORE and AFTER, with the same options.
goes_on() {
    name=$1
    before=$2
    after=$3
    shift 3
    run "$name, whole" 0 ink complete -n $((before + after)) "$@"
    mv "$T/out" "$T/want"
    run "$name, saved" 0 ink complete -n "$before" --save-session "$T/s.ink" "$@"
    mv "$T/out" "$T/parts"
    # shellcheck disable=SC2086 # words
    run "$name, loaded" 0 ink complete -n "$after" --load-session "$T/s.ink" ${again:-}
    cat "$T/out" >>"$T/parts"
    same "$name, the very next byte" "$T/parts" "$T/want"
}
again=
goes_on 'a story' 20 20 --seed 7 "$once"
goes_on 'a story, other samplers' 11 29 --seed 7 --temperature 1.3 --top-k 0 --dry-multiplier 0.8 --xtc-probability 0.5 "$once"
goes_on 'a story with a listed word' 3 37 --greedy --ban 'little girl' --ban 'little boy' "$once"
again='--ignore-eos --no-repeat-ngram 3'
goes_on 'a story that must go on' 30 70 --seed 7 --ignore-eos --no-repeat-ngram 3 "$once"
again="--grammar-file $T/rules.gbnf"
goes_on 'a grammar' 2 20 --seed 2 --grammar-file "$T/rules.gbnf" "$once"
if [ -f "$source_dir/models/poem-zh.gguf" ]; then
    again='-m builtin:poem-zh'
    for cut in 1 2 3 7 20; do
        goes_on "a poem, cut at $cut" $cut $((40 - cut)) -m builtin:poem-zh --seed 7 --temperature 5 --top-k 0 --top-p 1 --min-p 0 '春江潮水'
    done
    run 'another model' 2 ink complete --load-session "$T/s.ink"
    says 'another model, the words' "$T/err" "^inkling: $T/s\.ink: .*another model"
fi
again=
goes_on 'for the errors' 20 20 --seed 7 "$once"
run 'load, stats' 0 ink complete --load-session "$T/s.ink" -n 4 --stats --save-session "$T/t.ink"
says 'load, stats, restored' "$T/err" "^restored +[0-9]+ tokens of $T/s\.ink\$"
says 'load, stats, saved' "$T/err" "^saved +[0-9]+ tokens to $T/t\.ink\$"
says 'load, the seed is the saved one' "$T/err" '^seed +7$'
run 'load, other options' 0 ink complete --load-session "$T/s.ink" -n 4 --stats --top-k 5
says 'load, other options, the chain' "$T/err" '^samplers .*top_k=5;'
says 'load, other options, the saved seed' "$T/err" '^seed +7$'
run 'load, another seed' 0 ink complete --load-session "$T/s.ink" -n 4 --stats --seed 8
says 'load, another seed, told' "$T/err" '^seed +8$'
run 'load, more text' 0 ink complete --load-session "$T/s.ink" --greedy -n 8 --json ' The dragon'
says 'load, more text, read behind the other' "$T/out" '"n_prompt":(2[4-9]|3[0-9]),'
run 'load, no file' 3 ink complete --load-session "$T/none.ink"
run 'load, another kv-type' 2 ink complete --kv-type f32 --load-session "$T/s.ink"
says 'load, another kv-type, the words' "$T/err" 'kv_type f16, not f32'
run 'load, a small context' 6 ink complete --context 16 --load-session "$T/s.ink"
run 'a context that is full' 0 ink complete --context 16 --ignore-eos -n 100 --save-session "$T/full.ink" "$once"
run 'a full context has no room' 6 ink complete --context 16 --load-session "$T/full.ink" -n 4
says 'a full context has no room, what helps' "$T/err" 'holds 16 tokens and is full .--overflow slide goes on'
run 'a full context that slides' 0 ink complete --context 16 --load-session "$T/full.ink" --overflow slide -n 4
is 'a full context that slides, something came' "$([ -s "$T/out" ] && echo yes)" yes
run 'load, no session' 4 ink complete --load-session "$T/word"
bytes_saved=$(wc -c <"$T/s.ink" | tr -d ' ')
: >"$T/nothing.ink"
run 'an empty session' 3 ink complete --load-session "$T/nothing.ink"
for cut in 1 7 100 $((bytes_saved / 2)) $((bytes_saved - 1)); do
    head -c "$cut" "$T/s.ink" >"$T/cut.ink"
    run "session cut at $cut" 4 ink complete --load-session "$T/cut.ink"
done
{ head -c $((bytes_saved / 2)) "$T/s.ink" && printf 'X' && tail -c +$((bytes_saved / 2 + 2)) "$T/s.ink"; } >"$T/cut.ink"
run 'session altered' 4 ink complete --load-session "$T/cut.ink"
run 'save into a folder that is not there' 3 ink complete --save-session "$T/none/s.ink" x
says 'save into a folder that is not there, before any work' "$T/err" 'cannot be saved'
run 'save to a name that is too long' 3 ink complete --save-session "$T/$(printf '%0300d' 1)" x
says 'save to a name that is too long, before any work' "$T/err" 'cannot be saved'
run 'save to a folder' 3 ink complete --save-session "$T" x
usage 'save to nothing' '--save-session needs a text' complete --save-session '' x
cp "$T/s.ink" "$T/old.ink"
full_save() { (ulimit -f 8 && exec "$program" "$@"); }
run 'save on a full disk' 3 full_save complete -n 4 --save-session "$T/s.ink" "$once"
same 'the old session stays' "$T/s.ink" "$T/old.ink"
is 'nothing is left beside it' "$(find "$T" -name '*s.ink*' | wc -l | tr -d ' ')" 1
