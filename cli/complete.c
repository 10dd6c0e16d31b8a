// SPDX-License-Identifier: MIT
// inkling complete: a prompt goes in, its continuation streams out.
#include <string.h>

#include "cli/complete_job.h"
#include "cli/interrupt.h"
#include "cli/out.h"
#include "cli/report.h"

enum { CONTRASTIVE_TOP_K = 4 };

static int on_prefill(void *user, uint32_t done, uint32_t total) {
    cli_complete_job *j = user;
    // The bar begins at the first column and is wiped: it must not stand in a line that has text,
    // an echo of the prompt or, where the context slides, of the story.
    if (!cli_out_is_terminal() || cli_out_at_line_start())
        cli_progress_update(&j->progress, total > 0 ? (double)done / total : 1);
    return cli_interrupted();
}

static int on_piece(void *user, const ink_piece *piece) {
    cli_complete_job *j = user;
    cli_progress_end(&j->progress);
    cli_complete_piece(j, piece);
    // The session's past must hold what was printed, for it may be saved: so an interrupt cancels
    // behind this piece, it does not refuse it. The signal may have come before the call began.
    if (cli_interrupted()) ink_session_cancel(j->session);
    // The text so far is worth having even if the next token takes long.
    return !cli_out_flush() || j->code != CLI_OK;
}

static void on_found(void *user, uint32_t index, const ink_found *found) {
    cli_complete_found(user, index, found);
}

static ink_status generate(cli_complete_job *j, ink_result *result, ink_error *error) {
    const cli_complete_options *set = &cli_complete_set;
    // Behind a saved text there is nothing to heal; and what is taken back for healing is written
    // anew by the first token, so without one it would be missing in a saved session.
    const bool whole =
        set->no_heal || (set->load != NULL && j->prompt.n == 0) || set->n_tokens.value == 0;
    ink_generate_options how;
    ink_generate_options_init(&how, sizeof how);
    how.flags = (set->special ? INK_GENERATE_SPECIAL : 0u) |
                (set->json || set->logprobs.set ? INK_GENERATE_LOGPROBS : 0u) |
                (set->ignore_eos ? INK_GENERATE_NO_END : 0u) | (whole ? 0u : INK_GENERATE_HEAL) |
                (set->save != NULL ? INK_GENERATE_CONTINUE : 0u);
    how.n_top_logprobs = (uint32_t)set->logprobs.value;
    how.no_repeat_ngram = (uint32_t)set->no_repeat_ngram.value;
    how.n_tokens = (uint32_t)set->n_tokens.value;
    how.overflow = set->overflow.value;
    how.n_keep = (uint32_t)set->keep.value;
    how.sampler = j->sampler;
    how.filter = j->filter;
    how.grammar = j->grammar;
    how.required = set->require.items;
    how.n_required = set->require.n;
    how.stop = set->stop.items;
    how.n_stop = set->stop.n;
    how.progress = on_prefill;
    how.progress_user = j;
    return ink_session_generate(j->session, j->prompt.data, j->prompt.n, &how, on_piece, j, result,
                                error);
}

static ink_status search(cli_complete_job *j, ink_result *result, ink_error *error) {
    const cli_complete_options *set = &cli_complete_set;
    ink_search_options how;
    ink_search_options_init(&how, sizeof how);
    how.flags =
        (set->special ? INK_GENERATE_SPECIAL : 0u) | (set->ignore_eos ? INK_GENERATE_NO_END : 0u);
    how.method = set->beams.set ? INK_SEARCH_BEAM : INK_SEARCH_CONTRASTIVE;
    how.n_tokens = (uint32_t)set->n_tokens.value;
    if (set->beams.set) how.n_beams = (uint32_t)set->beams.value;
    how.length_penalty = (float)set->length_penalty.value;
    how.top_k = set->top_k.set ? (uint32_t)set->top_k.value : CONTRASTIVE_TOP_K;
    how.alpha = (float)set->penalty_alpha.value;
    how.stop = set->stop.items;
    how.n_stop = set->stop.n;
    how.on_found = on_found;
    how.user = j;
    return ink_session_search(j->session, j->prompt.data, j->prompt.n, &how, on_piece, j, result,
                              error);
}

// An interrupt while the prompt is read leaves nothing to go on from.
static int save(cli_complete_job *j, const ink_result *result) {
    if (cli_complete_set.save == NULL) return CLI_OK;
    if (!cli_interrupted() || result->first_token_ms > 0) return cli_complete_save(j);
    return cli_fail(CLI_INTERRUPTED, "%s: not saved, the text had not begun",
                    cli_complete_set.save);
}

static int complete(cli_complete_job *j) {
    ink_error error = {0};
    ink_result result = {.size = sizeof result};
    if (cli_complete_set.echo) {
        cli_out_text(j->prompt.data, j->prompt.n);
        cli_out_flush();
    }
    cli_progress_begin(&j->progress, "reading the prompt", true);
    cli_interrupt_session(j->session);
    // A signal before this line found no session to cancel.
    ink_status status = INK_E_CANCELLED;
    if (!cli_interrupted())
        status = (cli_complete_searches() ? search : generate)(j, &result, &error);
    cli_interrupt_session(NULL);
    cli_progress_end(&j->progress);
    cli_complete_end_text(j);
    if (status == INK_E_CONTEXT && !cli_complete_searches())
        return cli_fail(CLI_CONTEXT, "%s (--overflow left cuts its beginning)", error.message);
    // What was saved belongs to the text that the grammar speaks of.
    if (status == INK_E_ARG && cli_complete_set.load != NULL && strcmp(error.where, "grammar") == 0)
        return cli_fail(
            CLI_USAGE,
            "%s: the saved text is not the beginning of one of this %s; a PROMPT begins "
            "a new one",
            cli_complete_set.load, cli_complete_set.json_schema != NULL ? "schema" : "grammar");
    if (status != INK_OK && !cli_interrupted()) return cli_fail_ink(status, &error);
    if (j->code != CLI_OK) return j->code;
    const int code = save(j, &result);
    if (status == INK_OK) cli_complete_report(j, &result);
    if (code == CLI_OK && cli_complete_set.load != NULL && result.stop == INK_STOP_CONTEXT &&
        result.n_generated == 0)
        return cli_fail(CLI_CONTEXT,
                        "the context holds %u tokens and is full (--overflow slide goes on)",
                        (unsigned)ink_session_n_ctx(j->session));
    return code == CLI_OK && cli_interrupted() ? CLI_INTERRUPTED : code;
}

int cli_complete_run(char **args, size_t n_args) {
    cli_complete_job j = {0};
    int code = cli_complete_check(n_args > 0 ? args[0] : NULL);
    if (code == CLI_OK && n_args == 0 && cli_complete_set.load == NULL)
        code = cli_fail(CLI_USAGE, "complete: PROMPT is missing (see inkling complete --help)");
    if (code == CLI_OK) code = cli_complete_open(&j, n_args > 0 ? args[0] : NULL);
    if (code == CLI_OK) code = complete(&j);
    cli_complete_close(&j);
    return code;
}
