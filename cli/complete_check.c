// SPDX-License-Identifier: MIT
// What options of `inkling complete` say against each other.
#include <stdio.h>
#include <string.h>

#include "cli/complete_job.h"
#include "cli/report.h"

#define SEE_HELP " (see inkling complete --help)"

enum { MAX_REQUIRED = 64, MAX_REQUIRED_BYTES = 256 }; // of ink_generate_options

// All that shapes what is drawn.
#define CHANCE                                                                                     \
    "temperature greedy seed top-p min-p typical top-n-sigma repeat-penalty presence-penalty "     \
    "frequency-penalty repeat-last-n dynatemp-range dynatemp-exp xtc-probability xtc-threshold "   \
    "dry-multiplier dry-base dry-allowed-length dry-penalty-last-n dry-sequence-breaker "          \
    "logit-bias mirostat mirostat-tau mirostat-eta samplers "
// What a search does not do.
#define NOT_SEARCHED                                                                               \
    "json-schema grammar grammar-file require ban filter no-repeat-ngram no-heal logprobs "        \
    "save-session load-session overflow keep draft "

// An option, and those that it does not go with.
static const struct {
    const char *option, *others;
} excluded[] = {
    {"echo", "json "},
    {"beams", "penalty-alpha top-k " CHANCE NOT_SEARCHED},
    {"penalty-alpha", CHANCE NOT_SEARCHED},
    {"json-schema", "grammar grammar-file "},
    {"require", "json-schema grammar grammar-file "},
    {"grammar", "grammar-file "},
    {"samplers", "greedy mirostat "},
    {"mirostat", "greedy "},
};
// An option that is nothing without another.
static const struct {
    const char *option, *needs;
} needed[] = {{"draft-max", "draft"}, {"length-penalty", "beams"}};

// Which step of the chain has an option's number.
static const struct {
    const char *option, *step;
} stepped[] = {
    {"temperature", "temp"},
    {"dynatemp-range", "temp"},
    {"dynatemp-exp", "temp"},
    {"top-k", "top_k"},
    {"top-p", "top_p"},
    {"min-p", "min_p"},
    {"typical", "typical"},
    {"top-n-sigma", "top_n_sigma"},
    {"repeat-penalty", "penalties"},
    {"presence-penalty", "penalties"},
    {"frequency-penalty", "penalties"},
    {"repeat-last-n", "penalties"},
    {"xtc-probability", "xtc"},
    {"xtc-threshold", "xtc"},
    {"dry-multiplier", "dry"},
    {"dry-base", "dry"},
    {"dry-allowed-length", "dry"},
    {"dry-penalty-last-n", "dry"},
    {"dry-sequence-breaker", "dry"},
    {"logit-bias", "logit_bias"},
    {"mirostat-tau", "mirostat"},
    {"mirostat-eta", "mirostat"},
};
#define COUNT(list) (sizeof(list) / sizeof *(list))

// The word at *list, 0-terminated into out; *list moves behind it. False at the end.
static bool next_word(const char **list, char *out, size_t cap) {
    const size_t n = strcspn(*list, " ");
    if (n == 0) return false;
    snprintf(out, cap, "%.*s", (int)n, *list);
    *list += n + 1;
    return true;
}

static int check_excluded(void) {
    char other[32];
    for (size_t i = 0; i < COUNT(excluded); i++) {
        if (!cli_complete_given(excluded[i].option)) continue;
        for (const char *list = excluded[i].others; next_word(&list, other, sizeof other);)
            if (cli_complete_given(other))
                return cli_fail(CLI_USAGE, "complete: --%s does not go with --%s" SEE_HELP, other,
                                excluded[i].option);
    }
    for (size_t i = 0; i < COUNT(needed); i++)
        if (cli_complete_given(needed[i].option) && !cli_complete_given(needed[i].needs))
            return cli_fail(CLI_USAGE, "complete: --%s needs --%s" SEE_HELP, needed[i].option,
                            needed[i].needs);
    return CLI_OK;
}

// Files that begin to be read where standard input is, and find what another one left.
static int check_stdin(const char *prompt) {
    const cli_complete_options *set = &cli_complete_set;
    const struct {
        const char *name, *value;
    } inputs[] = {{"PROMPT", prompt},
                  {"--json-schema", set->json_schema},
                  {"--grammar-file", set->grammar_file},
                  {"--filter", set->filter}};
    const struct {
        const char *name, *value;
    } files[] = {{"--save-session", set->save},
                 {"--load-session", set->load},
                 {"--draft", set->draft},
                 {"--model", set->model}};
    const char *first = NULL;
    for (size_t i = 0; i < COUNT(inputs); i++) {
        if (inputs[i].value == NULL || strcmp(inputs[i].value, "-") != 0) continue;
        if (first != NULL)
            return cli_fail(CLI_USAGE,
                            "complete: only one of %s and %s can be standard input" SEE_HELP, first,
                            inputs[i].name);
        first = inputs[i].name;
    }
    for (size_t i = 0; i < COUNT(files); i++)
        if (files[i].value != NULL && strcmp(files[i].value, "-") == 0)
            return cli_fail(CLI_USAGE, "complete: %s needs the name of a file, not -" SEE_HELP,
                            files[i].name);
    return CLI_OK;
}

static int need_text(const char *option, const char *value) {
    if (value == NULL || value[0] != 0) return CLI_OK;
    return cli_fail(CLI_USAGE, "complete: --%s needs a text that is not empty" SEE_HELP, option);
}

static int check_texts(void) {
    const cli_complete_options *set = &cli_complete_set;
    const struct {
        const char *option, *value;
    } texts[] = {{"samplers", set->samplers},        {"grammar", set->grammar},
                 {"json-schema", set->json_schema},  {"save-session", set->save},
                 {"load-session", set->load},        {"draft", set->draft},
                 {"grammar-file", set->grammar_file}};
    const struct {
        const char *option;
        const cli_list *list;
    } lists[] = {{"stop", &set->stop}, {"require", &set->require}, {"ban", &set->ban}};
    int code = CLI_OK;
    for (size_t i = 0; i < COUNT(texts) && code == CLI_OK; i++)
        code = need_text(texts[i].option, texts[i].value);
    for (size_t i = 0; i < COUNT(lists); i++)
        for (size_t k = 0; k < lists[i].list->n && code == CLI_OK; k++)
            code = need_text(lists[i].option, lists[i].list->items[k]);
    return code;
}

// Each word alone, so that it is told which of them is wrong.
static int check_words(const char *option, const cli_list *words) {
    for (size_t i = 0; i < words->n; i++) {
        ink_error error = {0};
        ink_filter *one = NULL;
        const ink_status status = ink_filter_new(&one, NULL, &words->items[i], 1, &error);
        ink_filter_unref(one);
        if (status == INK_E_NOMEM) return cli_fail_memory();
        const char *why = strstr(error.message, "]: "); // behind "phrases[0]"
        if (status != INK_OK)
            return cli_fail(CLI_USAGE, "complete: --%s: \"%.40s\" %s" SEE_HELP, option,
                            words->items[i], why != NULL ? why + 3 : error.message);
    }
    return CLI_OK;
}

static int check_required(void) {
    const cli_list *require = &cli_complete_set.require;
    if (require->n > MAX_REQUIRED)
        return cli_fail(CLI_USAGE,
                        "complete: --require: %zu words, at most %d are possible" SEE_HELP,
                        require->n, MAX_REQUIRED);
    for (size_t i = 0; i < require->n; i++)
        if (strlen(require->items[i]) > MAX_REQUIRED_BYTES)
            return cli_fail(CLI_USAGE,
                            "complete: --require: \"%.40s...\" is longer than %d bytes" SEE_HELP,
                            require->items[i], MAX_REQUIRED_BYTES);
    return check_words("require", require);
}

static int check_values(void) {
    const cli_complete_options *set = &cli_complete_set;
    const bool grammar =
        set->grammar != NULL || set->grammar_file != NULL || set->json_schema != NULL;
    if (grammar && set->overflow.value == INK_OVERFLOW_SLIDE)
        return cli_fail(CLI_USAGE, "complete: --%s does not go with --overflow slide" SEE_HELP,
                        set->json_schema != NULL ? "json-schema"
                        : set->grammar != NULL   ? "grammar"
                                                 : "grammar-file");
    if (set->penalty_alpha.set && set->top_k.set && (set->top_k.value < 2 || set->top_k.value > 64))
        return cli_fail(CLI_USAGE,
                        "complete: with --penalty-alpha --top-k must be 2 to 64, not %llu" SEE_HELP,
                        (unsigned long long)set->top_k.value);
    return CLI_OK;
}

int cli_complete_check(const char *prompt) {
    int code = check_excluded();
    if (code == CLI_OK) code = check_texts();
    if (code == CLI_OK) code = check_stdin(prompt);
    if (code == CLI_OK) code = check_required();
    if (code == CLI_OK) code = check_words("ban", &cli_complete_set.ban);
    if (code == CLI_OK) code = check_values();
    return code;
}

static bool has_step(const char *chain, const char *step) {
    const size_t n = strlen(step);
    for (const char *at = chain; at != NULL; at = strchr(at, ';')) {
        at += strspn(at, "; ");
        if (strncmp(at, step, n) == 0 && strchr("=; ", at[n]) != NULL) return true;
    }
    return false;
}

int cli_complete_check_steps(const char *chain) {
    for (size_t i = 0; i < COUNT(stepped); i++)
        if (cli_complete_given(stepped[i].option) && !has_step(chain, stepped[i].step))
            return cli_fail(CLI_USAGE,
                            "complete: --%s does nothing: the chain has no step %s" SEE_HELP,
                            stepped[i].option, stepped[i].step);
    return CLI_OK;
}
