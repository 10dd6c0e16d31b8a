# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154,SC3044 # run.sh reads this and has what is not set here
# `inkling score`: a text token by token, endings, colours. The numbers are looked at in
# test_score_command.c.

text='Once upon a time there was a cat.'
run 'score' 0 ink score "$text"
cp "$T/out" "$T/scored"
is 'score, a line a token' "$(grep -cE '^ +[0-9]+ +-[0-9.]+ +[0-9.]+ % +[0-9>]+  "' "$T/out")" "$(ink tokenize "$text" | wc -l | tr -d ' ')"
is 'score, the tokens' "$(sed -n 's/^.*%  *[0-9>]*  "\(.*\)"$/\1/p' "$T/out" | tr -d '\n')" "$text"
for word in 'tokens +9' 'logprob +-[0-9.]+' 'a token +-[0-9.]+' 'perplexity +[0-9.]+' 'bits a byte +[0-9.]+'; do
    says "score has $word" "$T/out" "^$word\$"
done
is 'score, no colours in a pipe' "$(grep -c "$(printf '\033')" "$T/out")" 0
printf '%s' "$text" | ink score - >"$T/out"
same 'score, from standard input' "$T/out" "$T/scored"
run 'score, one thread' 0 ink score --threads 1 "$text"
same 'score, one thread, the same' "$T/out" "$T/scored"
run 'score --top' 0 ink score --top 3 "$text"
is 'score --top, three a line' "$(awk '/^ +[0-9]+ +-/ { if (gsub(/[0-9] %/, "") == 4) n++ } END { print n + 0 }' "$T/out")" 9
run 'score --json' 0 ink score --json --top 2 "$text"
is 'score --json, a line a token' "$(grep -cE '^\{"token":[0-9]+,"text":".*","logprob":-[0-9.e-]+,"top":\[\{.*\},\{.*\}\],"probability":[0-9.e-]+,"rank":([0-9]+|null)\}$' "$T/out")" 9
says 'score --json, the summary' "$T/out" '^\{"summary":\{"bytes":33,"n_tokens":9,"logprob":-.*,"perplexity":.*,"bits_per_byte":'
run 'score --color always' 0 ink score --color always "$text"
says 'score, colours' "$T/out" "$(printf '\033')\[38;5;16;48;5;[0-9]+m"
says 'score, what they mean' "$T/out" 'probability of each token, at least: '
sed "s/$(printf '\033')\[[0-9;]*m//g" "$T/out" | sed -n "/^$text\$/p" >"$T/part"
is 'score, the text once more' "$(cat "$T/part")" "$text"
run 'score --color always, NO_COLOR is for auto' 0 env NO_COLOR=1 "$program" score --color always "$text"
says 'score, colours that were asked for' "$T/out" "$(printf '\033')\[38"
run 'score, control characters' 0 ink score --color always "$(printf 'a\033[31mb\tc\nd\302\205e')"
sed "s/$(printf '\033')\[\(38;5;16;48;5;[0-9]*\|0\|2\)m//g" "$T/out" >"$T/part"
is 'score, none of them is printed' "$(LC_ALL=C tr -d '\11\12\40-\176\200-\377' <"$T/part" | wc -c | tr -d ' ')" 0
says 'score, they are shown' "$T/part" '\\x1b\[31mb'

run 'score --before' 0 ink score --before 'Once upon a time' ' there was'
is 'score --before, two tokens' "$(grep -cE '^ +[0-9]+ +-' "$T/out")" 2
run 'score --before, coloured' 0 ink score --color always --before 'Once upon a time' ' there was'
says 'score --before, what stands before is faint' "$T/out" "^$(printf '\033')\[2mOnce upon a time$(printf '\033')\[0m"
printf 'Once upon a time' | ink score --before - ' there was' >"$T/part"
run 'score --before, in a pipe' 0 ink score --before 'Once upon a time' ' there was'
same 'score --before -, the same' "$T/part" "$T/out"
run 'score, endings' 0 ink score --before "$text The cat was" --ending ' quantum' --ending ' happy' --ending ' sad'
is 'score, endings, sorted' "$(sed -n 's/.*  "\(.*\)"$/\1/p' "$T/out" | tail -n 1)" ' quantum'
is 'score, endings, three' "$(grep -cE '^ +[0-9.]+ % +-[0-9.]+ +-[0-9.]+ +[0-9]+  "' "$T/out")" 3
is 'score, endings, shares' "$(awk '/%/ { sum += $1 } END { print (sum > 99.99 && sum < 100.01) }' "$T/out")" 1
run 'score, endings, json' 0 ink score --json --before "$text The cat was" --ending ' quantum' --ending ' happy'
says 'score, endings, json' "$T/out" '^\{"ending":" happy","index":1,"n_tokens":[0-9]+,"logprob":-.*"share":.*"tokens":\[\{"token":'
says 'score, endings, json, the best' "$T/out" '^\{"summary":\{"n_endings":2,"best":1\}\}$'
run 'score, endings, colours' 0 ink score --color always --ending a --ending 'b
c'
sed "s/$(printf '\033')\[[0-9;]*m//g" "$T/out" >"$T/part"
says 'score, endings, a line each' "$T/part" 'b↵c'
# A file has the endings of the command line, and those come first where both are there.
run 'score, endings, json' 0 ink score --json --before "$text The cat was" --ending ' quantum' --ending ' happy' --ending ' sad'
cp "$T/out" "$T/want"
printf ' quantum\n happy\n sad' >"$T/endings"
run 'score, endings of a file' 0 ink score --json --before "$text The cat was" --endings "$T/endings"
same 'score, endings of a file, the same' "$T/out" "$T/want"
printf ' quantum\r\n\n happy\r\n sad\r\n\n' | ink score --json --before "$text The cat was" --endings - >"$T/part"
same 'score, endings of standard input, other line ends' "$T/part" "$T/want"
printf ' sad\n' >"$T/endings"
run 'score, endings of both' 0 ink score --json --before "$text The cat was" --endings "$T/endings" --ending ' quantum' --ending ' happy'
same 'score, endings of both, the same' "$T/out" "$T/want"
printf -- '-\n' | ink score --json --endings - >"$T/part"
says 'score, an ending that is a dash' "$T/part" '^\{"ending":"-","index":0,'
run 'score --context, the older name' 0 ink score --json --context "$text The cat was" --ending ' quantum' --ending ' happy' --ending ' sad'
same 'score --context, the older name, the same' "$T/out" "$T/want"
is 'score --help has one name' "$(grep -c -e '--context' "$T/help_score")" 0
if [ -f "$source_dir/models/poem-zh.gguf" ]; then
    run 'score, a poem' 0 ink score -m builtin:poem-zh --color always '春江𠀀潮水'
    is 'score, a poem, whole characters' "$(iconv -f UTF-8 -t UTF-8 <"$T/out" >/dev/null 2>&1 && echo yes)" yes
    says 'score, a poem, the text once more' "$T/out" '𠀀'
fi

usage 'score: nothing' 'score: TEXT is missing' score
usage 'score: two texts' 'one argument too many' score a b
usage 'score: a text and endings' 'TEXT does not go with --ending' score --ending a b
usage 'score: empty' 'TEXT is empty, there is nothing to score' score ''
usage 'score: an empty ending' '--ending needs a text' score --ending a --ending ''
usage 'score: twice standard input' 'only one of TEXT and --before can be standard input' score --before - -
usage 'score: not UTF-8' 'the text is not UTF-8 at byte 3' score "$(printf 'caf\351')"
usage 'score: before not UTF-8' 'what stands before is not UTF-8 at byte 0' score --before "$(printf '\377')" a
usage 'score: color' '--color "green" is none of auto, always, never' score --color green a
usage 'score: top' '--top 65 is out of range, 0 to 64' score --top 65 a
usage 'score: a number of positions' '--context 512 is no number of positions here; .*--before' score --context 512 a
usage 'score: both names' '--context is the older name of --before' score --context a --before a b
usage 'score: a dash is no ending' '--endings - reads them from standard input' score --ending -
usage 'score: a text and a file' 'TEXT does not go with --endings' score --endings "$T/endings" b
usage 'score: a file without a name' '--endings needs the name of a file, or -' score --endings ''
usage 'score: standard input for both' 'only one of --endings and --before can be standard input' score --before - --endings -
run 'score: no endings' 3 ink score --endings -
says 'score: no endings, the words' "$T/err" 'standard input: has no endings, one a line was expected'
run 'score: no such file' 3 ink score --endings "$T/none"
run 'score: a folder of endings' 3 ink score --endings "$T"
printf 'a\n\nb\0c\n' >"$T/endings"
run 'score: a zero byte' 3 ink score --endings "$T/endings"
says 'score: a zero byte, the line' "$T/err" "$T/endings: line 3 holds a zero byte"
printf 'a\n\351\n' >"$T/endings"
usage 'score: an ending not UTF-8' 'ending 2 is not UTF-8 at byte 0' score --endings "$T/endings"
run 'score: empty standard input' 3 ink score -
says 'score: empty standard input, the words' "$T/err" 'standard input: is empty, there is nothing to score'
run 'score: no model' 3 ink score -m "$T/none.gguf" a
run 'score: too long' 6 ink score "$long"
n=$(($(ink tokenize "$long" | wc -l) + 1))
says 'score: too long, by how much' "$T/err" "the text has $n tokens, the context holds [0-9]+: [0-9]+ too many"
run 'score: too long with its context' 6 ink score --before "$long" a
says 'score: too long with its context, the words' "$T/err" 'with what stands before it, the context holds'
