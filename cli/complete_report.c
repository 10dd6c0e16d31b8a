// SPDX-License-Identifier: MIT
// What `inkling complete` prints: the text, lines of JSON, figures.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/choice_text.h"
#include "cli/complete_job.h"
#include "cli/interrupt.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/text.h"

static json_t *number_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static void piece_json(cli_complete_job *j, const ink_piece *piece) {
    const uint32_t n_top = (uint32_t)cli_complete_set.logprobs.value;
    json_t *line = json_pack("{so si sI so}", "text", cli_text_json(piece->text, piece->bytes),
                             "token", (int)piece->token, "n", (json_int_t)piece->n_tokens,
                             "logprob", number_or_null((double)piece->logprob));
    if (cli_complete_set.logprobs.set) {
        json_t *choices = json_array();
        for (uint32_t i = 0; i < piece->n_choices; i++)
            json_array_append_new(choices, cli_choice_json(j->model, &piece->choices[i], n_top));
        json_object_set_new(line, "choices", choices);
    }
    cli_out_json(line);
}

// A line for each token. Where text and lines come to one terminal they wait for the text's end.
static void choice_line(cli_complete_job *j, const ink_choice *choice) {
    const uint32_t n_top = (uint32_t)cli_complete_set.logprobs.value;
    char *line = cli_choice_line(j->model, choice, n_top, "", "");
    if (line == NULL) {
        j->code = CLI_NOMEM;
        return;
    }
    if (j->table == NULL) {
        const bool waits = cli_out_is_terminal() && cli_terminal_is();
        j->table = waits ? open_memstream(&j->table_text, &j->table_bytes) : stderr;
        if (j->table == NULL) j->table = stderr;
        fprintf(j->table, "%s\n", cli_choice_heading(n_top > 0));
    }
    fprintf(j->table, "%s\n", line);
    free(line);
}

void cli_complete_piece(cli_complete_job *j, const ink_piece *piece) {
    if (cli_complete_set.json) {
        piece_json(j, piece);
        return;
    }
    cli_out_text(piece->text, piece->bytes);
    for (uint32_t i = 0; i < piece->n_choices && cli_complete_set.logprobs.set; i++)
        if (j->code == CLI_OK) choice_line(j, &piece->choices[i]);
}

void cli_complete_end_text(cli_complete_job *j) {
    if (!cli_complete_set.json && cli_out_is_terminal() && !cli_out_at_line_start()) cli_out("\n");
    if (j->table == NULL || j->table == stderr) return;
    fclose(j->table);
    cli_out_flush();
    if (j->table_text != NULL) fwrite(j->table_text, 1, j->table_bytes, stderr);
    fflush(stderr);
    free(j->table_text);
    j->table = NULL;
}

void cli_complete_found(cli_complete_job *j, uint32_t index, const ink_found *found) {
    if (cli_complete_set.json) {
        cli_out_json(json_pack("{s{sI so sI so so ss}}", "found", "index", (json_int_t)index,
                               "text", cli_text_json(found->text, found->bytes), "n_tokens",
                               (json_int_t)found->n_tokens, "logprob",
                               number_or_null(found->logprob), "score",
                               number_or_null(found->score), "stop", ink_stop_name(found->stop)));
    } else if (cli_complete_set.stats && cli_complete_set.beams.set) {
        char *text = cli_text_quote(found->text, found->bytes);
        if (text == NULL) {
            j->code = cli_fail_memory();
            return;
        }
        if (j->table == NULL) j->table = open_memstream(&j->table_text, &j->table_bytes);
        if (j->table != NULL) {
            if (index == 0) fprintf(j->table, "   score    logprob  tokens  text\n");
            fprintf(j->table, "%8.4f %10.4f %7u  %s\n", found->score, found->logprob,
                    (unsigned)found->n_tokens, text);
        }
        free(text);
    }
}

// --- figures ------------------------------------------------------------------------------------

static double a_second(double count, double ms) { return ms > 0 ? count * 1000 / ms : 0; }

static uint64_t peak_bytes(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

static const char *why_stopped(const ink_result *r, const char *interrupted) {
    return cli_interrupted() ? interrupted : ink_stop_name(r->stop);
}

static void print_stats(const cli_complete_job *j, const ink_result *r) {
    const cli_complete_options *set = &cli_complete_set;
    char size[CLI_TEXT_SIZE];
    const uint32_t n_read = r->n_prompt - r->n_reused,
                   n_decoded = r->n_generated > 0 ? r->n_generated - 1 : 0;
    cli_note("load           %.1f ms", j->load_ms);
    cli_note("first token    %.1f ms", r->first_token_ms);
    cli_note("prefill        %u tokens, %.1f ms, %.1f tokens/s", (unsigned)n_read, r->prefill_ms,
             a_second(n_read, r->prefill_ms));
    cli_note("decode         %u tokens, %.1f ms, %.1f tokens/s", (unsigned)n_decoded, r->decode_ms,
             a_second(n_decoded, r->decode_ms));
    if (set->draft != NULL)
        cli_note("drafted        %u tokens, %u accepted (%.1f %%)", (unsigned)r->n_drafted,
                 (unsigned)r->n_accepted,
                 r->n_drafted > 0 ? 100.0 * r->n_accepted / r->n_drafted : 0);
    cli_note("peak memory    %s", cli_text_size(peak_bytes(), size));
    cli_note("stopped by     %s", why_stopped(r, "interrupt"));
    if (r->n_dropped > 0) cli_note("dropped        %u tokens", (unsigned)r->n_dropped);
    if (r->n_invalid > 0)
        cli_note("not UTF-8      %u bytes of the prompt, kept as they are", (unsigned)r->n_invalid);
    if (set->load != NULL)
        cli_note("restored       %u tokens of %s", (unsigned)j->n_restored, set->load);
    if (j->saved) cli_note("saved          %u tokens to %s", (unsigned)j->n_saved, set->save);
    if (j->sampler == NULL) return;
    cli_note("samplers       %s", j->chain);
    cli_note("seed           %llu", (unsigned long long)r->seed);
}

static void print_summary(const cli_complete_job *j, const ink_result *r) {
    const cli_complete_options *set = &cli_complete_set;
    const uint32_t n_read = r->n_prompt - r->n_reused,
                   n_decoded = r->n_generated > 0 ? r->n_generated - 1 : 0;
    json_t *figures = json_pack(
        "{ss sI sI sI sI sI sI sf sf sf sf sf sf sI}", "stop", why_stopped(r, "cancelled"),
        "n_prompt", (json_int_t)r->n_prompt, "n_reused", (json_int_t)r->n_reused, "n_dropped",
        (json_int_t)r->n_dropped, "n_generated", (json_int_t)r->n_generated, "n_invalid",
        (json_int_t)r->n_invalid, "seed", (json_int_t)r->seed, "load_ms", j->load_ms,
        "first_token_ms", r->first_token_ms, "prefill_ms", r->prefill_ms, "decode_ms", r->decode_ms,
        "prefill_tokens_per_second", a_second(n_read, r->prefill_ms), "decode_tokens_per_second",
        a_second(n_decoded, r->decode_ms), "peak_memory_bytes", (json_int_t)peak_bytes());
    if (j->sampler == NULL)
        json_object_del(figures, "seed");
    else
        json_object_set_new(figures, "samplers", json_string(j->chain));
    if (set->draft != NULL) {
        json_object_set_new(figures, "n_drafted", json_integer(r->n_drafted));
        json_object_set_new(figures, "n_accepted", json_integer(r->n_accepted));
    }
    if (set->load != NULL) json_object_set_new(figures, "n_restored", json_integer(j->n_restored));
    if (j->saved) json_object_set_new(figures, "n_saved", json_integer(j->n_saved));
    cli_out_json(json_pack("{so}", "summary", figures));
}

void cli_complete_report(const cli_complete_job *j, const ink_result *r) {
    if (cli_complete_set.json) print_summary(j, r);
    cli_out_flush();
    if (cli_complete_set.stats) print_stats(j, r);
}
