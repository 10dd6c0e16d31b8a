// SPDX-License-Identifier: MIT
// What `inkling score` collected, and how it is shown: lines, JSON, a coloured text.
#ifndef CLI_SCORE_VIEW_H
#define CLI_SCORE_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/load.h"
#include "inkling/inkling.h"

typedef struct cli_scored {
    size_t ending;     // which text it is of
    ink_choice choice; // its top is malloc'ed
    char *text;        // [bytes] malloc'ed
    size_t bytes;
} cli_scored;

typedef struct cli_scores {
    const ink_model *model;
    const cli_bytes *context;
    const ink_ending *endings; // [n_endings]
    size_t n_endings;
    cli_scored *tokens; // [n] ending by ending
    size_t n, cap;
    uint32_t n_top; // most probable tokens shown with each; 0: none
    bool color;
} cli_scores;

// A copy of what an ink_score_fn is told. False without memory.
bool cli_scores_add(cli_scores *scores, size_t ending, const ink_choice *choice, const char *text,
                    size_t bytes);
void cli_scores_free(cli_scores *scores);

// One text: its tokens, the coloured text, totals. Several: sorted, the most probable first. These
// return an exit code.
int cli_scores_print_text(const cli_scores *scores);
int cli_scores_print_endings(const cli_scores *scores);
int cli_scores_print_json(const cli_scores *scores, bool endings);

#endif
