// SPDX-License-Identifier: MIT
// A token, how likely it was and what could have stood there: as a line and as JSON.
#ifndef CLI_CHOICE_TEXT_H
#define CLI_CHOICE_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "inkling/inkling.h"

// What stands over the lines, without a newline; ranks: whether they have that column.
const char *cli_choice_heading(bool ranks);
// "   640     -0.0213   97.893 %     1  " time"", and behind that the n_show most probable tokens
// of choice->top. The rank is looked up in choice->top and left out where n_top is 0. before,
// after: put around the token's text (colours), "" for none. No newline; the caller frees it. NULL
// without memory, which was told.
char *cli_choice_line(const ink_model *model, const ink_choice *choice, uint32_t n_show,
                      const char *before, const char *after);
// {"token":640,"text":" time","logprob":-0.0213,"top":[{"token":…,"text":…,"logprob":…}]} with
// n_show of choice->top; logprob null where there is none. NULL without memory.
json_t *cli_choice_json(const ink_model *model, const ink_choice *choice, uint32_t n_show);
// The place of the token among choice->top, from 1; 0: not among them.
uint32_t cli_choice_rank(const ink_choice *choice);

#endif
