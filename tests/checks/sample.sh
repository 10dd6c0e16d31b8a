#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: sample.sh C-COMPILER STATIC-LIBRARY
# The three lines of README.md, taken from there, compiled into a program and run in an empty folder. Its
# other lines are compiled.
set -eu

cc=$1
library=$2
root=${INKLING_SOURCE_DIR:-.}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The same lines stand at the head of the public header.
sed -n 's/^    \(\(ink_\|how\.\)[a-z]*.*;.*\)$/\1/p' "$root/README.md" >"$scratch/all"
head -n 3 "$scratch/all" >"$scratch/lines"
sed -n 's|^//     \(ink_[a-z]*.*;.*\)$|\1|p' "$root/include/inkling/inkling.h" | head -n 3 >"$scratch/header"
if [ "$(wc -l <"$scratch/lines")" != 3 ]; then
    echo "README.md has $(wc -l <"$scratch/lines") lines of sample, expected 3"
    exit 1
fi
diff "$scratch/lines" "$scratch/header"
{
    echo '#include "inkling/inkling.h"'
    echo '#include <string.h>'
    echo 'void hold(ink_model *, const char *, ink_generate_options, ink_session *, ink_save_options, ink_source);'
    echo 'void hold(ink_model *model, const char *schema, ink_generate_options how, ink_session *session,'
    echo '          ink_save_options what, ink_source source) {'
    echo '    ink_error error;'
    echo '    ink_restored restored;'
    tail -n +4 "$scratch/all" | sed -n '/^ink_grammar \*/,$p'
    echo '    (void)how;'
    echo '}'
    echo 'void type(const char *, size_t, size_t, ink_typing_options, const ink_suggestion *);'
    echo 'void type(const char *text, size_t bytes, size_t caret, ink_typing_options options,'
    echo '          const ink_suggestion *suggestion) {'
    echo '    uint64_t revision;'
    echo '    ink_edit edit = {0};'
    tail -n +4 "$scratch/all" | sed '/^ink_grammar \*/,$d'
    echo '}'
} >"$scratch/typing.c"
if ! grep -q ink_typing_update "$scratch/typing.c"; then
    echo 'README.md has no lines about typing'
    exit 1
fi
"$cc" -std=c17 -Wall -Wextra -Werror -I"$root/include" -fsyntax-only "$scratch/typing.c"

cp "$root/tests/checks/sample_host.c" "$scratch"
"$cc" -std=c17 -Wall -Wextra -Werror -I"$root/include" -I"$scratch" -o "$scratch/sample" \
    "$scratch/sample_host.c" "$library" -lm -pthread
if [ ! -f "${INKLING_STORY-$root/models/story.gguf}" ]; then
    echo 'left out: running the sample, there is no built-in model'
    exit 77
fi
mkdir "$scratch/empty"
cd "$scratch/empty"
../sample >../story
bytes=$(wc -c <../story | tr -d ' ')
# Its seed is a random one: how many they are is the model's affair.
if [ "$bytes" = 0 ]; then
    echo 'the sample wrote nothing'
    exit 1
fi
echo "the sample wrote $bytes bytes"
