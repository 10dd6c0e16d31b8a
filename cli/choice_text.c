// SPDX-License-Identifier: MIT
#include "cli/choice_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/load.h"
#include "cli/report.h"
#include "cli/text.h"

enum { TEXT_COLUMNS = 16 };

const char *cli_choice_heading(bool ranks) {
    return ranks ? "  token     logprob  probability  rank  text"
                 : "  token     logprob  probability  text";
}

uint32_t cli_choice_rank(const ink_choice *choice) {
    for (uint32_t i = 0; i < choice->n_top; i++)
        if (choice->top[i].token == choice->token) return i + 1;
    return 0;
}

static char *quoted(const ink_model *model, ink_token id, cli_bytes *piece) {
    size_t n = 0;
    if (cli_token_text(model, id, piece, &n) != CLI_OK) return NULL;
    char *text = cli_text_quote(piece->data, n);
    if (text == NULL) cli_fail_memory();
    return text;
}

// About as many columns as a terminal needs: East Asian characters and emoji take two.
static size_t count_columns(const char *text) {
    const size_t n = strlen(text);
    size_t columns = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        const size_t length = cli_text_decode(text + i, n - i, &c);
        const bool wide = (c >= 0x2e80 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
                          (c >= 0xff01 && c <= 0xff60) || (c >= 0x1f300 && c <= 0x1faff) ||
                          c >= 0x20000;
        columns += wide ? 2 : 1;
        i += length > 0 ? length : 1;
    }
    return columns;
}

static void put_numbers(FILE *line, const ink_choice *choice) {
    char rank[16];
    if (isfinite(choice->logprob))
        fprintf(line, "%7d %11.4f %10.4f %%", (int)choice->token, (double)choice->logprob,
                100 * exp((double)choice->logprob));
    else
        fprintf(line, "%7d %11s %12s", (int)choice->token, "-", "-");
    if (choice->n_top == 0) return;
    const uint32_t at = cli_choice_rank(choice);
    if (at > 0)
        snprintf(rank, sizeof rank, "%u", (unsigned)at);
    else
        snprintf(rank, sizeof rank, ">%u", (unsigned)choice->n_top);
    fprintf(line, " %5s", rank);
}

char *cli_choice_line(const ink_model *model, const ink_choice *choice, uint32_t n_show,
                      const char *before, const char *after) {
    char *out = NULL;
    size_t n_out = 0;
    cli_bytes piece = {NULL, 0};
    FILE *line = open_memstream(&out, &n_out);
    char *text = line != NULL ? quoted(model, choice->token, &piece) : NULL;
    bool whole = text != NULL;
    if (line == NULL) cli_fail_memory();
    if (whole) {
        const size_t wide = count_columns(text);
        put_numbers(line, choice);
        fprintf(line, "  %s%s%s", before, text, after);
        if (n_show > 0 && wide < TEXT_COLUMNS) fprintf(line, "%*s", (int)(TEXT_COLUMNS - wide), "");
    }
    for (uint32_t i = 0; i < n_show && i < choice->n_top && whole; i++) {
        char *other = quoted(model, choice->top[i].token, &piece);
        whole = other != NULL;
        if (whole)
            fprintf(line, "%s%s %.2f %%", i == 0 ? "  " : ", ", other,
                    100 * exp((double)choice->top[i].logprob));
        free(other);
    }
    free(text);
    free(piece.data);
    if (line != NULL && fclose(line) != 0 && whole) {
        whole = false;
        cli_fail_memory();
    }
    if (whole) return out;
    free(out);
    return NULL;
}

static json_t *token_json(const ink_model *model, ink_token id, float logprob, cli_bytes *piece) {
    size_t n = 0;
    if (cli_token_text(model, id, piece, &n) != CLI_OK) return NULL;
    return json_pack("{si so so}", "token", (int)id, "text", cli_text_json(piece->data, n),
                     "logprob", isfinite(logprob) ? json_real((double)logprob) : json_null());
}

json_t *cli_choice_json(const ink_model *model, const ink_choice *choice, uint32_t n_show) {
    cli_bytes piece = {NULL, 0};
    json_t *value = token_json(model, choice->token, choice->logprob, &piece), *top = json_array();
    for (uint32_t i = 0; i < n_show && i < choice->n_top; i++)
        json_array_append_new(
            top, token_json(model, choice->top[i].token, choice->top[i].logprob, &piece));
    json_object_set_new(value, "top", top);
    free(piece.data);
    return value;
}
