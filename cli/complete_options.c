// SPDX-License-Identifier: MIT
// The options of `inkling complete`: those that matter first, the others under headings.
#include <string.h>

#include "cli/commands.h"
#include "cli/complete_job.h"

// The longest seed that every reader of JSON takes exactly.
#define MAX_SEED 9007199254740991.0

static const char *const overflow_names[] = {"error", "left", "slide",
                                             NULL}; // in the order of INK_OVERFLOW_*
static const char *const mirostat_names[] = {"0", "2", NULL};

cli_complete_options cli_complete_set;
#define SET(field) (&cli_complete_set.field)
#define TEXT(option, target_, value_, help_)                                                       \
    { .name = (option), .kind = CLI_TEXT, .target = (target_), .value = (value_), .help = (help_) }
#define LIST(option, target_, value_, help_)                                                       \
    { .name = (option), .kind = CLI_LIST, .target = (target_), .value = (value_), .help = (help_) }
#define UINT(option, target_, low_, high_, show, help_)                                            \
    {                                                                                              \
        .name = (option), .kind = CLI_UINT, .target = (target_), .value = "N", .low = (low_),      \
        .high = (high_), .show_default = (show), .help = (help_)                                   \
    }
#define REAL(option, target_, value_, low_, high_, help_)                                          \
    {                                                                                              \
        .name = (option), .kind = CLI_REAL, .target = (target_), .value = (value_), .low = (low_), \
        .high = (high_), .show_default = true, .help = (help_)                                     \
    }
#define FLAG(option, target_, help_)                                                               \
    { .name = (option), .kind = CLI_FLAG, .target = (target_), .help = (help_) }
#define HEADING(text)                                                                              \
    { .kind = CLI_HEADING, .help = (text) }

static const cli_option options[] = {
    CLI_OPTION_MODEL(SET(model)),
    CLI_OPTION_LORA(SET(loras)),
    {.name = "tokens",
     .letter = 'n',
     .kind = CLI_UINT,
     .target = SET(n_tokens),
     .value = "N",
     .high = UINT32_MAX,
     .show_default = true,
     .help = "most tokens to generate"},
    REAL("temperature", SET(temperature), "T", 0, 100,
         "how freely to choose: 0 takes the likeliest token"),
    FLAG("greedy", SET(greedy), "always the likeliest token, the same as --temperature 0"),
    UINT("seed", SET(seed), 0, MAX_SEED, false,
         "the same seed gives the same bytes; without it a random one, which --stats and --json "
         "tell"),
    LIST("stop", SET(stop), "STR", "end the text before STR; may be given several times"),
    FLAG("echo", SET(echo), "print the prompt before its continuation"),
    FLAG("stats", SET(stats),
         "times, speeds, memory, samplers and the seed on standard error at the end"),
    CLI_OPTION_JSON(SET(json),
                    "a line of JSON for each piece: text, token, n, logprob; then one with "
                    "\"summary\""),

    HEADING("What is written:"),
    TEXT("json-schema", SET(json_schema), "FILE|-|{...}",
         "write JSON that is valid for a JSON Schema: a file, standard input, or the schema "
         "itself, which begins with {"),
    TEXT("grammar", SET(grammar), "RULES",
         "write a text of this grammar, in GBNF as llama.cpp reads it"),
    TEXT("grammar-file", SET(grammar_file), "FILE|-",
         "the same from a file or from standard input"),
    LIST("require", SET(require), "WORDS",
         "a word or phrase that the text must hold; may be given up to 64 times"),
    LIST("ban", SET(ban), "WORDS",
         "a word or phrase that is neither read nor written; may be given several times"),
    TEXT("filter", SET(filter), "FILE", "such words and phrases, one a line"),
    UINT("no-repeat-ngram", SET(no_repeat_ngram), 0, 1 << 20, true,
         "no N tokens in a row stand twice in prompt and text; 0: off"),
    FLAG("ignore-eos", SET(ignore_eos),
         "never choose the end token: go on to -n tokens, or to the end of the context"),
    FLAG("no-heal", SET(no_heal),
         "go on from exactly the prompt's tokens; otherwise one that ends inside a word, or with a "
         "blank, has its last token taken back and written anew"),
    FLAG("special", SET(special),
         "read special tokens (<|endoftext|>) in the prompt; otherwise they are plain text"),
    UINT("logprobs", SET(logprobs), 0, 64, false,
         "tell each token's probability, and the N likeliest tokens in its place: as \"choices\" "
         "with --json, else a line for each on standard error"),

    HEADING("Samplers, in the order in which they are applied:"),
    LIST("logit-bias", SET(logit_bias), "ID:BIAS",
         "add BIAS to the logit of token ID, -inf bans it; may be given several times"),
    REAL("repeat-penalty", SET(repeat_penalty), "X", 0.01, 100,
         "make the last tokens less likely; 1: off"),
    REAL("presence-penalty", SET(presence_penalty), "X", -100, 100,
         "the same, subtracted once from the logit; 0: off"),
    REAL("frequency-penalty", SET(frequency_penalty), "X", -100, 100,
         "the same, subtracted as often as the token stands there; 0: off"),
    {.name = "repeat-last-n",
     .kind = CLI_UINT,
     .target = SET(repeat_last_n),
     .value = "N",
     .high = UINT32_MAX,
     .minus_one = true,
     .show_default = true,
     .help = "how many last tokens these three look at; 0: none, -1: all"},
    REAL("dry-multiplier", SET(dry_multiplier), "X", 0, 100,
         "DRY: make what would go on with a repetition less likely; 0: off"),
    REAL("dry-base", SET(dry_base), "X", 1, 100, "DRY: growth with the repetition's length"),
    UINT("dry-allowed-length", SET(dry_allowed_length), 0, 1024, true,
         "DRY: repetitions up to N tokens are free"),
    {.name = "dry-penalty-last-n",
     .kind = CLI_UINT,
     .target = SET(dry_last_n),
     .value = "N",
     .high = UINT32_MAX,
     .minus_one = true,
     .show_default = true,
     .help = "DRY: how many last tokens it looks at; 0: none, -1: all"},
    LIST("dry-sequence-breaker", SET(dry_breakers), "STR",
         "DRY: no repetition is seen over STR; may be given several times, instead of newline, "
         "colon, double quote and star; \"none\" for none"),
    REAL("top-n-sigma", SET(top_n_sigma), "X", -1, 100,
         "drop tokens whose logit is over X standard deviations below the best; -1: off"),
    UINT("top-k", SET(top_k), 0, UINT32_MAX, true, "choose among the N likeliest tokens; 0: all"),
    REAL("typical", SET(typical), "P", 0, 1,
         "choose among the most typical tokens that have P together; 1: all"),
    REAL("top-p", SET(top_p), "P", 0, 1, "choose among the likeliest that have P together; 1: all"),
    REAL("min-p", SET(min_p), "P", 0, 1,
         "drop tokens less likely than P times the likeliest; 0: none"),
    REAL("xtc-probability", SET(xtc_probability), "P", 0, 1,
         "XTC: how often the likeliest choices are left out; 0: off"),
    REAL("xtc-threshold", SET(xtc_threshold), "P", 0, 1,
         "XTC: all but the least likely of those over P; above 0.5: off"),
    REAL("dynatemp-range", SET(dynatemp_range), "X", 0, 100,
         "temperature from T - X to T + X, higher where the model is unsure; 0: off"),
    REAL("dynatemp-exp", SET(dynatemp_exponent), "X", 0, 100, "how it grows in between"),
    {.name = "mirostat",
     .kind = CLI_CHOICE,
     .target = SET(mirostat),
     .choices = mirostat_names,
     .show_default = true,
     .help = "2: Mirostat 2.0 behind the temperature, in the place of the steps that drop tokens"},
    REAL("mirostat-tau", SET(mirostat_tau), "X", 0, 100, "Mirostat: surprise aimed at, in bits"),
    REAL("mirostat-eta", SET(mirostat_eta), "X", 0, 1, "Mirostat: learning rate"),
    TEXT("samplers", SET(samplers), "CHAIN",
         "which steps, in which order: \"dry;top_k=40;temp=0.8\", or JSON such as "
         "{\"top_k\": 40, \"temp\": 0.8}; numbers left out are those of the options here. Steps: "
         "logit_bias, no_repeat_ngram, penalties, dry, top_n_sigma, top_k, typical, top_p, min_p, "
         "xtc, temp, mirostat, greedy"),

    HEADING("Search instead of chance:"),
    UINT("beams", SET(beams), 1, 64, false,
         "follow the N most probable texts and write the best; --stats and --json tell them all"),
    REAL("length-penalty", SET(length_penalty), "X", -10, 10,
         "beams: scores are divided by length ^ X; above 0 longer texts gain"),
    {.name = "penalty-alpha",
     .kind = CLI_REAL,
     .target = SET(penalty_alpha),
     .value = "X",
     .high = 1,
     .help = "contrastive search: of the --top-k (here 4) likeliest tokens the one that repeats "
             "least; X, such as 0.6, says how much that counts"},

    HEADING("Saved sessions:"),
    TEXT("save-session", SET(save), "FILE",
         "save the session when the text has ended, was cut by -n or interrupted by Ctrl-C"),
    TEXT("load-session", SET(load), "FILE",
         "go on from there with the very next byte; PROMPT may be left out, or is more text. "
         "Samplers, seed and filter are those saved, where no option is given"),

    HEADING("Context and speed:"),
    CLI_OPTION_CONTEXT(SET(context)),
    {.name = "overflow",
     .kind = CLI_CHOICE,
     .target = SET(overflow),
     .choices = overflow_names,
     .show_default = true,
     .help = "a prompt longer than the context is an error, or loses its beginning (left, "
             "slide); where the context is full the text ends, or with slide the older half is "
             "forgotten and it goes on"},
    UINT("keep", SET(keep), 0, 1 << 20, true,
         "tokens at the beginning that left and slide never drop"),
    CLI_OPTION_KV_TYPE(SET(kv_type)),
    CLI_OPTION_THREADS(SET(threads)),
    TEXT("draft", SET(draft), "MODEL|ngram",
         "guess tokens ahead and check several at once, for the same bytes in less time: by a "
         "small model with the same vocabulary, or by what stood in the text before"),
    UINT("draft-max", SET(draft_max), 1, 64, true, "most tokens guessed at a time"),
};

enum { DRAFT_TOKENS = 16 };

static void sampler_defaults(cli_complete_options *set) {
    ink_sampler_options sampler;
    ink_sampler_options_init(&sampler, sizeof sampler);
    set->temperature.value = (double)sampler.temperature;
    set->top_k.value = sampler.top_k;
    set->top_p.value = (double)sampler.top_p;
    set->min_p.value = (double)sampler.min_p;
    set->typical.value = (double)sampler.typical_p;
    set->top_n_sigma.value = (double)sampler.top_n_sigma;
    set->repeat_penalty.value = (double)sampler.repeat_penalty;
    set->repeat_last_n.value = sampler.penalty_last_n;
    set->presence_penalty.value = (double)sampler.presence_penalty;
    set->frequency_penalty.value = (double)sampler.frequency_penalty;
    set->dynatemp_range.value = (double)sampler.dynatemp_range;
    set->dynatemp_exponent.value = (double)sampler.dynatemp_exponent;
    set->xtc_probability.value = (double)sampler.xtc_probability;
    set->xtc_threshold.value = (double)sampler.xtc_threshold;
    set->dry_multiplier.value = (double)sampler.dry_multiplier;
    set->dry_base.value = (double)sampler.dry_base;
    set->dry_allowed_length.value = sampler.dry_allowed_length;
    set->dry_last_n.value = sampler.dry_last_n;
    set->mirostat_tau.value = (double)sampler.mirostat_tau;
    set->mirostat_eta.value = (double)sampler.mirostat_eta;
}

static void defaults(void) {
    cli_complete_options *set = &cli_complete_set;
    ink_generate_options generate;
    ink_session_options session;
    ink_search_options search;
    ink_generate_options_init(&generate, sizeof generate);
    ink_session_options_init(&session, sizeof session);
    ink_search_options_init(&search, sizeof search);
    memset(set, 0, sizeof *set);
    sampler_defaults(set);
    set->n_tokens.value = generate.n_tokens;
    set->overflow.value = generate.overflow;
    set->keep.value = generate.n_keep;
    set->kv_type.value = session.kv_type;
    set->length_penalty.value = (double)search.length_penalty;
    set->penalty_alpha.value = (double)search.alpha;
    set->draft_max.value = DRAFT_TOKENS;
}

bool cli_complete_given(const char *option) {
    return cli_command_given(&cli_complete_command, option);
}

bool cli_complete_searches(void) {
    return cli_complete_set.beams.set || cli_complete_set.penalty_alpha.set;
}

const cli_command cli_complete_command = {
    .name = "complete",
    .synopsis = "[-m MODEL] [options] PROMPT|-",
    .summary = "Continues a text and streams the words as they are made",
    .details =
        "The continuation goes to standard output, the prompt only with --echo. \"-\" reads the "
        "prompt\n"
        "from standard input, all of its bytes, at most 64 MB. An empty prompt starts a new text.\n"
        "Into a pipe or a file go exactly the bytes of the text; on a terminal a missing newline "
        "is added\n"
        "and control characters are shown as \\x1b. A UTF-8 character is never cut in two.\n"
        "Ctrl-C ends with the text so far; a second one ends at once.\n"
        "\n"
        "  inkling complete \"Once upon a time\"\n"
        "  inkling complete --temperature 0.6 --seed 7 -n 200 \"Once upon a time\"\n"
        "  inkling complete --json-schema schema.json \"A cat, as JSON: \"\n"
        "  inkling complete --save-session story.ink -n 100 \"Once upon a time\"\n"
        "  inkling complete --load-session story.ink -n 100\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .argument = "PROMPT",
    .min_args = 0,
    .max_args = 1,
    .defaults = defaults,
    .run = cli_complete_run,
};
